"""The door to a `Learner`: one Ray actor, on its own GPU or CPU share."""

import threading
import traceback
from typing import Any, NoReturn

import numpy as np
import ray
import torch

from parle_ray.cluster.stopwatch import Stopwatch
from parle_ray.cluster.wire import pack, pack_tree, unpack_tree, view_all
from parle_ray.compression import measure
from parle_ray.errors import InputError, UserCodeError
from parle_ray.learner import Learner
from parle_ray.replica import Reply
from parle_ray.stretches import is_finite, places
from parle_ray.task import Task


class Inbox:
    """The newest reply, put by one thread and awaited by another."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._reply: Reply | None = None
        self.newest = -1

    def put(self, round: int, reply: Reply) -> None:
        """The reply that opens `round`."""
        with self._arrived:
            self._reply, self.newest = reply, round
            self._arrived.notify_all()

    def take(self, round: int) -> tuple[int, Reply]:
        """Wait for the reply that opens `round`, or a newer one; which it is.

        One that was taken in a round before, which was over by then, may be taken again.
                The wait ends with the reply or with the actor: the supervisor kills it when the
        coordinator is gone.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._reply is not None and self.newest >= round)
            assert self._reply is not None
            return self.newest, self._reply


class ReplicaActor:
    """One replica. Rounds run in the actor's main thread; replies arrive in another meanwhile.

    Args:
        task: a list with the reference of the task, so that Ray fetches it here, once a node.
        rank: which replica this is.
        incarnation: how many actors of this rank there were before.
    """

    def __init__(self, task: list[ray.ObjectRef], rank: int, incarnation: int) -> None:
        self._task_ref = task[0]
        self.rank, self._incarnation = rank, incarnation
        self._inbox = Inbox()
        self._watch = Stopwatch()

    def __repr__(self) -> str:
        return f"replica {self.rank}"

    def setup(self) -> dict[str, Any]:
        """Build model and data; what the coordinator needs to know of them."""
        try:
            task: Task = ray.get(self._task_ref)
            torch.set_num_threads(task.execution.num_threads or _cpus())
            self._task = task
            self._learner = Learner(task, self.rank, self._incarnation)
        except Exception as error:
            self._explain("setup", error)
        context = ray.get_runtime_context()
        return {
            "batches_per_pass": self._learner.batches_per_pass,
            "sizes": self._learner.sizes,
            "node": context.get_node_id(),
            "gpu": (ray.get_gpu_ids() or [None])[0],
        }

    def load(self, num_bytes: int) -> np.ndarray:
        """As many bytes, to time the way from here."""
        return np.zeros(num_bytes, np.uint8)

    def codec_speeds(self) -> dict[str, float]:
        """Seconds a parameter that each codec takes here."""
        return measure(self._learner.vector.numel())

    def start(
        self,
        batches_per_pass: int | None,
        codec: str,
        parts: list[slice],
        round: int,
        master: list[ray.ObjectRef],
        state: list[ray.ObjectRef],
    ) -> None:
        """Get ready for `round`, from the master or, on resume, from this replica's saved state."""
        try:
            self._codec, self._places = codec, places(parts, codec)
            vector = view_all(ray.get(master), self._learner.vector.dtype)
            self._learner.start(self._task.fitted_to(batches_per_pass, codec), round, vector)
            if state:
                self._learner.load_state_dict(unpack_tree(ray.get(state[0])))
        except Exception as error:
            self._explain("start", error)

    def round(self, round: int, want_state: bool) -> tuple[Any, ...]:
        """Walk a round: what there is to tell, the stretches of the push, the state if wanted.

        A round that was closed without this replica is not walked, and nothing is told of it.
        """
        if self._inbox.newest > round:
            return (None,) * (1 + len(self._places) + want_state)
        self._watch.goes_on()
        seen = round

        def receive() -> Reply:
            nonlocal seen
            with self._watch.waiting():
                seen, reply = self._inbox.take(round)
            return reply

        try:
            answer = self._learner.play(round, receive)
        except Exception as error:
            self._explain(f"round {round}", error)
        told = {
            "loss": answer.loss,
            "lr": answer.lr,
            "num_samples": answer.num_samples,
            "seen": seen,
            **self._watch.told(),
        }
        pushes = self._cut(answer.push)
        if len(pushes) > 1:  # no shard sees it all, and either all of them merge it or none
            told["finite"] = self._finite(answer.push)
        state = (pack_tree(self._learner.state_dict()),) if want_state else ()
        self._watch.pushes(round)  # what follows is Ray's: it copies the push into the store
        return (told, *pushes, *state)

    def _cut(self, push: torch.Tensor | np.ndarray | None) -> list[np.ndarray | None]:
        if push is None:
            return [None] * len(self._places)
        array = pack(push)
        return [array[place] for place in self._places]

    def _finite(self, push: torch.Tensor | np.ndarray | None) -> bool | None:
        if push is None:
            return None
        return is_finite(push, self._codec, self._learner.vector.numel())

    @ray.method(concurrency_group="delivery")
    def deliver(self, round: int, restart: bool, coded: bool, *arrays: np.ndarray) -> None:
        """The reply that opens `round`, read where it lies in the store."""
        if coded:
            code = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
            self._inbox.put(round, Reply(torch.empty(0), restart, code))
        else:
            mine = self._learner.vector
            vector = view_all(arrays, mine.dtype).to(mine.device)
            self._inbox.put(round, Reply(vector, restart))
        self._watch.answered(round)

    def _explain(self, when: str, error: Exception) -> NoReturn:
        """Say what went wrong in a form that survives the way to the driver."""
        if isinstance(error, InputError):
            raise error
        raise UserCodeError(
            f"replica {self.rank}, {when}: {type(error).__name__}: {error}\n"
            f"{traceback.format_exc()}"
        ) from None


def _cpus() -> int:
    resources = ray.get_runtime_context().get_assigned_resources()
    return max(1, int(resources.get("CPU", 1)))
