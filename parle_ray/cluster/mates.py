"""The processes of a replica beside its first: each an actor of its own, on the same node.

They are owned by the first, whose resources they share, and end with it. Where one of them is
lost, the first notices it in the next exchange of gradients and says so: the replica is lost as a
whole, and no other.
"""

import os
import time
from dataclasses import replace
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from parle_ray import lazy_dynamo
from parle_ray.cluster.hiring import Hiring
from parle_ray.cluster.losses import MateLost, cause_of, explain, why_lost
from parle_ray.cluster.nodes import on_node
from parle_ray.cluster.states import VECTORS, join_states
from parle_ray.cluster.wire import pack_tree, unpack_tree, view_all
from parle_ray.deputies import Apart
from parle_ray.errors import InputError, UserCodeError
from parle_ray.learner import Learner
from parle_ray.task import Task
from parle_ray.team.base import NoReply, Team, TeamBroken, Together
from parle_ray.team.fully_sharded import FullySharded
from parle_ray.team.group import TorchGroup, find_store, open_store
from parle_ray.team.pipeline import Pipeline
from parle_ray.team.sharded import Sharing, Stretches

GONE_S = 5.0
"""How long Ray may take to learn why a process does not answer."""
SEE_GPUS = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
"""The `runtime_env` of an actor that reserves no GPU, and sees those of others."""


class MateActor:
    """A process of a replica that walks as the first does, on its parts of mini-batches or apart.

    Args:
        task: a list with the reference of the task.
        rank: of the replica.
        incarnation: of the replica.
        index: which of its processes this is, from 1.
        device: on which it computes.
        threads: on a CPU, where the task says nothing.
    """

    def __init__(
        self,
        task: list[ray.ObjectRef],
        rank: int,
        incarnation: int,
        index: int,
        device: str | None,
        threads: int,
    ) -> None:
        lazy_dynamo.install()
        self._task_ref, self._device, self._threads = task[0], device, threads
        self._rank, self._incarnation, self._index = rank, incarnation, index

    def __repr__(self) -> str:
        return f"replica {self._rank}, process {self._index}"

    def setup(self) -> int:
        """Build model and data; this process's number."""
        try:
            task: Task = ray.get(self._task_ref)
            execution = replace(task.execution, device=self._device)
            torch.set_num_threads(execution.num_threads or self._threads)
            set_device(self._device)
            self._task = replace(task, execution=execution)
            seat = self._rank, self._incarnation, self._index
            self._learner = Learner(self._task, *seat, joins=True)
        except Exception as error:
            explain(repr(self), "setup", error)
        return os.getpid()

    def meet(self, port: int) -> None:
        """Join the others."""
        execution = self._task.execution
        size, device = execution.num_processes, execution.resolve_device()
        self._group = TorchGroup(find_store(port, size), self._index, size, device)
        self._team = join_team(self._learner, self._group, self._task)

    def start(
        self,
        batches_per_pass: int | None,
        round: int,
        master: list[ray.ObjectRef],
        state: list[ray.ObjectRef],
    ) -> None:
        """Get ready for `round`, as the first does; vectors come from it decoded."""
        try:
            vector = view_all(ray.get(master), self._learner.vector.dtype)
            self._learner.start(self._task.fitted_to(batches_per_pass, "none"), round, vector)
            if state:
                self._learner.load_state_dict(unpack_tree(ray.get(state[0])))
        except Exception as error:
            explain(repr(self), "start", error)

    def walk(self, round: int, steps: int | None) -> None:
        """Walk a round beside the first; what it comes to is the first's to say."""
        try:
            news = self._learner.news(round)
            self._learner.play(round, lambda: self._team.hear(self._learner.vector, news), steps)
        except NoReply:
            pass
        except Exception as error:
            self._group.leave()  # or those would wait who do not hear of it from one another
            explain(repr(self), f"round {round}", error)

    def state(self) -> Any:
        """What this process has of the replica's state, packed."""
        state = self._learner.state_dict()
        if not self._task.strategy.walks_apart:
            state = {name: state[name] for name in (*VECTORS, "inner", "buffers")}
        return pack_tree(state)


def join_team(learner: Learner, group: TorchGroup, task: Task) -> Together:
    """Make it one process of a team."""
    execution = task.execution
    team: Together
    if task.strategy.walks_apart:
        team = Apart(group)
    elif execution.num_microbatches:
        team = Pipeline(group, learner, execution.num_microbatches, execution.num_pipelines)
    elif execution.shard_parameters:
        team = FullySharded(group)
    else:
        team = Stretches(group) if execution.shard_state else Together(group)
    learner.join(team)
    return team


