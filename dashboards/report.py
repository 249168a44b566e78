"""One HTML file with the figures of one run or several, to open anywhere, offline.

python -m dashboards.report ~/parle_results/quickstart_... --out report.html
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dashboards import figures, page
from parle_ray.errors import InputError
from parle_ray.runs import reports
from parle_ray.runs.storage import open_folder


def write(folders: Sequence[str | Path], out: Path) -> Path:
    """Write the report of run folders; its path."""
    runs = figures.read(folders)
    return page.write(", ".join(runs), [figure(runs) for figure in figures.ALL], out)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.report", description=__doc__)
    parser.add_argument("runs", nargs="+", help="run folders or URIs, with a result.json each")
    parser.add_argument("--out", type=Path, default=Path("report.html"))
    arguments = parser.parse_args(argv)
    for run in arguments.runs:
        try:
            open_folder(run).read(reports.NAME)
        except (OSError, InputError) as error:
            parser.error(f"{run} is no run folder: it has no {reports.NAME} ({error})")
    print(write(arguments.runs, arguments.out))


if __name__ == "__main__":
    main()
