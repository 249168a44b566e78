"""Files that somebody made on purpose: each is refused in one line with exit status 2.

Torn reports of an earlier run are passed over instead. A file is a row of a table: none is drawn.
"""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path

from parle_ray.cli import exit_status, main
from parle_ray.data import load
from parle_ray.runs import reports
from parle_ray.runs.reports import Reports
from parle_ray.runs.resume import newest
from parle_ray.runs.run_folder import RunFolder
from parle_ray.runs.storage import open_folder
from parle_ray.strategies import Parle
from tests.fuzz import hostile_configs, hostile_data
from tests.fuzz.checkpoints import write
from tests.fuzz.configs import look_for_stubs
from tests.fuzz.damage import FORGERIES, Canary
from tests.fuzz.harness import Case
from tests.problems import task

NAMES = [
    *("..", ".", "../x", "a/b", "/etc/passwd", "~root", "-rf", ".hidden", "a\0b", "a\nb", "a b"),
    *("x" * 65, "x" * 10_000, "a\\b", "é", "\u202egnp", "a\x1b[2J", "$(id)", "a;b", "%2e%2e", "*"),
]
REPORTS = [
    *("[]", "3", "null", '"x"', "{}", '{"round": null}', '{"round": "1"}', '{"round": 1.5}'),
    *('{"round": -1}', '{"round": true}', '{"round": NaN}', '{"round": 1e400}', '{"round": [1]}'),
    *("[" * 100_000, '{"a":' * 50_000, '{"round": 2, "loss": {}}', '{"round": 2, "loss": "x"}'),
    *(f'{{"round": {"9" * 400}}}', f'{{"round": {"9" * 5000}}}', f'{{"round": 2, "x": {10**99}}}'),
    *(
        "\0" * 100,
        "\xff\xfe",
        "\u2028",
        '{"round": 2',
        '{"round": 2}}',
        '{"round": 2, "loss": [1]}',
    ),
]


def cases(number: int, seed: int, folder: Path) -> Iterator[Case]:
    """All, or so many from the table's beginning to its end; `folder` takes the files."""
    canary = folder / "canary"
    table = [*_all(folder, canary)]
    step = max(1, len(table) // number)
    look_for_stubs()
    write(folder / "first", task(Parle()), [1], {})  # torch imports its compiler, once
    for what, run in table[seed % step :: step]:
        yield f"hostile file: {what}", watching(run, canary)


def _all(folder: Path, canary: Path) -> Iterator[Case]:
    for what, text in hostile_configs.table(canary):
        yield f"configuration, {what}", _config(folder, text)
    for what, name, files in hostile_data.table(Canary(canary)):
        yield f"{name}, {what}", _data(folder, name, files)
    for name in NAMES:
        yield f"run name {name[:40]!r}", _refuses(partial(RunFolder, folder, name))
    for what, path in _storage_paths(folder).items():
        yield f"storage path, {what}", _refuses(partial(RunFolder, path, "run"))
    for line in REPORTS:
        yield f"result.json {line[:40]!r}", _report(folder, line)
    for what in ("outside", "sealed_foreign"):
        for seed in range(10):
            yield f"checkpoint, {what} {seed}", _checkpoint(folder, what, seed, canary)


def watching(run: Callable[[], str], canary: Path) -> Callable[[], str]:
    """The same, and no canary may be there afterwards."""

    def watched() -> str:
        end = run()
        if canary.exists():
            canary.unlink()
            raise AssertionError("it ran code")
        return end

    return watched


def _refused(run: Callable[[], int]) -> Callable[[], str]:
    """Has to end with status 2 and one line on standard error."""

    def checked() -> str:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = run()
        said = err.getvalue()
        assert status == 2, (status, said[-1000:])
        assert said.startswith("parle: "), said
        assert said[:-1].isprintable(), said
        assert len(said) < 1500, said
        return "refused"

    return checked


def _refuses(act: Callable[[], object]) -> Callable[[], str]:
    """The same of what a command does on its way, which ends as a command ends."""

    def run() -> int:
        act()
        return 0

    return _refused(lambda: exit_status(run))


def _config(folder: Path, text: bytes) -> Callable[[], str]:
    file = folder / "hostile.yaml"

    def run() -> int:
        file.write_bytes(text)
        return main(["train", "--config", str(file), "--print_config"])

    return _refused(run)


def _data(folder: Path, name: str, files: dict[str, bytes]) -> Callable[[], str]:
    def run() -> str:
        root = folder / "data"
        shutil.rmtree(root, ignore_errors=True)
        for path, content in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)
        return _refuses(lambda: load(name, root))()

    return run


def _storage_paths(folder: Path) -> dict[str, str]:
    (folder / "file").write_text("")
    return {
        "a file": str(folder / "file"),
        "below a file": str(folder / "file" / "x"),
        "a device": "/dev/null",
        "below a device": "/dev/full/x",
        "in /proc": "/proc/1/x",
        "a NUL": "/tmp/a\0b",
        "too long": "/" + "x" * 5000,
        "too long a part": str(folder / ("x" * 300)),
        "no such filesystem": "gopher://x/y",
        "no such option": "s3://bucket/x?colour=red",
        "an empty URI": "://",
    }


def _report(folder: Path, line: str) -> Callable[[], str]:
    def run() -> str:
        where = RunFolder(folder / "runs", "reports")
        good = json.dumps({"round": 1, "loss": 0.5})
        Path(where.path, reports.NAME).write_text(
            f"{good}\n{line}\n", encoding="utf-8", errors="replace"
        )
        told = Reports(where.folder, print)
        told.keep_until(1)
        assert told.all == [json.loads(good)], told.all
        assert len(where.result(told.all).metrics_dataframe) == 1
        return "passed over"

    return run


def _checkpoint(folder: Path, what: str, seed: int, canary: Path) -> Callable[[], str]:
    def run() -> str:
        place = folder / "forged"
        shutil.rmtree(place, ignore_errors=True)
        given, spec = task(Parle()), {"strategy.class": "Parle"}
        write(place, given, [1], spec)
        FORGERIES[what](random.Random(seed), place / "checkpoint_000001", canary)
        return _refuses(lambda: newest(open_folder(place), given, spec, print))()

    return run