class Mates:
    """A replica's processes beside its first, which has them; none, if it is the only one.

    Args:
        task: the run's, and its reference.
        rank: of the replica.
        incarnation: of the replica.
        threads: see `MateActor`.

    Raises:
        InputError: there are fewer GPUs than processes.
    """

    def __init__(
        self,
        task: tuple[Task, ray.ObjectRef],
        rank: int,
        incarnation: int,
        threads: int,
    ) -> None:
        self._task, reference = task
        size, device = self._task.execution.num_processes, self._task.execution.device
        self._size, self._asked = size, dict[int, ray.ObjectRef]()
        self._actors: dict[int, Any] = {}
        self._team: Team = Team()
        if size == 1:
            return
        context, gpus = ray.get_runtime_context(), ray.get_gpu_ids()
        on_gpu = bool(gpus) and device != "cpu"
        if on_gpu and device not in (None, "cuda"):
            raise InputError(
                f"execution.device: {device!r} is one GPU, and execution.num_processes={size} need "
                "one each; use 'cuda' or null"
            )
        if on_gpu and len(gpus) < size:
            raise InputError(
                f"execution.num_processes: {size} processes need a GPU each, and a replica has "
                f"{len(gpus)}; ask for {size} (resources_per_worker; --gpus_per_replica)"
            )
        hiring = Hiring(context.get_actor_name() or "")
        self._actors = {
            index: hiring.hire(
                MateActor,
                str(index),
                [reference],
                rank,
                incarnation,
                index,
                f"cuda:{gpus[index]}" if on_gpu else device,
                threads,
                num_cpus=0,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=on_node(context.get_node_id()),
                runtime_env=SEE_GPUS if on_gpu else None,
            )
            for index in range(1, size)
        }
        self._ask("setup")

    def join(self, learner: Learner) -> list[int]:
        """Make them and this process one team; the numbers of their processes.

        Raises:
            RayError: one is lost, or has raised something that the driver should know.
        """
        if not self._actors:
            return []
        pids = self._answers()
        store = open_store(self._size)
        self._ask("meet", store.port)
        device = self._task.execution.resolve_device()
        group = TorchGroup(store, 0, self._size, device)
        self._team = join_team(learner, group, self._task)
        self._answers()
        return pids

    def start(self, *args: Any) -> None:
        """See `MateActor.start`."""
        self._ask("start", *args)
        self._answers()

    def walk(self, round: int, steps: int | None) -> None:
        """Have them walk a round beside the first."""
        self._ask("walk", round, steps)

    def whole(self, state: Any) -> Any:
        """A replica's packed state, of which the first process has this."""
        team, apart = self._team, self._task.strategy.walks_apart
        if not self._actors or not (apart or isinstance(team, Sharing)):
            return state
        self._ask("state")
        if not isinstance(team, Sharing):
            return state | {"others": self._answers()}
        states = [state | {"end": {}}, *self._answers()]
        return join_states(states[: len(team.shares)], team.shares) | {"end": state["end"]}

    def why(self, broken: TeamBroken) -> Exception:
        """What has become of who is gone, in a form that the driver understands."""
        waits_until, left = time.monotonic() + GONE_S, dict(self._asked)
        while left and (time_s := waits_until - time.monotonic()) > 0.0:
            ready, _ = ray.wait(list(left.values()), num_returns=1, timeout=time_s)
            for index in [index for index, ref in left.items() if ref in ready]:
                error = self._error_of(index, left.pop(index))
                if error is not None and not isinstance(error, TeamBroken):
                    return error
        return MateLost(f"one of its {self._size} processes does not answer ({broken})")

    def _ask(self, method: str, *args: Any) -> None:
        self._asked = {
            index: getattr(actor, method).remote(*args) for index, actor in self._actors.items()
        }

    def _answers(self) -> list[Any]:
        """Of all."""
        for index, ref in self._asked.items():
            if error := self._error_of(index, ref):
                raise error
        return ray.get(list(self._asked.values()))

    def _error_of(self, index: int, ref: ray.ObjectRef) -> Exception | None:
        try:
            ray.get(ref)
        except RayError as error:
            cause = cause_of(error)
            if isinstance(cause, InputError | UserCodeError | TeamBroken):
                return cause
            return MateLost(f"{why_lost(cause)} (process {index + 1} of its {self._size})")
        return None


def set_device(device: str | None) -> None:
    """Let all that says only `cuda` mean this GPU."""
    if device is not None and device.startswith("cuda:"):
        torch.cuda.set_device(device)
