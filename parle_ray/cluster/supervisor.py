"""The driver's side of a run: makes the actors, replaces the dead, ends what it began."""

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import ray
from ray import cloudpickle
from ray.exceptions import RayActorError, RayTaskError
from ray.train import ScalingConfig

from parle_ray.cluster import placement
from parle_ray.cluster.coordinator import Coordinator
from parle_ray.cluster.evaluator_actor import EvaluatorActor
from parle_ray.cluster.links import choose_codec
from parle_ray.cluster.replica_actor import ReplicaActor
from parle_ray.cluster.shard_actor import ShardActor
from parle_ray.cluster.states import Resume
from parle_ray.errors import ClusterError, Diverged, InputError, UserCodeError
from parle_ray.stretches import stretches
from parle_ray.task import Task

NAMESPACE = "parle_ray"
NAME_S = 5.0
"""How long a name may stay taken by a run that has just ended."""
START_S = 30.0
"""How often the user is told what replicas wait for that are not placed yet."""


class Supervisor:
    """One run on the cluster.

    Args:
        task: what to train.
        name: of the run; the actors are `<name>/coordinator`, `<name>/replica-<rank>` and
            `<name>/shard-<i>`.
        scaling: Ray Train's; `num_workers` is the number of replicas.
        shards: actors among which the master is cut; 1: the coordinator has it itself.
        max_failures: how many replicas may be lost and replaced; -1 is no limit.
        say: takes a line for the user.
    """

    def __init__(
        self,
        task: Task,
        *,
        name: str,
        scaling: ScalingConfig,
        shards: int,
        max_failures: int,
        say: Callable[[str], None],
    ) -> None:
        self._name, self._max_failures, self._say = name, max_failures, say
        self._task, self._num_shards = task, shards
        n = task.num_replicas
        self._resources = placement.replica_resources(scaling)
        placement.check_room(self._resources, n)
        self._scheduling = placement.scheduling(scaling.placement_strategy, self._resources, n)
        self._task_ref = _put(task)
        self._incarnations = dict.fromkeys(range(n), 0)
        self._replicas: dict[int, Any] = {}
        self._joining: dict[ray.ObjectRef, int] = {}
        self._actors: list[Any] = []
        self._failures = 0

    def __enter__(self) -> Self:
        """Take the run's name, by the coordinator that bears it.

        Raises:
            InputError: a run of this name is under way.
        """
        self._coordinator = self._hire(
            Coordinator,
            "coordinator",
            [self._task_ref],
            num_cpus=0,
            scheduling_strategy=placement.on_this_node(),
            concurrency_groups={"control": 1},
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for actor in self._actors:
            ray.kill(actor, no_restart=True)

    def run(
        self, *, resume: Resume | None, checkpoint_every: int | None, evaluate_every: int | None
    ) -> Iterator[dict[str, Any]]:
        """Train; one report a round (see `Coordinator.run`).

        Raises:
            InputError: something the user gave cannot be used.
            UserCodeError: a function of the user raised.
            Diverged: no replica has a finite parameter left.
            ClusterError: more replicas were lost than `max_failures`, or coordinator or a shard.
        """
        try:
            yield from self._run(resume, checkpoint_every, evaluate_every)
        except RayTaskError as error:
            cause: Any = error
            while isinstance(cause, RayTaskError):
                cause = cause.cause
            if isinstance(cause, InputError | UserCodeError | Diverged | ClusterError):
                raise cause from None
            raise
        except RayActorError as error:
            raise ClusterError(
                f"run {self._name!r}: an actor died: {error}; run again under the same name and "
                "storage_path to go on from the last checkpoint"
            ) from error

    def let_go(self, round: int) -> None:
        """All that the cut of `round` refers to has been fetched."""
        self._coordinator.let_go.remote(round)

    def _run(
        self, resume: Resume | None, checkpoint_every: int | None, evaluate_every: int | None
    ) -> Iterator[dict[str, Any]]:
        coordinator = self._coordinator
        for rank in self._incarnations:
            self._replicas[rank] = self._replica(rank)
        infos = self._wait_for_setup()
        codec = self._codec(infos)
        parts = stretches(
            infos[0]["sizes"],
            self._num_shards,
            whole_parameters=self._task.strategy.steps_master,
            codec=codec,
        )
        at = ray.get(
            coordinator.start.remote(
                infos[0]["batches_per_pass"],
                codec,
                parts,
                self._shards(),
                [ray.put(resume.master)] if resume else [],
                checkpoint_every,
                evaluate_every,
            )
        )
        states = (
            {rank: [ray.put(state)] for rank, state in resume.replicas.items()} if resume else {}
        )
        ray.get(
            [
                actor.start.remote(*at, states.get(rank, []))
                for rank, actor in self._replicas.items()
            ]
        )
        evaluator = self._evaluator(infos[0])
        del at, states
        stream = coordinator.run.options(num_returns="streaming").remote(self._replicas, evaluator)
        for ref in stream:
            report = ray.get(ref)
            for line in report.pop("refusals", []):
                self._say(line)
            for rank in report.pop("lost"):
                self._replace(rank)
            self._let_in(coordinator)
            if report:
                yield report

    def _codec(self, infos: dict[int, dict[str, Any]]) -> str:
        if self._task.compression != "auto":
            return self._task.compression
        codec, why = choose_codec(
            self._replicas,
            nodes={rank: info["node"] for rank, info in infos.items()},
            num_params=sum(infos[0]["sizes"]),
        )
        self._say(f"compression: {codec}, {why}")
        return codec

    def _replica(self, rank: int) -> Any:
        return self._hire(
            ReplicaActor,
            f"replica-{rank}",
            [self._task_ref],
            rank,
            self._incarnations[rank],
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=self._scheduling[rank],
            concurrency_groups={"delivery": 1},
            **placement.replica_options(self._resources),
        )

    def _shards(self) -> list[Any]:
        """Spread over the nodes, for the links of all; none if the master stays whole."""
        options = {"num_cpus": 0, "scheduling_strategy": "SPREAD"}
        return [
            self._hire(ShardActor, f"shard-{index}", [self._task_ref], index, **options)
            for index in range(self._num_shards if self._num_shards > 1 else 0)
        ]

    def _evaluator(self, first: dict[str, Any]) -> Any:
        """Beside the first replica, on its GPU if it has one."""
        see_gpus = {"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}}
        return self._hire(
            EvaluatorActor,
            "evaluator",
            [self._task_ref],
            first["gpu"],
            num_cpus=0,
            scheduling_strategy=placement.on_node(first["node"]),
            runtime_env=None if first["gpu"] is None else see_gpus,
        )

    def _hire(self, kind: Any, role: str, *args: Any, **options: Any) -> Any:
        """A new actor `<run>/<role>`; a name may stay taken for a moment by a run just ended."""
        remote: Any = ray.remote
        make = remote(name=f"{self._name}/{role}", namespace=NAMESPACE, **options)(kind)
        began = time.monotonic()
        while True:
            try:
                actor = make.remote(*args)
            except ValueError as error:
                if "already" not in str(error):
                    raise
                if time.monotonic() - began > NAME_S:
                    raise InputError(
                        f"name: a run called {self._name!r} is under way on this cluster; wait "
                        "for it, or give RunConfig another name"
                    ) from error
                time.sleep(0.2)
                continue
            self._actors.append(actor)
            return actor

    def _wait_for_setup(self) -> dict[int, dict[str, Any]]:
        refs = {actor.setup.remote(): rank for rank, actor in self._replicas.items()}
        infos: dict[int, dict[str, Any]] = {}
        began = time.monotonic()
        while refs:
            ready, _ = ray.wait(list(refs), num_returns=1, timeout=START_S)
            for ref in ready:
                infos[refs.pop(ref)] = ray.get(ref)
            if refs and not ready:
                asked = ", ".join(f"{v:g} {k}" for k, v in self._resources.items())
                self._say(
                    f"waiting for {time.monotonic() - began:.0f} s for replicas "
                    f"{sorted(refs.values())}: each needs {asked}, which other jobs may hold"
                )
        return infos

    def _replace(self, rank: int) -> None:
        """A new actor for a lost replica; it joins when it is set up, the others go on."""
        self._failures += 1
        if self._max_failures >= 0 and self._failures > self._max_failures:
            raise ClusterError(
                f"replica {rank} was lost, and max_failures="
                f"{self._max_failures} allows no more; FailureConfig(max_failures=-1) replaces "
                "lost replicas without limit, the others going on meanwhile"
            )
        self._say(f"replica {rank} was lost; a new one will start from the master")
        self._incarnations[rank] += 1
        ray.kill(self._replicas[rank], no_restart=True)
        self._replicas[rank] = self._replica(rank)
        self._joining[self._replicas[rank].setup.remote()] = rank

    def _let_in(self, coordinator: Any) -> None:
        for ref in ray.wait(list(self._joining), timeout=0)[0] if self._joining else []:
            rank = self._joining.pop(ref)
            ray.get(ref)
            coordinator.join.remote(rank, self._replicas[rank])
            self._say(f"replica {rank} is back")


def _put(task: Task) -> ray.ObjectRef:
    """The task in the object store.

    Raises:
        InputError: names the function that cannot be sent.
    """
    try:
        return ray.put(task)
    except TypeError as error:
        for name, value in vars(task).items():
            try:
                cloudpickle.dumps(value)
            except TypeError as reason:
                raise InputError(
                    f"{name} cannot be sent to the replicas ({reason}); open files, locks and "
                    "connections inside the function instead of capturing them"
                ) from error
        raise
