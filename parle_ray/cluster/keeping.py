"""The master's state in the hands of replicas, for the case that the coordinator is lost.

Where the replies are the master, every replica has it already. Else its state goes each round to
two replicas beside the coordinator, for which it only changes hands in memory; where there are
none, to one replica over the network, unless vectors travel compressed, as it would cost more than
they do. Where a round moves a stretch of the vector, who holds the state before is given that.
"""

from typing import Any

import ray
from ray.exceptions import RayError

from parle_ray.cluster.enlisted import Enlisted
from parle_ray.cluster.shards import Shards
from parle_ray.cluster.whole import Whole

SETTLE_S = 5.0
"""How long the close of a round may wait for somebody to hold the state that opened it."""


def keepers(nodes: dict[int, str], here: str, *, coded: bool) -> list[int]:
    """The ranks that hold the state, given the node of each; none if nobody can."""
    beside = [rank for rank in sorted(nodes) if nodes[rank] == here]
    return beside[:2] or ([] if coded else sorted(nodes)[:1])


class Keeping:
    """Hands the state out, and makes sure that it has come.

    Args:
        generation: of the coordinator.
        sharded: the state comes from several nodes.
    """

    def __init__(self, generation: int, *, coded: bool, sharded: bool) -> None:
        self._generation, self._coded, self._sharded = generation, coded, sharded
        self._here = ray.get_runtime_context().get_node_id()
        self._given: dict[int, tuple[Any, ray.ObjectRef]] = {}
        self._crosses = False

    def give(self, round: int, master: Whole | Shards, replicas: dict[int, Enlisted]) -> None:
        """The state that opens `round` to the replicas that are to hold it."""
        nodes = {rank: replica.node for rank, replica in replicas.items()}
        chosen = keepers(nodes, self._here, coded=self._coded)
        away = [node for node in nodes.values() if node != self._here]
        self._crosses = bool(away) if self._sharded else any(nodes[r] in away for r in chosen)
        moved = master.moved
        holders = {r for r in chosen if moved is not None and self._holds(r, replicas[r].actor)}
        news = master.state(moved) if holders else []
        whole = master.state() if holders != {*chosen} else []
        self._given = {}
        for rank in chosen:
            actor = replicas[rank].actor
            told = (moved, *news) if rank in holders else (None, *whole)
            self._given[rank] = actor, actor.keep.remote(self._generation, round, *told)

    def _holds(self, rank: int, actor: Any) -> bool:
        """Whether it has what it was given last."""
        if rank not in self._given or self._given[rank][0] is not actor:
            return False
        ref = self._given[rank][1]
        try:
            return bool(ray.wait([ref], timeout=0)[0]) and ray.get(ref) is not None
        except RayError:
            return False

    def settle(self) -> int:
        """Wait until somebody holds what was given; the bytes that crossed the network."""
        waiting = [ref for _, ref in self._given.values()]
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1, timeout=SETTLE_S)
            if not ready:
                break
            try:
                return ray.get(ready[0]) if self._crosses else 0
            except RayError:
                continue  # it is lost, and the round that is about to close will tell
        return 0
