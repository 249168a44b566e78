"""The door to the `Master`, whole or in shards: asks the replicas and closes rounds."""

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
from parle_ray.cluster.shards import Shards
from parle_ray.cluster.whole import Whole
from parle_ray.cluster.wire import Parcel
from parle_ray.learner import Answer
from parle_ray.metrics import round_report
from parle_ray.task import Task

PUSHED = np.empty(0)
"""In an answer, where the push itself has gone elsewhere."""
TIMES = ("stall_s", "exchange_s")
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
        parts: list[slice],
        shards: list[Any],
        state: list[ray.ObjectRef],
        checkpoint_every: int | None,
        evaluate_every: int | None,
    ) -> tuple[Any, ...]:
        """Build the master, or restore it; the arguments by which a replica starts from it.

        Args:
            parts: the stretches in which vectors travel.
            shards: the actors that keep one each; without any the master is kept here.
        """
        torch.set_num_threads(self._task.execution.num_threads or 1)
        self._task = self._task.fitted_to(batches_per_pass, codec)
        self._fit, self._num_pushes = (batches_per_pass, codec, parts), len(parts)
        assert self._task.num_rounds is not None
        self._master: Whole | Shards = (
            Shards(self._task, shards, self._fit, state) if shards else Whole(self._task, state)
        )
        self._roll = self._master.roll
        self._last = self._task.num_rounds
        self._checkpoints = Rhythm(checkpoint_every, self._last)
        self._evaluate_every = evaluate_every
        return self._at()

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
        assert self._roll.ranks == sorted(members)
        self._evaluations = Evaluations(
            evaluator,
            wanted=self._task.evaluate_fn is not None,
            every=self._evaluate_every,
            last=self._last,
        )
        self._bytes_sent = 0
        self._deliver(self._master.replies())
        self._closed_at = time.perf_counter()
        while self._roll.round < self._last:
            self._admit()
            answers, states, lost = self._collect(self._roll.round)
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
        report = round_report(self._task, self._roll, self._master.distance, answers) | {
            "num_rounds": self._last,
            "round_s": now - before,
            "stall_s": _mean(self._times, "stall_s"),
            "exchange_s": _mean(self._times, "exchange_s"),
            "bytes_sent": self._bytes_sent,
            "samples_per_s": samples / (now - before),
        }
        if states or self._roll.round == self._last:
            # References in a streamed report do not keep their objects alive: we do.
            report["cut"] = self._cuts[self._roll.round] = self._cut(states)
        return report | self._evaluations.of_round(self._roll.round, self._master.vector)

    def _admit(self) -> None:
        """Replicas that are new start from the master, in the round that opens now."""
        self._somebody.clear()
        while self._joining:
            rank, actor = self._joining.popitem()
            actor.start.remote(*self._at(), [])
            self._members[rank] = Member(actor, {})
            self._deliver(self._master.join(rank))

    def _at(self) -> tuple[Any, ...]:
        return (*self._fit, self._roll.round, self._master.start())

    def _ask(self, member: Member, round: int) -> None:
        if round >= self._last or round in member.asked:
            return
        want_state = self._checkpoints.due(round + 1)
        num_returns = 1 + self._num_pushes + want_state
        member.asked[round] = member.actor.round.options(num_returns=num_returns).remote(
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
        told: dict[int, dict[str, Any]] = {}
        waiting = {member.asked[round][0]: rank for rank, member in self._members.items()}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1, timeout=NOTICE_S)
            for ref in ready:
                rank = waiting.pop(ref)
                _, *refs = self._members[rank].asked[round]
                try:
                    if rank not in told:
                        told[rank] = ray.get(ref)
                        travels = self._master.bring(rank, told[rank], refs[: self._num_pushes])
                        if travels is not None:
                            waiting[travels] = rank
                            continue
                    num_bytes = self._master.take(rank)
                except (RayActorError, ObjectLostError) as error:
                    if isinstance(error, RayTaskError) and not isinstance(error, ObjectLostError):
                        raise
                    lost.append(rank)
                    del self._members[rank]
                    self._master.leave(rank)
                    continue
                del self._members[rank].asked[round]
                self._bytes_sent += num_bytes or 0
                self._times.append({name: told[rank].pop(name) for name in TIMES})
                answers[rank] = Answer(None if num_bytes is None else PUSHED, **told[rank])
                if len(refs) > self._num_pushes:
                    states[rank] = refs[-1]
        return answers, states, lost

    def _deliver(self, parcels: dict[int, Parcel]) -> None:
        for rank, parcel in parcels.items():
            if rank in self._members:
                self._bytes_sent += parcel.num_bytes
                self._members[rank].actor.deliver.remote(
                    self._roll.round, parcel.restart, parcel.coded, *parcel.refs
                )

    def _cut(self, states: dict[int, ray.ObjectRef]) -> dict[str, Any]:
        """A consistent cut: the master after this round, each replica after its push."""
        return {
            "round": self._roll.round,
            "master": self._master.state(),
            "replicas": states,
            "model": self._evaluations.model(self._roll.round, self._master.vector),
        }


def _mean(told: list[dict[str, Any]], name: str) -> float | None:
    values = [one[name] for one in told if one[name] is not None]
    return sum(values) / len(values) if values else None
