"""The door to a `Learner`: one Ray actor, on its own GPU or CPU share."""

import os
from typing import Any, NoReturn

import numpy as np
import ray
import torch

from parle_ray import lazy_dynamo
from parle_ray.cluster.losses import REPEATS, explain
from parle_ray.cluster.mates import Mates
from parle_ray.cluster.memory import DEPTH, Held, Memory, Standing, Superseded
from parle_ray.cluster.states import told_by_reply
from parle_ray.cluster.stopwatch import Stopwatch
from parle_ray.cluster.undertaker import oom_kills
from parle_ray.cluster.wire import (
    Packed,
    dtype_name,
    form,
    num_bytes,
    pack,
    pack_tree,
    unpack_tree,
    view_all,
)
from parle_ray.compression import measure
from parle_ray.learner import Learner
from parle_ray.moving import length
from parle_ray.replica import Reply
from parle_ray.stretches import is_finite, starts
from parle_ray.task import Task
from parle_ray.team.base import TeamBroken


class ReplicaActor:
    """One replica. Rounds run in the actor's main thread; replies arrive in another meanwhile.

    Args:
        task: a list with the reference of the task, so that Ray fetches it here, once a node.
        rank: which replica this is.
        incarnation: how many actors of this rank there were before.

    Attributes:
        learner: the replica itself, from `setup` on.
        memory: what goes to the coordinator passes through it, and what comes from there.
    """

    def __init__(self, task: list[ray.ObjectRef], rank: int, incarnation: int) -> None:
        lazy_dynamo.install()
        self._task_ref = task[0]
        self.rank, self._incarnation = rank, incarnation
        self.memory = Memory()
        self._kept: list[np.ndarray] = []
        self._watch = Stopwatch()
        self._info: dict[str, Any] | None = None
        self._saves = False

    def __repr__(self) -> str:
        return f"replica {self.rank}"

    @property
    def at_work(self) -> bool:
        """Whether it is past its start."""
        return self.memory.has_started

    @ray.method(max_task_retries=REPEATS)
    def setup(self) -> dict[str, Any]:
        """Build model and data, once; what the coordinator needs to know of them."""
        if self._info is None:
            self._info = self._build()
        return self._info

    def _build(self) -> dict[str, Any]:
        try:
            task: Task = ray.get(self._task_ref)
            execution = task.execution
            threads = max(1, _cpus() // execution.num_processes)
            torch.set_num_threads(execution.num_threads or threads)
            self._task = task
            seat = self.rank, self._incarnation, threads
            self._mates = Mates((task, self._task_ref), *seat)
            self.learner = Learner(task, self.rank, self._incarnation, joins=True)
            pids = self._mates.join(self.learner)
        except Exception as error:
            self._explain("setup", error)
        context = ray.get_runtime_context()
        return {
            "batches_per_pass": self.learner.batches_per_pass,
            "sizes": self.learner.sizes,
            "node": context.get_node_id(),
            "pids": [os.getpid(), *pids],
            "oom_kills": oom_kills(),
            "gpu": (ray.get_gpu_ids() or [None])[0],
        }

    def load(self, num_bytes: int) -> np.ndarray:
        """As many bytes, to time the way from here."""
        return np.zeros(num_bytes, np.uint8)

    def codec_speeds(self) -> dict[str, float]:
        """Seconds a parameter that each codec takes here."""
        return measure(sum(self.learner.sizes))

    def start(
        self,
        batches_per_pass: int | None,
        codec: str,
        parts: list[slice],
        round: int,
        master: list[ray.ObjectRef],
        state: list[ray.ObjectRef],
    ) -> None:
        """Get ready for `round`, from the master or, on resume, from this replica's saved state.

        Here and below, that is the number of a question (see `Roll.version`).
        """
        try:
            self._codec, self._parts = codec, parts
            vector = view_all(ray.get(master), self.learner.vector.dtype)
            task, own = self._task.fitted_to(batches_per_pass, codec), self._task.round_of(round)
            self.learner.start(task, own, vector)
            if state:
                self.learner.load_state_dict(unpack_tree(ray.get(state[0])))
            self._mates.start(batches_per_pass, own, master, state)
            self.memory.start(round)
        except Exception as error:
            self._explain("start", error)

    def round(
        self, generation: int, round: int, want_state: bool, steps: int | None = None
    ) -> tuple[Any, ...]:
        """Walk a round: what there is to tell, the stretches of the push, the state or None.

        A round that was closed without this replica is not walked, and nothing is told of it.

        Args:
            steps: as in `Learner.play`; a round that has been walked is as long as it was.

        Raises:
            Superseded: another coordinator has taken over, and this question is void.
        """
        walked = self.memory.begin(generation, round)
        if walked is not None or self.memory.is_over(round):
            return walked or self._nothing()
        self._watch.goes_on()
        seen = round

        def receive() -> Reply:
            nonlocal seen
            with self._watch.waiting():
                seen, reply = self.memory.take(generation, round)
            return reply

        own = self._task.round_of(round)
        self._mates.walk(own, steps)
        try:
            answer = self.learner.play(own, receive, steps)
        except Superseded:
            raise
        except Exception as error:
            self._explain(f"round {round}", error)
        has_state = want_state or self._saves
        told: dict[str, Any] = {
            "round": round,
            "has_state": has_state,
            "loss": answer.loss,
            "lr": answer.lr,
            "num_samples": answer.num_samples,
            "weight": answer.weight,
            "steps": answer.steps,
            "numbers": answer.numbers,
            "seen": seen,
            **self._watch.told(),
        }
        pushes = self._cut(self._own(answer.push), own)
        if len(pushes) > 1:  # no shard sees it all, and either all of them merge it or none
            told["finite"] = self._finite(answer.push, own)
        if self._task.tree:  # the coordinator has the push folded without a look at it
            told["form"] = form(pushes[0])
        state = None
        if has_state:
            state = self._mates.whole(pack_tree(self.learner.state_dict(), copy=True))
        walked = self.memory.answer(generation, round, (told, *pushes, state))
        self._watch.pushes(round)  # what follows is Ray's: it copies the push into the store
        return walked

    def _nothing(self) -> tuple[None, ...]:
        """An answer with nothing in it."""
        return (None,) * (2 + len(self._parts))

    def _own(self, push: torch.Tensor | np.ndarray | None) -> np.ndarray | None:
        """A push in memory that no walk writes to before it may be forgotten."""
        if push is None:
            return None
        array = pack(push)
        if not isinstance(push, torch.Tensor) or push.device.type != "cpu":
            return array  # made for the purpose
        oldest = self._kept.pop(0) if len(self._kept) == DEPTH else array[:0]
        kept = oldest if oldest.shape == array.shape else np.empty_like(array)
        np.copyto(kept, array)
        self._kept.append(kept)
        return kept

    def _cut(self, array: np.ndarray | None, round: int) -> list[np.ndarray | None]:
        if array is None:
            return [None] * len(self._parts)
        marks = starts(self._parts, self._codec, self.learner.sends(round))
        return [*np.split(array, marks[1:])]  # what is too much goes to the last, who refuses it

    def _finite(self, push: torch.Tensor | np.ndarray | None, round: int) -> bool | None:
        if push is None:
            return None
        return is_finite(push, self._codec, length(self.learner.sends(round)))

    @ray.method(concurrency_group="delivery")
    def deliver(
        self,
        generation: int,
        round: int,
        told: dict[str, Any],
        *arrays: np.ndarray,
    ) -> None:
        """The reply that opens `round`, read where it lies in the store.

        Args:
            told: of the reply (see `Parcel`), and the roll of the round that it opens.
        """
        dtype = self.learner.vector.dtype
        stretches = tuple(Packed(array, dtype_name(dtype)) for array in arrays)
        coded, restart, part = told["coded"], told["restart"], told["part"]
        held = Held(generation, stretches, told["whole"], told["roll"], part)
        if coded:
            vector, code = torch.empty(0), arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        else:
            vector, code = view_all(arrays, dtype).to(self.learner.reply_device), None
        reply = Reply(vector, restart, code, part, told["numbers"])
        if self.memory.put(round, reply, held):
            self._watch.answered(round)

    @ray.method(concurrency_group="delivery")
    def keep(self, generation: int, round: int, part: slice | None, *states: Any) -> int:
        """Hold the master's state for the case that the coordinator is lost; its bytes.

        Args:
            part: it is what a round has moved of the state before, which is here.
        """
        self.memory.keep(generation, round, states, part)
        return sum(num_bytes(state) for state in states)

    @ray.method(concurrency_group="delivery")
    def save(self) -> None:
        """From now on, send the state with every answer."""
        self._saves = True

    @ray.method(concurrency_group="delivery")
    def stand(self, generation: int) -> Standing:
        """Where this replica is, for a new coordinator."""
        return self.memory.stand(generation, ends_walk=not self._task.strategy.synchronous)

    @ray.method(concurrency_group="delivery")
    def again(
        self, generation: int, round: int, want_state: bool, steps: int | None = None
    ) -> tuple[Any, ...]:
        """The answer of a round that has been walked; the walk of the next goes on meanwhile.

        Of a round that has not been walked nothing is told.
        """
        return self.memory.again(round) or self._nothing()

    @ray.method(concurrency_group="delivery")
    def full(self, round: int) -> Any:
        """The master that opens `round`, packed, to go on from."""
        return self.memory.full(round)

    @ray.method(concurrency_group="delivery")
    def abandon(self, generation: int) -> None:
        """Give up the walk: this replica is about to start from the master."""
        self.memory.abandon(generation)

    def known(self) -> Any:
        """After `abandon`: a master of no past, packed, as far as this replica knew it; or None."""
        held = self.memory.left
        if held is None:
            return None
        known = self.learner.known
        if known is None:
            return told_by_reply(held.roll, held.stretches) if held.part is None else None
        return told_by_reply(held.roll, [Packed(pack(known), dtype_name(known.dtype))])

    def _explain(self, when: str, error: Exception) -> NoReturn:
        """Say what went wrong, or what has become of a process that went wrong."""
        told = self._mates.why(error) if isinstance(error, TeamBroken) else error
        explain(repr(self), when, told)


def _cpus() -> int:
    resources = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(resources.get("CPU", 1)))
