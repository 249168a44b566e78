"""The master in shards: the coordinator keeps the roll, and actors the stretches."""

from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import ObjectLostError

from parle_ray.cluster.losses import ENDED
from parle_ray.cluster.wire import Parcel
from parle_ray.fold import Numbers
from parle_ray.master import late_rules, relative
from parle_ray.membership.roll import NOT_FINITE, Roll
from parle_ray.task import Task


class Shards:
    """Tells every shard what a whole master would be told; no vector passes here.

    A push is entered when its stretches have come to all shards, and then in all of them; if its
    replica said that it is not finite, or a shard that it has another size, in none. So the shards
    always agree on who was merged.

    Args:
        task: fitted to the run.
        actors: the shards, in the order of their stretches.
        fit: what they fit the task by, and the stretches.
        state: a list with the reference of that to go on from, or an empty one.
        ranks: the replicas that are at work.

    Attributes:
        moved: see `Whole`.
        replies_all: whether the replies are the master, with no state beside it.
    """

    moved: slice | None = None

    def __init__(
        self,
        task: Task,
        actors: list[Any],
        fit: tuple[Any, ...],
        state: list[ray.ObjectRef],
        ranks: list[int],
    ) -> None:
        self._actors = actors
        self.roll = Roll(ranks, **late_rules(task))
        self._coming: dict[int, list[ray.ObjectRef] | None] = {}
        self._coded = task.compression != "none"
        roll, self.replies_all = _get(self._tell("start", *fit, state, ranks))[0]
        self.roll.load_roll(roll)

    @property
    def distance(self) -> float:
        """Of the replicas to the master at the last close."""
        gaps, lengths = zip(*_get(self._tell("squares")), strict=True)
        return relative(sum(gaps), sum(lengths))

    def start(self) -> list[ray.ObjectRef]:
        """Where a replica starts."""
        return self._tell("place")

    def model(self) -> list[ray.ObjectRef]:
        """What is evaluated and saved."""
        return self._tell("model")

    def state(self, part: slice | None = None) -> list[ray.ObjectRef]:
        """All that the next round depends on."""
        assert part is None, "a round moves all of a master in shards"
        return self._tell("state", self.roll.roll_dict())

    def meet(self, rank: int, node: str) -> None:
        """A replica takes part, and where it runs."""

    def bring(
        self, rank: int, round: int, told: dict[str, Any], pushes: list[ray.ObjectRef]
    ) -> ray.ObjectRef | None:
        """An answer is there; a reference to wait for before it is taken, if it has a push."""
        finite = told.pop("finite")
        if not finite:
            self._coming[rank] = None if finite is None else []
            return None
        pairs = zip(self._actors, pushes, strict=True)
        coming = [actor.bring.remote(rank, round, push) for actor, push in pairs]
        self._coming[rank] = coming
        return coming[0]

    def take(
        self, rank: int, round: int, seen: int, weight: int, numbers: Numbers = ()
    ) -> int | None:
        """Enter it (see `Master.take`); its bytes, None if its replica had to restart.

        Raises:
            ObjectLostError: the push was lost on its way to a shard.
        """
        coming = self._coming.pop(rank)
        came = [] if coming is None else _get(coming)
        wrong = NOT_FINITE if coming == [] else next((why for _, why in came if why), None)
        merges = self.roll.tick(rank, round, seen, empty=coming is None)
        if merges and wrong:
            self.roll.refuse(rank, wrong)
        self._tell("take", rank, round, seen, weight, numbers, merges and not wrong)
        return None if coming is None else sum(num_bytes for num_bytes, _ in came)

    def close(self) -> dict[int, Parcel]:
        """Close the round; the replies by rank."""
        self.roll.check()
        self.roll.turn()
        return self._parcels("close", self._others())

    def replies(self) -> dict[int, Parcel]:
        """What opened the round that is open."""
        return self._parcels("replies", self._others())

    def join(self, rank: int) -> dict[int, Parcel]:
        """Take in a replica that starts from the master; its reply."""
        self.roll.admit(rank)
        return {rank: self._parcels("join", rank)[rank]}

    def leave(self, rank: int, *, lost: bool = True) -> None:
        """Go on without a replica that was lost, or has left."""
        self._coming.pop(rank, None)
        if lost:
            self.roll.strike(rank)
        else:
            self.roll.part(rank)
        self._tell("leave", rank)

    def _others(self) -> bool:
        """Whether some are to be sent where the master starts, instead of the usual reply."""
        behind = self._coded and not all(self.roll.follows(rank) for rank in self.roll.ranks)
        return behind or bool(self.roll.restart)

    def _parcels(self, verb: str, *args: Any) -> dict[int, Parcel]:
        sent = [getattr(actor, verb).options(num_returns=3).remote(*args) for actor in self._actors]
        told = _get([told for told, _, _ in sent])
        usual = Parcel(
            refs=[reply for _, reply, _ in sent],
            num_bytes=sum(one["reply_bytes"] for one in told),
            restart=False,
            coded=told[0]["coded"],
            numbers=told[0]["numbers"],
        )
        anew = Parcel(
            refs=[start for _, _, start in sent],
            num_bytes=sum(one["start_bytes"] for one in told),
            restart=True,
            coded=False,
            numbers=usual.numbers,
        )
        behind = replace(anew, restart=False)
        parcels = {}
        for rank in self.roll.ranks:
            follows = not usual.coded or self.roll.follows(rank)
            parcels[rank] = anew if rank in self.roll.restart else usual if follows else behind
        return parcels

    def _tell(self, verb: str, *args: Any) -> list[ray.ObjectRef]:
        return [getattr(actor, verb).remote(*args) for actor in self._actors]


class ShardLost(RuntimeError):
    """The coordinator cannot go on without the stretch of the master that is gone."""


def _get(refs: list[ray.ObjectRef]) -> list[Any]:
    """What the shards answer.

    Raises:
        ShardLost: one of them died.
    """
    try:
        return ray.get(refs)
    except ObjectLostError:
        raise
    except ENDED as error:
        raise ShardLost(f"a shard of the master: {error}") from error
