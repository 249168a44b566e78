"""What a storm did to a run: figures, and the promises that were broken. No I/O."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from parle_ray.chaos.kinds import KINDS
from parle_ray.chaos.schedule import Fault


@dataclass(frozen=True)
class Seen:
    """A report as the driver saw it.

    Attributes:
        at: seconds of a monotonic clock.
        round: which was closed.
        ranks: of the replicas that answered in it.
    """

    at: float
    round: int
    ranks: frozenset[int]


@dataclass(frozen=True)
class Struck:
    """What became of a fault.

    Attributes:
        at: seconds of a monotonic clock.
        round: the last that was reported by then.
        why_not: why it did not happen; empty if it did.
    """

    fault: Fault
    at: float
    round: int
    why_not: str = ""


def recovery_s(struck: Struck, seen: Sequence[Seen]) -> float | None:
    """Seconds until the run was whole again; None if it did not happen, or the run ended first.

    Where a replica was replaced: until it has answered again after rounds without it. Else until
    two rounds were closed, the first of which may have been on its way.
    """
    if struck.why_not:
        return None
    after = [report for report in seen if report.at >= struck.at]
    rank = struck.fault.rank
    if rank is not None and KINDS[struck.fault.kind].ends:
        while after and rank in after[0].ranks:
            after.pop(0)
        back = [report.at for report in after if rank in report.ranks]
    else:
        back = [report.at for report in after[1:]]
    return back[0] - struck.at if back else None


def longest_pause_s(seen: Sequence[Seen]) -> float:
    """Between two reports."""
    times = [report.at for report in seen]
    return max((b - a for a, b in pairwise(times)), default=0.0)


def rounds_per_s(seen: Sequence[Seen]) -> float | None:
    """From the first report to the last."""
    if len(seen) < 2:
        return None
    return (len(seen) - 1) / (seen[-1].at - seen[0].at)


def by_kind(struck: Sequence[Struck], seen: Sequence[Seen]) -> dict[str, dict[str, Any]]:
    """Of each kind: how many were sent, how many happened, how long the longest recovery took."""
    table = {}
    for kind in dict.fromkeys(one.fault.kind for one in struck):
        mine = [one for one in struck if one.fault.kind == kind]
        times = [t for t in (recovery_s(one, seen) for one in mine) if t is not None]
        table[kind] = {
            "sent": len(mine),
            "happened": sum(not one.why_not for one in mine),
            "longest_recovery_s": max(times, default=None),
        }
    return table


def as_row(struck: Struck, seen: Sequence[Seen]) -> dict[str, Any]:
    """One fault, for a file."""
    return {
        **asdict(struck.fault),
        "struck_after_round": struck.round,
        "happened": not struck.why_not,
        "why_not": struck.why_not,
        "recovery_s": recovery_s(struck, seen),
    }


def broken(
    rounds: Sequence[int],
    num_rounds: int,
    seen: Sequence[Seen],
    *,
    pause_s: float,
    off: float | None = None,
    tolerance: float = 0.0,
) -> list[str]:
    """The promises that a run has broken, a line each.

    Args:
        rounds: as `result.json` has them.
        pause_s: how long no round may be reported.
        off: the final loss less that of a run without faults.
        tolerance: how far off it may be.
    """
    found = []
    if list(rounds) != list(range(1, num_rounds + 1)):
        missing = sorted(set(range(1, num_rounds + 1)) - set(rounds))
        twice = sorted({round for round in rounds if list(rounds).count(round) > 1})
        found.append(
            f"rounds: result.json does not have 1 to {num_rounds} once each and in order "
            f"(missing {missing}, repeated {twice})"
        )
    if (pause := longest_pause_s(seen)) > pause_s:
        found.append(f"pause: no round was reported for {pause:.1f} s, more than {pause_s:g} s")
    if off is not None and not abs(off) <= tolerance:
        found.append(f"loss: off by {off:+.4f}, more than {tolerance:g}")
    return found
