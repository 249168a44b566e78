"""How a run is shown while it goes: one live line in a terminal, a few plain lines in a log."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

NUM_LINES = 20
"""Lines that stay, spread evenly over the rounds of a run."""
CLOSEST_S = 1.0
"""Two lines that stay are at least this far apart, but for the last of a run."""
FARTHEST_S = 1800.0
"""A line stays after this time at the latest."""


class Progress:
    """Shows the reports of a run (`parle_ray.metrics`) on standard error.

    Args:
        console: where; None is standard error, plain if that is not a terminal.
        clock: seconds; for tests.
    """

    def __init__(
        self, console: Console | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console or Console(file=sys.stderr, highlight=False)
        self._clock = clock
        self._began = self._line_at = clock()
        self._first: tuple[int, float] | None = None  # round and time of the first report
        self._newest: dict[str, Any] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, report: Mapping[str, Any]) -> None:
        """Show the report of a round, in the live line or as one that stays."""
        now = self._clock()
        if self._first is None:
            self._first = report["round"], now
        kept = ("accuracy", "bits_per_byte", "evaluated_round")
        self._newest |= {k: report[k] for k in kept if k in report}
        if "accuracy" in report and "evaluated_round" not in report:
            self._newest["evaluated_round"] = report["round"]
        done, since = report["round"] - self._first[0], now - self._first[1]
        # From the first report on, so that the start of the actors is not taken for a round.
        left = since / done * (report["num_rounds"] - report["round"]) if done else None
        text = line({**report, **self._newest}, now - self._began, left)
        if self._due(report, now):
            self._line_at = now
            self.say(text)
        if self._console.is_terminal:
            self._show(text)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(Text(text), soft_wrap=True)

    def close(self) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _due(self, report: Mapping[str, Any], now: float) -> bool:
        round, last = report["round"], report["num_rounds"]
        since = now - self._line_at
        spread = round % math.ceil(last / NUM_LINES) == 0 and since >= CLOSEST_S
        first = self._first is not None and round == self._first[0]
        return first or round == last or spread or since >= FARTHEST_S

    def _show(self, text: str) -> None:
        if self._live is None:
            self._live = Live(console=self._console, transient=True, refresh_per_second=8)
            self._live.start()
        self._live.update(Text(text, no_wrap=True, overflow="ellipsis", style="bold"))


def line(report: Mapping[str, Any], elapsed_s: float, left_s: float | None = None) -> str:
    """A report as one line.

    >>> line({"round": 4, "num_rounds": 40, "loss": 0.5, "distance": 0.01}, 6, 54)
    'round  4/40  loss 0.5000  distance 0.0100  0:06, 0:54 left'
    """
    last = str(report["num_rounds"])
    parts = [f"round {report['round']:>{len(last)}}/{last}", f"loss {report['loss']:.4f}"]
    if "accuracy" in report:
        of_round = report.get("evaluated_round", report["round"])
        when = "" if of_round == report["round"] else f" (round {of_round})"
        bits = f", {report['bits_per_byte']:.3f} bits/byte" if "bits_per_byte" in report else ""
        parts.append(f"master {100 * report['accuracy']:.1f} %{bits}{when}")
    parts.append(f"distance {report['distance']:.4f}")
    parts += [f"{name} {report[name]:.3g}" for name in ("gamma", "rho", "degree") if name in report]
    if "staleness" in report:
        parts.append(f"staleness {report['staleness']:.1f}")
    if report.get("faults"):
        parts.append(f"faults {report['faults']}")
    clock = duration(elapsed_s)
    if left_s is not None and report["round"] < report["num_rounds"]:
        clock += f", {duration(left_s)} left"
    return "  ".join([*parts, clock])


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` below an hour.

    >>> duration(3723), duration(59.6)
    ('1:02:03', '1:00')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
