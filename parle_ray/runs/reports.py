"""`result.json`: one JSON line a round, readable while a run goes on."""

import json
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any, Self

from parle_ray.errors import StorageError
from parle_ray.runs.attempts import Attempts
from parle_ray.runs.storage import Folder, LocalFolder

NAME = "result.json"
ARRIVALS = "arrivals.json"
"""Of an asynchronous run: a line a round too, with the ledger of its pushes in their order."""
REWRITE_S = 5.0
"""How often the file is written anew where it cannot grow."""

Report = dict[str, Any]


class Reports:
    """The reports of a run, in memory and in its folder.

    Where the storage fails the file stays behind until the next `flush`, which writes all of it;
    leaving the `with` of the reports is the last.

    Args:
        run: the run folder.
        say: takes a line for the user.
        name: of the file.
        clock: seconds; for tests.

    Attributes:
        all: the reports, in order.
    """

    def __init__(
        self,
        run: Folder,
        say: Callable[[str], None],
        name: str = NAME,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run, self._name, self._clock = run, name, clock
        self._attempts = Attempts(name, say)
        self.all = read(run, name)
        self._num_written = len(self.all)
        self._written_at = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(StorageError) if error else nullcontext():
            self.flush(last=True)

    @property
    def last_round(self) -> int:
        """The rounds that are reported."""
        return self.all[-1]["round"] if self.all else 0

    def keep_until(self, round: int) -> None:
        """Drop those after `round`, which a resumed run will make again."""
        self.all = [report for report in self.all if report["round"] <= round]
        self._rewrite()

    def append(self, report: Report) -> None:
        """One more line, at once where a file can grow, else with others in a few seconds."""
        self.all.append(report)
        if self._attempts.failures:
            return
        if isinstance(self._run, LocalFolder):
            self._attempts.make(self._append)
        elif self._clock() - self._written_at >= REWRITE_S:
            self._attempts.make(self._rewrite)

    def flush(self, *, last: bool = False) -> None:
        """Write what the file lacks.

        Raises:
            StorageError: the last attempt failed, or the third in a row.
        """
        if self._num_written < len(self.all):
            self._attempts.make(self._rewrite, last=last)

    def _append(self) -> None:
        assert isinstance(self._run, LocalFolder)
        try:
            self._run.append(self._name, _lines(self.all[-1:]))
        except OSError as error:
            raise StorageError(f"{self._run}/{self._name} cannot be written: {error}") from error
        self._num_written += 1

    def _rewrite(self) -> None:
        self._written_at = self._clock()
        try:
            self._run.write(self._name, _lines(self.all))
        except OSError as error:
            raise StorageError(f"{self._run}/{self._name} cannot be written: {error}") from error
        self._num_written = len(self.all)


def read(run: Folder, name: str = NAME) -> list[Report]:
    """The reports in a run folder, up to the first line that is none.

    A torn last line, left by a kill, is such a line.

    Raises:
        StorageError: the file is there and cannot be read.
    """
    try:
        return parse(run.read(name), ledger=name == ARRIVALS)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{run}/{name} cannot be read: {error}") from error


def parse(content: bytes, *, ledger: bool = False) -> list[Report]:
    """The reports in lines of the file, up to the first that is none."""
    found: list[Report] = []
    for line in content.decode(errors="replace").split("\n"):
        try:
            report = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _has_round(report) or not (ledger or _is_report(report)):
            break
        found.append(report)
    return found


def _has_round(line: Any) -> bool:
    return isinstance(line, dict) and type(line.get("round")) is int and line["round"] >= 1


def _is_report(line: Report) -> bool:
    """Whether there are numbers alone."""
    return all(
        value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
        for value in line.values()
    )


def _lines(reports: list[Report]) -> bytes:
    return "".join(json.dumps(report) + "\n" for report in reports).encode()
