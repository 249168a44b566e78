"""The door to the `Master`, whole or in shards: asks the replicas and closes rounds."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import ray
import torch

from parle_ray import lazy_dynamo
from parle_ray.cluster.asynchronous_exchange import exchange_of
from parle_ray.cluster.branches import Branches
from parle_ray.cluster.enlisted import Enlisted
from parle_ray.cluster.evaluations import Evaluations
from parle_ray.cluster.exchange import NOTICE_S
from parle_ray.cluster.haste import Haste
from parle_ray.cluster.keeping import Keeping
from parle_ray.cluster.losses import REPEATS
from parle_ray.cluster.meters import Meters
from parle_ray.cluster.rhythm import Rhythm
from parle_ray.cluster.shards import Shards
from parle_ray.cluster.whole import Whole
from parle_ray.metrics import round_report
from parle_ray.task import Task


class Coordinator:
    """Keeps the master and drives the rounds; the replicas belong to the driver.

    It asks each replica for a round and reads answers only through the references it holds. For
    a strategy that overlaps it asks a round ahead, so a replica goes straight on to the next one
    while its push is merged and the new master travels.

    Args:
        task: a list with the reference of the task.

    Attributes:
        exchange: with the replicas, once rounds are under way.
    """

    def __init__(self, task: list[ray.ObjectRef]) -> None:
        lazy_dynamo.install()
        self._task_ref = task[0]
        self._task: Task = ray.get(self._task_ref)
        self._joining: dict[int, Enlisted] = {}
        self._joined: dict[int, Any] = {}
        self._somebody, self._let_go = threading.Event(), threading.Event()
        self._cuts: dict[int, dict[str, Any]] = {}
        self._haste = Haste()
        self._draining: set[str] = set()

    def __repr__(self) -> str:
        return "coordinator"

    @property
    def at_work(self) -> bool:
        """Whether rounds are under way."""
        return hasattr(self, "exchange")

    @ray.method(concurrency_group="control")
    def ping(self) -> float:
        """For how many seconds the rounds have not come by here.

        At the end of a run they may wait for an evaluation as long as it takes.
        """
        if not self.at_work or self._roll.round >= self._last:
            return 0.0
        return time.perf_counter() - max(self.exchange.came_by, self._closed_at)

    def start(
        self,
        generation: int,
        batches_per_pass: int | None,
        codec: str,
        parts: list[slice],
        shards: list[Any],
        state: list[ray.ObjectRef],
        ranks: list[int],
        failures: int,
        checkpoint_every: int | None,
        evaluate_every: int | None,
    ) -> tuple[Any, ...]:
        """Build the master, or restore it; the arguments by which a replica starts from it.

        Args:
            generation: how many coordinators there were before.
            parts: the stretches in which vectors travel.
            shards: the actors that keep one each; without any the master is kept here.
            state: a list with the reference of the master's state, or an empty one.
            ranks: the replicas that are at work.
            failures: replicas that the driver knows to have been lost.
        """
        torch.set_num_threads(self._task.execution.num_threads or 1)
        self._task = self._task.fitted_to(batches_per_pass, codec)
        self._fit, self._num_pushes = (batches_per_pass, codec, parts), len(parts)
        assert self._task.num_rounds is not None
        whole = Branches if self._task.tree else Whole
        self._master: Whole | Shards = (
            Shards(self._task, shards, self._fit, state, ranks)
            if shards
            else whole(self._task, state, ranks)
        )
        self._generation = generation
        self._keeping = Keeping(generation, coded=codec != "none", sharded=bool(shards))
        self._roll = self._master.roll
        self._roll.faults = max(self._roll.faults, failures)
        self._last = self._task.num_rounds
        self._checkpoints = Rhythm(checkpoint_every, self._last)
        self._evaluate_every = evaluate_every
        return self._at()

    @ray.method(concurrency_group="control", max_task_retries=REPEATS)
    def join(self, rank: int, replica: Enlisted) -> None:
        """Take a replica in, which has been set up, at the next round's start."""
        if self._joined.get(rank) != replica.actor:
            self._joining[rank], self._joined[rank] = replica, replica.actor
            self._somebody.set()

    @ray.method(concurrency_group="control", max_task_retries=REPEATS)
    def let_go(self, round: int) -> None:
        """The driver has fetched all that the cut of `round` refers to."""
        self._cuts.pop(round, None)
        self._let_go.set()

    @ray.method(concurrency_group="control")
    def leave(self, nodes: set[str]) -> None:
        """Let the replicas on these nodes leave when the open round has closed."""
        self._draining = nodes

    @ray.method(concurrency_group="control", max_task_retries=REPEATS)
    def checkpoint(self) -> None:
        """Make a cut at the next round that can have one."""
        self._checkpoints.soon()

    @ray.method(concurrency_group="control")
    def end(self) -> None:
        """Let the first round that can have a cut be the last of this run.

        Which one that is depends on how far the replicas are: from now on each sends its state
        with every answer, and the first round in which all of them do has a cut.
        """
        self._haste.begin()

    def run(self, members: dict[int, Enlisted], evaluator: Any) -> Iterator[dict[str, Any]]:
        """Close round after round; one report each.

        Beside the metrics a report has `lost`, rank -> why it was given up; `refusals`, a line for
        each push that was refused, if any was; `left`, the ranks that left nodes which are drained;
        of an asynchronous strategy `arrivals`, the ledger (`Entry.arrivals`); and, at a checkpoint,
        `cut`: references of all that a resumed run needs. A report of `lost` alone says that the
        round is still open, and one of `lost` and `cut` that there was no time to close it.
        """
        assert self._roll.ranks == sorted(members)
        self._closed_at = time.perf_counter()  # first of all: from the next line on it is asked for
        self.exchange = exchange_of(
            self._master,
            self._task.patience,
            steps=self._task.strategy.steps,
            uneven=self._task.strategy.uneven,
            generation=self._generation,
            ahead=2 if self._task.strategy.overlaps else 1,
            num_rounds=self._last,
            num_pushes=self._num_pushes,
            want_state=lambda round: self._checkpoints.due(round + 1),
            haste=self._haste,
        )
        for rank, replica in members.items():
            self.exchange.meet(rank, replica)
        self._evaluations = Evaluations(
            evaluator,
            [self._task_ref],
            wanted=self._task.evaluate_fn is not None,
            every=self._evaluate_every,
            last=self._last,
            hurried=lambda: self._haste.is_on,
        )
        own_name = ray.get_runtime_context().get_actor_name() or ""
        self._meters = Meters(own_name.rpartition("/")[0])
        self.exchange.open(self._master.replies())
        self._keep()
        while self._roll.round < self._last:
            self._admit()
            self.exchange.collect(self._somebody.is_set)
            if self._roll.answered:
                report = self._close() | {"left": self.exchange.part(self._draining)}
                yield report | {"lost": self.exchange.take_lost()}
                if self._haste.is_on and "cut" in report:
                    break
                self._keep()
            elif self._haste.is_over:
                yield {"lost": self.exchange.take_lost(), "cut": self._cut({})}
                break
            else:
                yield {"lost": self.exchange.take_lost()}
                if not self._roll.ranks:  # the round stays open until somebody joins
                    self._somebody.wait(NOTICE_S)
        while self._cuts:  # if this process is lost before they are fetched, the driver sees it
            self._let_go.wait(NOTICE_S)
            self._let_go.clear()

    def _keep(self) -> None:
        """See to it that the open round can be gone on with if this process is lost."""
        if not self._master.replies_all and self._roll.round < self._last:
            self._keeping.give(self._roll.version, self._master, self.exchange.replicas)

    def _close(self) -> dict[str, Any]:
        heard = self.exchange.heard
        heard.bytes_sent += self._keeping.settle()
        self.exchange.open(self.exchange.close())
        answers, entry = heard.answers, self._roll.entry
        now, before = time.perf_counter(), self._closed_at
        self._closed_at = now
        samples = sum(answer.num_samples for answer in answers.values())
        report = round_report(self._task, self._roll, self._master.distance, answers) | {
            "num_rounds": self._last,
            "round_s": now - before,
            "stall_s": _mean(heard.times, "stall_s"),
            "exchange_s": _mean(heard.times, "exchange_s"),
            **{f"replica/{rank}/walk_s": heard.times[rank]["walk_s"] for rank in sorted(answers)},
            "bytes_sent": heard.bytes_sent,
            "samples_per_s": samples / (now - before),
        }
        if entry.staleness:
            report["arrivals"] = entry.arrivals()
        if entry.reasons:
            report["refusals"] = entry.refusals()
        ends = self._haste.is_over or (self._haste.is_on and not heard.stateless)
        has_cut = ends or self._checkpoints.due(self._roll.round)
        report |= self._evaluations.of_round(self._roll.round, self._master.model, has_cut)
        ended = ends or self._roll.round >= self._last
        self._meters.round(report, answers, heard.times, last=ended)
        return report | ({"cut": self._cut(heard.states)} if has_cut else {})

    def _admit(self) -> None:
        """Replicas that are new start from the master, in the round that opens now."""
        self._somebody.clear()
        while self._joining:
            rank, replica = self._joining.popitem()
            replica.actor.start.remote(*self._at(), [])
            self.exchange.meet(rank, replica)
            self.exchange.deliver(self._master.join(rank))

    def _at(self) -> tuple[Any, ...]:
        return (*self._fit, self._roll.version, self._master.start())

    def _cut(self, states: dict[int, ray.ObjectRef]) -> dict[str, Any]:
        """A consistent cut: the master after this round, each replica after its push.

        References in a streamed report do not keep their objects alive: we do, until `let_go`.
        """
        cut = self._cuts[self._roll.round] = {
            "round": self._roll.round,
            "master": self._master.state(),
            "replicas": states,
            "model": self._evaluations.model(self._master.model),
        }
        return cut


def _mean(told: dict[int, dict[str, Any]], name: str) -> float | None:
    values = [one[name] for one in told.values() if one[name] is not None]
    return sum(values) / len(values) if values else None
