"""The door to the `Master`: asks the replicas, closes rounds, keeps the master parameters."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from ray.exceptions import ObjectLostError, RayActorError, RayTaskError

from parle_ray.cluster.evaluations import Evaluations
from parle_ray.cluster.rhythm import Rhythm
from parle_ray.cluster.wire import pack, pack_tree, unpack_tree, view
from parle_ray.learner import Answer
from parle_ray.master import Master
from parle_ray.metrics import round_report
from parle_ray.replica import Reply
from parle_ray.task import Task

NOTICE_S = 1.0
"""How often the coordinator looks up from waiting, to see who joined."""


@dataclass
class Member:
    """A replica as the coordinator knows it.

    Attributes:
        asked: round -> the references of its answer, in the order of asking.
    """

    actor: Any
    asked: dict[int, list[ray.ObjectRef]]


class Coordinator:
    """Keeps the master and drives the rounds; the replicas belong to the driver.

    It asks each replica for a round and reads answers only through the references it holds. For
    a strategy that overlaps it asks a round ahead, so a replica goes straight on to the next one
    while its push is merged and the new master travels.

    Args:
        task: a list with the reference of the task.
    """

    def __init__(self, task: list[ray.ObjectRef]) -> None:
        self._task: Task = ray.get(task[0])
        self._joining: dict[int, Any] = {}
        self._somebody = threading.Event()
        self._cuts: dict[int, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return "coordinator"

    def start(
        self,
        batches_per_pass: int | None,
        codec: str,
        state: list[ray.ObjectRef],
        checkpoint_every: int | None,
        evaluate_every: int | None,
    ) -> dict[str, Any]:
        """Build the master, or restore it; its round, and a reference to where replicas start."""
        torch.set_num_threads(self._task.execution.num_threads or 1)
        self._fit = (batches_per_pass, codec)
        self._task = self._task.fitted_to(*self._fit)
        assert self._task.num_rounds is not None
        self._master = Master(self._task, ())
        if state:
            self._master.load_state_dict(unpack_tree(ray.get(state[0])))
        self._last = self._task.num_rounds
        self._checkpoints = Rhythm(checkpoint_every, self._last)
        self._evaluate_every = evaluate_every
        return {"round": self._master.round, "start": ray.put(pack(self._master.start))}

    @ray.method(concurrency_group="control")
    def join(self, rank: int, actor: Any) -> None:
        """Take a replica in, which has been set up, at the next round's start."""
        self._joining[rank] = actor
        self._somebody.set()

    @ray.method(concurrency_group="control")
    def let_go(self, round: int) -> None:
        """The driver has fetched all that the cut of `round` refers to."""
        self._cuts.pop(round, None)

    def run(self, members: dict[int, Any], evaluator: Any) -> Iterator[dict[str, Any]]:
        """Close round after round; one report each.

        Beside the metrics a report has `lost`, the ranks whose actors died in the round, and,
        at a checkpoint, `cut`: references of all that a resumed run needs. A report of `lost`
        alone says that nobody is left, and that the round waits for somebody to join.
        """
        self._members = {rank: Member(actor, {}) for rank, actor in members.items()}
        self._master.ranks = sorted(members)
        self._evaluations = Evaluations(
            evaluator,
            wanted=self._task.evaluate_fn is not None,
            every=self._evaluate_every,
            last=self._last,
        )
        self._bytes_sent = 0
        self._deliver({rank: self._master.reply(rank) for rank in self._master.ranks})
        self._closed_at = time.perf_counter()
        while self._master.round < self._last:
            self._admit()
            answers, states, lost = self._collect(self._master.round)
            if answers:
                yield self._close(answers, states) | {"lost": lost}
            else:  # everybody is lost: the round stays open until somebody joins
                yield {"lost": lost}
                self._somebody.wait(NOTICE_S)

    def _close(
        self, answers: dict[int, Answer], states: dict[int, ray.ObjectRef]
    ) -> dict[str, Any]:
        self._deliver(self._master.close())
        now, before = time.perf_counter(), self._closed_at
        self._closed_at = now
        samples = sum(answer.num_samples for answer in answers.values())
        report = round_report(self._task, self._master, answers) | {
            "num_rounds": self._last,
            "round_s": now - before,
            "stall_s": _mean(self._times, "stall_s"),
            "exchange_s": _mean(self._times, "exchange_s"),
            "bytes_sent": self._bytes_sent,
            "samples_per_s": samples / (now - before),
        }
        if states or self._master.round == self._last:
            # References in a streamed report do not keep their objects alive: we do.
            report["cut"] = self._cuts[self._master.round] = self._cut(states)
        return report | self._evaluations.of_round(self._master.round, self._put_master)

    def _admit(self) -> None:
        """Replicas that are new start from the master, in the round that opens now."""
        self._somebody.clear()
        while self._joining:
            rank, actor = self._joining.popitem()
            start = ray.put(pack(self._master.start))
            actor.start.remote(*self._fit, self._master.round, [start], [])
            self._members[rank] = Member(actor, {})
            self._deliver({rank: self._master.join(rank)})

    def _ask(self, member: Member, round: int) -> None:
        if round >= self._last or round in member.asked:
            return
        want_state = self._checkpoints.due(round + 1)
        member.asked[round] = member.actor.round.options(num_returns=3 if want_state else 2).remote(
            round, want_state
        )

    def _collect(self, round: int) -> tuple[dict[int, Answer], dict[int, ray.ObjectRef], list[int]]:
        """Ask everybody, and wait until each has answered or is lost."""
        ahead = 2 if self._task.strategy.overlaps else 1
        for member in self._members.values():
            for k in range(round, round + ahead):
                self._ask(member, k)
        answers: dict[int, Answer] = {}
        states: dict[int, ray.ObjectRef] = {}
        lost: list[int] = []
        self._bytes_sent = 0
        self._times: list[dict[str, Any]] = []
        waiting = {member.asked[round][0]: rank for rank, member in self._members.items()}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=NOTICE_S)
            for ref in ready:
                rank = waiting.pop(ref)
                refs = self._members[rank].asked.pop(round)
                try:
                    told, push = ray.get(refs[:2])
                except RayTaskError:
                    raise
                except (RayActorError, ObjectLostError):
                    lost.append(rank)
                    del self._members[rank]
                    self._master.leave(rank)
                    continue
                self._bytes_sent += 0 if push is None else push.nbytes
                pushed = self._read(push)
                self._times.append({name: told.pop(name) for name in ("stall_s", "exchange_s")})
                answers[rank] = Answer(push=pushed, **told)
                self._master.take(rank, round, pushed)
                if len(refs) == 3:
                    states[rank] = refs[2]
        return answers, states, lost

    def _read(self, push: np.ndarray | None) -> torch.Tensor | np.ndarray | None:
        if push is None or self._task.compression != "none":
            return push
        return view(push, self._master.vector.dtype)

    def _deliver(self, replies: dict[int, Reply]) -> None:
        """Send each its reply, equal ones as one object."""
        refs: dict[int, ray.ObjectRef] = {}
        for rank, reply in replies.items():
            if rank not in self._members:
                continue
            array = pack(reply.vector if reply.code is None else reply.code)
            self._bytes_sent += array.nbytes
            key = array.ctypes.data
            if key not in refs:
                refs[key] = ray.put(array)
            self._members[rank].actor.deliver.remote(
                self._master.round, refs[key], reply.restart, reply.code is not None
            )

    def _put_master(self) -> ray.ObjectRef:
        return ray.put(pack(self._master.vector))

    def _cut(self, states: dict[int, ray.ObjectRef]) -> dict[str, Any]:
        """A consistent cut: the master after this round, each replica after its push."""
        return {
            "round": self._master.round,
            "master": ray.put(pack_tree(self._master.state_dict())),
            "replicas": states,
            "model": self._evaluations.model(self._master.round, self._put_master),
        }


def _mean(told: list[dict[str, Any]], name: str) -> float | None:
    values = [one[name] for one in told if one[name] is not None]
    return sum(values) / len(values) if values else None
