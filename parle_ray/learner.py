"""A replica with its data: draws batches, computes gradients, walks whole rounds. No I/O."""

import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parle_ray.errors import InputError
from parle_ray.execution import moved, num_samples
from parle_ray.fold import Numbers
from parle_ray.generators import Generators
from parle_ray.replica import Reply
from parle_ray.stream import BatchStream
from parle_ray.task import Task
from parle_ray.team.base import Alone, Team
from parle_ray.team.sharded import make_replica


@dataclass(frozen=True)
class Answer:
    """What a replica has to say at the close of a round.

    Attributes:
        push: as long as `Strategy.sends` says, a view to be read before the next round, or its
            code; None if the round was lost to a restart.
        loss: mean loss of the round's mini-batches.
        lr: the inner optimiser's learning rate in this round.
        num_samples: examples seen in the round.
        weight: of the push in the mean of all.
        steps: mini-batches walked in the round.
        numbers: `Strategy.tell`.
    """

    push: Tensor | np.ndarray | None
    loss: float
    lr: float
    num_samples: int
    weight: int = 1
    steps: int = 0
    numbers: Numbers = ()

    def then(self, later: "Answer") -> "Answer":
        """Two answers of one replica in one round, as one: the means of both."""
        samples = self.num_samples + later.num_samples
        share = later.num_samples / samples if samples else 0.5
        loss = self.loss + share * (later.loss - self.loss)
        steps = self.steps + later.steps
        return replace(later, loss=loss, num_samples=samples, steps=steps)


Walk = Generator[Tensor, Any, Answer]
"""A round that yields what the processes are to take the mean of, and is sent it."""


