"""Where a new coordinator begins, by what the replicas hold: see `memory`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError

from parle_ray.cluster.losses import reason_of
from parle_ray.cluster.memory import Standing
from parle_ray.errors import UserCodeError

ANSWER_S = 10.0
"""How long replicas may take to say what they hold; it needs no vector, and no walk to end."""


@dataclass(frozen=True)
class Beginning:
    """Where a new coordinator begins.

    Attributes:
        round: the one that is open then.
        source: the rank that gives its state; None: the state that the last one began with.
        fits: the ranks that go on from there; the others start anew from the master.
    """

    round: int
    source: int | None
    fits: list[int]


def choose(
    standings: Mapping[int, Standing], reported: int, begun_at: int | None
) -> Beginning | None:
    """The beginning by which no round is lost or made twice; None if nobody has a master whole.

    That is the newest master which is not newer than the last report: the round after it is
    closed again, from the answers that the replicas hold. Of masters of one round that of the
    newest generation is taken, as it is the one that was gone on from.

    Args:
        standings: what the replicas that answer hold.
        reported: rounds of which the driver has the report.
        begun_at: the round in which the last coordinator began, if its state is still there.
    """
    full = [
        (round, generation, rank)
        for rank, standing in standings.items()
        for round, generation in standing.full.items()
    ]
    rounds = {round for round, _, _ in full}
    if begun_at is not None:
        rounds.add(begun_at)
    if not rounds:
        return None
    past = [round for round in rounds if round <= reported]
    chosen = max(past) if past else min(rounds)
    holders = [(generation, -rank) for round, generation, rank in full if round == chosen]
    source = -max(holders)[1] if holders else None
    fits = [rank for rank, standing in standings.items() if standing.fits(chosen)]
    return Beginning(chosen, source, sorted(fits))


def newest(standings: Mapping[int, Standing], begun_at: int | None) -> Beginning | None:
    """The beginning of an asynchronous run: the newest master that a replica was sent.

    Everybody goes on from there. What it has pushed is not asked for again: either this master has
    it already, or it is lost with the walk that is under way, so no push counts twice.

    Args:
        begun_at: the version at which the last coordinator began, if its state is still there.
    """
    begin = choose(standings, sys.maxsize, begun_at)
    if begin is None:
        return None
    fits = [
        rank
        for rank, standing in standings.items()
        if standing.next is not None and standing.newest <= begin.round
    ]
    return replace(begin, fits=sorted(fits))


def ask_all(
    actors: Mapping[int, Any], method: str, *args: Any, timeout_s: float = ANSWER_S
) -> tuple[dict[int, Any], dict[int, str | UserCodeError]]:
    """What replicas say to a question that needs no walk, and why the others are given up."""
    if not actors:
        return {}, {}
    refs = {rank: getattr(actor, method).remote(*args) for rank, actor in actors.items()}
    there, _ = ray.wait(list(refs.values()), num_returns=len(refs), timeout=timeout_s)
    said: dict[int, Any] = {}
    silent: dict[int, str | UserCodeError] = {}
    for rank, ref in refs.items():
        try:
            if ref in there:
                said[rank] = ray.get(ref)
            else:
                silent[rank] = f"silent for {timeout_s:.0f} s"
        except RayError as error:
            silent[rank] = reason_of(error)
    return said, silent
