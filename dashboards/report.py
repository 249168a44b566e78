"""One HTML file with the figures of one run or several, to open anywhere, offline."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from dashboards import cards, figures, page
from dashboards.runs import Tail, tails
from parle_ray.console.parser import Parser
from parle_ray.errors import InputError, StorageError
from parle_ray.runs.reports import NAME as REPORTS
from parle_ray.runs.storage import LocalFolder, open_folder

NAME = "report.html"
"""In the folder of a run that has one of its own."""


def report(argv: Sequence[str], prog: str) -> None:
    """Draw the figures of runs, compared if there are several, into one HTML file."""
    parser = Parser(f"{prog} report", report.__doc__ or "")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or their URIs")
    parser.add_argument(
        "--out", type=Path, help=f"the file; RUN/{NAME} if not given, or ./{NAME} for several runs"
    )
    given = parser.read(argv)
    out = given.out or _place(given.runs)
    try:
        print(write(given.runs, out))
    except OSError as error:
        raise StorageError(f"{out} cannot be written ({error.strerror}); give --out") from error


def write(folders: Sequence[str | Path], out: Path | None = None) -> Path:
    """Write the report of run folders; its path.

    Raises:
        InputError: one of them is no run folder.
    """
    found = tails(folders)
    for name, tail in found.items():
        if tail.table.empty:
            raise InputError(
                f"{name} is no run folder: it has no {REPORTS} with a round in it; name the folder "
                "of a run, such as ~/parle_results/NAME"
            )
    runs = {name: tail.table for name, tail in found.items()}
    drawn = [figure(runs) for figure in figures.ALL]
    told = [figure for figure in drawn if figure.data]
    return page.write(", ".join(runs), [*_heads(found), told], out or _place(folders))


def _heads(found: Mapping[str, Tail]) -> list[page.Part]:
    """The cards of a run that is alone, or a table of several."""
    if len(found) == 1:
        (tail,) = found.values()
        return [cards.of_run(tail.table, tail.state), cards.of_replicas(tail.table)]
    rows = []
    for name, tail in found.items():
        told = cards.of_run(tail.table, tail.state)
        state = f"{tail.state}, {told[0].value}, {told[0].detail}"
        rows.append({"run": name, "state": state} | {c.title: c.value for c in told[1:]})
    return [pd.DataFrame(rows)]


def _place(folders: Sequence[str | Path]) -> Path:
    only = open_folder(folders[0])
    alone = len(folders) == 1 and isinstance(only, LocalFolder)
    return Path(only.path, NAME) if alone else Path(NAME)