class Learner:
    """One replica at work on a task.

    Args:
        task: its strategy need not be bound yet; see `start`.
        rank: which replica this is, from 0.
        incarnation: how many replicas of this rank there were before; a new one draws other
            random numbers.
        index: which of the replica's processes this is; it matters where they walk apart.
        joins: `join` comes next. A module that is to be divided is built in host memory.

    Attributes:
        task: from `start` on; its functions may be replaced between two steps.
        team: the processes of this replica; without others, this one computes their parts.
        sizes: of the parameters of the whole module, in the order of the vector.
    """

    def __init__(
        self,
        task: Task,
        rank: int,
        incarnation: int = 0,
        index: int = 0,
        *,
        joins: bool = False,
    ) -> None:
        self.rank, size = rank, task.execution.num_processes
        if task.strategy.walks_apart:
            self.team, self._index = Team(), index
            self._seat = rank * size + index, task.num_replicas * size
        else:
            parts = task.execution.num_parts
            alone = Alone(parts, task.execution.num_pipelines) if parts > 1 else Team()
            self.team, self._index = alone, 0
            self._seat = rank, task.num_replicas
        self._device = task.execution.resolve_device()
        on_host = joins and task.execution.divides_module
        self._flat = task.build(torch.device("cpu") if on_host else self._device)
        self.sizes = [p.numel() for p in self._flat.parameters]
        cuda = self._device.type == "cuda"
        self._generators = Generators(task.seed, self._seat[0], incarnation, cuda=cuda)
        with self._generators:
            batches = moved(task.batches_fn(*self._seat), self._device)
            self._stream = BatchStream(batches, self._generators, f"replica {rank}")

    @property
    def batches_per_pass(self) -> int | None:
        """Mini-batches in one pass over this replica's data, if its length is known."""
        return self._stream.batches_per_pass

    @property
    def vector(self) -> Tensor:
        """The replica's parameters, `(num_params,)`, or what this process has of them: a view."""
        return self._flat.vector

    @property
    def reply_device(self) -> torch.device:
        """Where replies are expected."""
        return torch.device("cpu") if self.team.on_host else self._device

    @property
    def known(self) -> Tensor | None:
        """With compression, what this replica knows of the master's reply, `(num_params,)`."""
        return self._end.known if self._end else None

    def join(self, team: Team) -> None:
        """Be one process of a replica; of a module that they divide, its part is left here."""
        self.team = team
        self._flat = team.divide(self._flat, self._device)

    def news(self, round: int) -> slice:
        """The stretch that the reply which opens `round` has to be read for."""
        return self.task.strategy.moves(round - 1, sum(self.sizes))

    def sends(self, round: int) -> slice:
        """The stretch that a push of a round is."""
        sends = self.task.strategy.sends
        return sends(round, sum(self.sizes), self.rank, self.task.num_replicas)

    def start(self, task: Task, round: int, master: Tensor | None = None) -> None:
        """Get ready for `round`, from the master; None is the seeded beginning.

        Args:
            task: fitted to the run, so that schedules know its length.
        """
        self.task = task
        if master is not None:
            self._flat.stand_at(master)
        inner, self._scheduler = task.optimizer(self._flat)
        self._replica, self._inner = make_replica(self._flat, inner, task, self._seat, self.team)
        known = self._flat.vector if master is None or not self.team.on_host else master
        self._end = task.replica_end(known)
        self._decoded: Reply | None = None  # a reply may come twice, its difference counts once
        self._module = task.execution.prepare(self._flat.module)
        self._module.train()
        self._scheduled = 0
        self._schedule(round)

    def play(self, round: int, receive: Callable[[], Reply], steps: int | None = None) -> Answer:
        """Walk one whole round.

        Args:
            round: the global round, on which all schedules depend.
            receive: gives the answer to the push of the round before; called once, at the moment
                when the strategy cannot do without it.
            steps: mini-batches to walk; None: as many as the strategy has in this round.
        """
        return go([self.walk(round, receive, steps)], lambda brought: self.team.mean(brought[0]))

    def walk(self, round: int, receive: Callable[[], Reply], steps: int | None = None) -> Walk:
        """The same, told what the processes that walk apart come to (see `go`)."""
        replica, strategy = self._replica, self.task.strategy
        walked, alive, last = [], True, strategy.num_legs - 1
        steps = strategy.steps(round) if steps is None else steps
        self._schedule(round)
        lr = float(replica.inner.param_groups[0]["lr"])
        for leg in range(strategy.num_legs):
            if leg > 0:
                replica.rest(round)
                replica.meet((yield replica.flat.vector))
            with self._generators:
                if leg == 0 and not strategy.overlaps:
                    replica.begin(round, self._hear(receive, round))
                walked += [self._step(round) for _ in range(steps // strategy.num_legs)]
                if leg == last and strategy.overlaps:
                    alive = replica.end(round, self._hear(receive, round))
        if strategy.synchronous:  # else the next walk may be one of this round again
            self._schedule(round + 1)
        seen, sizes = zip(*walked, strict=True)
        losses, samples = self.team.losses(torch.stack(seen)), sum(sizes)
        loss = losses.mean().item()
        if strategy.walks_apart:
            if alive:
                replica.meet((yield replica.flat.vector))
            loss, share = (yield torch.tensor([loss, samples], dtype=torch.float64)).tolist()
            samples = int(share * self.task.execution.num_processes + 0.5)
        push = self._push(round) if alive else None
        weight = strategy.weight(samples)
        numbers = strategy.tell(replica.state, losses, weight, round)
        return Answer(push, loss, lr, samples, weight, steps, numbers)

    def settle(self, round: int, reply: Reply) -> None:
        """Take in the last reply of a run, where the strategy has left it pending."""
        if not self.task.strategy.overlaps:
            self._replica.begin(round, self._read(reply, round))

    def state_dict(self) -> dict[str, Any]:
        """All that the next round depends on, as tensors, numbers, lists and dicts of them.

        Vectors, and what the optimiser has, are those of the share that is this process's.
        """
        return {
            "vector": self._replica.flat.vector,
            "strategy": self._replica.state,
            "fresh": self._replica.fresh,
            "inner": self._inner.state_dict(),
            "scheduler": self._scheduler.state_dict() if self._scheduler else None,
            "scheduled": self._scheduled,
            "buffers": dict(self._flat.module.named_buffers()),
            "generators": self._generators.state_dict(),
            "stream": self._stream.state_dict(),
            "end": self._end.state_dict() if self._end else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, which is whole; `start` comes first.

        Those of the other processes, where they walk apart, are its `others`.
        """
        if self._index > 0:
            state = state["others"][self._index - 1]
        self._flat.stand_at(state["vector"])
        own = {name: self._own(value) for name, value in state["strategy"].items()}
        self._replica.take(own)
        self._replica.fresh = state["fresh"]
        self._inner.load_state_dict(state["inner"])
        if self._scheduler:
            self._scheduler.load_state_dict(state["scheduler"])
            self._scheduled = state.get("scheduled", self._scheduled)
        for name, buffer in self._flat.module.named_buffers():
            buffer.copy_(state["buffers"][name])
        with self._generators:
            self._stream.load_state_dict(state["stream"])
        self._generators.load_state_dict(state["generators"])
        if self._end and state["end"]:
            self._end.load_state_dict(state["end"])

    def _own(self, value: Tensor) -> Tensor:
        """This process's share of a vector of the strategy; a number is everybody's."""
        own = self._replica.flat.share.of(value).clone() if value.dim() else value
        return own.to(self._device)

    def _hear(self, receive: Callable[[], Reply], round: int) -> Reply:
        """The reply, which the whole team gets to know, or that there will be none."""
        try:
            reply = self._read(receive(), round)
        except BaseException:
            self.team.tell(None)
            raise
        self.team.tell(reply)
        own = self.team.own(reply)
        return replace(own, vector=own.vector.to(self._device))

    def _read(self, reply: Reply, round: int) -> Reply:
        """What the reply that opens `round` says, where it is expected: what has moved, or if it is
        to restart the whole."""
        vector, part, news = reply.vector, reply.part, self.news(round)
        if reply.code is not None:
            assert self._end is not None
            if reply is not self._decoded:
                self._end.read(reply.code, part)
                self._decoded = reply
            vector, part = self._end.known, None
        elif self._end is not None:
            self._end.stand_at(vector)
            if reply.restart:
                self._end.start_again()
        if reply.restart:
            return replace(reply, vector=vector.to(self.reply_device))
        if part is None:
            vector, part = vector[news], news
        assert part == news, "who is sent a stretch takes it in in the round that it opens"
        return replace(reply, vector=vector.to(self.reply_device), code=None, part=part)

    def _push(self, round: int) -> Tensor | np.ndarray:
        push = self._replica.push(round)
        if self._end is None:
            return push
        return self._end.code(push, self.sends(round))

    def _step(self, round: int) -> tuple[Tensor, int]:
        """Walk one mini-batch; its loss and size."""
        told = self._gradient()
        self._replica.local_step(round)
        return told

    def _gradient(self) -> tuple[Tensor, int]:
        """Gradient of the next mini-batch into `flat.gradient`; its loss and size."""
        batch, gradient = self._stream.next(), self._flat.gradient
        self.team.gather(self._flat.vector)
        gradient.zero_()
        return self.team.gradient(gradient, batch, self._backward), num_samples(batch)

    def _backward(self, batch: Any) -> Tensor:
        """Add the gradient of a batch to `flat.gradient`; its loss."""
        self._flat.load()
        loss = self.loss(batch, self._module)
        loss.backward()  # type: ignore[no-untyped-call]
        self._flat.collect()
        return loss.detach()

    def forward(self, x: Tensor) -> Tensor:
        """What the layers that are here make of their input."""
        execution = self.task.execution
        with execution.precision(self._device):
            y: Tensor = self._module(execution.place(x, self._device))
        return y

    def loss(self, batch: Any, module: Any) -> Tensor:
        """The user's loss of a batch, with its graph, by a module or what stands for it."""
        execution = self.task.execution
        batch = execution.place(batch, self._device)
        with execution.precision(self._device):
            loss = self.task.loss_fn(module, batch)
        if not isinstance(loss, Tensor) or loss.dim() != 0 or not loss.requires_grad:
            what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else loss
            raise InputError(
                f"loss_fn must return a scalar tensor that depends on the parameters, got {what}; "
                "reduce it with .mean() and keep it out of torch.no_grad()"
            )
        return loss

    def _schedule(self, round: int) -> None:
        """The learning rate of `round`, also where rounds before it were not walked."""
        steps, self._scheduled = round - self._scheduled, max(round, self._scheduled)
        if self._scheduler is None:
            return
        with warnings.catch_warnings():
            # torch wants an optimizer.step() first: a resumed run steps to its round before,
            # and where the master steps this optimiser never does.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            for _ in range(steps):
                self._scheduler.step()


def go(walks: Sequence[Walk], mean: Callable[[list[Tensor]], Tensor]) -> Answer:
    """Let walks go on in step, with the mean of what they bring; what the first comes to."""
    answers: list[Answer] = []
    took = None
    while True:
        brought = []
        for walk in walks:
            try:
                brought.append(walk.send(took))
            except StopIteration as end:
                answers.append(end.value)
        if answers:
            return answers[0]
        took = mean(brought)
