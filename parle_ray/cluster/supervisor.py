"""The driver's side of a run: hires the actors, replaces the dead, ends what it began."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import ray
from ray.exceptions import ObjectLostError, RayError
from ray.train import ScalingConfig

from parle_ray.cluster import nodes, placement, reports
from parle_ray.cluster.coordinator import Coordinator
from parle_ray.cluster.crew import Crew
from parle_ray.cluster.draining import Draining
from parle_ray.cluster.ending import Ending
from parle_ray.cluster.evaluator_actor import EvaluatorActor
from parle_ray.cluster.hiring import Hiring, put_task
from parle_ray.cluster.links import choose_codec
from parle_ray.cluster.losses import ENDED, REPEATS, MateLost, cause_of, why_lost
from parle_ray.cluster.mates import SEE_GPUS
from parle_ray.cluster.memory import Standing
from parle_ray.cluster.recovery import ANSWER_S, Beginning, ask_all, choose, newest
from parle_ray.cluster.shard_actor import ShardActor
from parle_ray.cluster.shards import ShardLost
from parle_ray.cluster.states import Resume
from parle_ray.cluster.strength import Strength
from parle_ray.cluster.watch import Watch
from parle_ray.errors import ClusterError, MasterLost, TooFewReplicas
from parle_ray.stretches import stretches
from parle_ray.task import Task

MAX_DEATHS = 3
"""So many coordinators in a row may be lost before any of them has closed a round."""
WALK_S = 60.0
"""How long a replica may take to come out of a walk that it gives up."""
NUM_RETRIES = 3
"""How often an evaluation is repeated in which the evaluator was lost."""


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
        reason: to end before the last round; None while there is none.
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
        reason: Callable[[], str | None],
    ) -> None:
        self._task, self._num_shards, self._say = task, shards, say
        self._hiring = Hiring(name)
        self._task_ref = put_task(task)
        self._crew = Crew(
            self._hiring,
            self._task_ref,
            scaling,
            num_processes=task.execution.num_processes,
            in_order=task.tree is not None,
            max_failures=max_failures,
            say=say,
        )
        self._generation = self._deaths = 0
        self._shards: list[Any] = []
        self._draining, self._watch = Draining(say), Watch()
        elastic = isinstance(scaling.num_workers, tuple)
        self._strength = Strength(placement.fewest_replicas(scaling) if elastic else 1, say)
        self._ending = Ending(
            lambda: reason() or self._strength.reason(),
            lambda: self._coordinator.end.remote(),
            say,
        )

    def __enter__(self) -> Self:
        """Take the run's name, by the coordinator that bears it.

        Raises:
            InputError: a run of this name is under way.
        """
        self._appoint()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._hiring.dismiss_all()

    def run(
        self, *, resume: Resume | None, checkpoint_every: int | None, evaluate_every: int | None
    ) -> Iterator[dict[str, Any]]:
        """Train; one report a round (see `Coordinator.run`), to the last or until `reason`.

        A report of a `cut` alone says that there was no time to close the round. A round that had
        to be closed again is reported again, to the same numbers: it has a cut if the first report
        of it had one.

        Raises:
            InputError: something the user gave cannot be used.
            UserCodeError: a function of the user raised, and again where it was tried again.
            Diverged: no replica has a finite parameter left.
            ClusterError: more replicas were lost than `max_failures`, or coordinators in a row.
            MasterLost: coordinator and replicas were lost at once.
        """
        self._every = checkpoint_every, evaluate_every
        self._reported = resume.round if resume else 0
        try:
            self._crew.set_up()
            stream = self._begin(resume)
            while True:
                try:
                    yield from self._follow(stream)
                    if why := self._strength.reason():
                        raise TooFewReplicas(f"{why}; run again under the same name to go on")
                    return
                except RayError as error:
                    self._succeed(error)
                stream = self._recover()
        except RayError as error:
            cause = cause_of(error)
            if not isinstance(cause, (*ENDED, MateLost)):
                raise cause from None
            raise ClusterError(f"an actor was lost: {cause}") from error

    def let_go(self, round: int) -> None:
        """All that the cut of `round` refers to has been fetched, or is lost."""
        self._coordinator.let_go.remote(round)

    def _begin(self, resume: Resume | None) -> Any:
        """All actors at their start; the stream of reports."""
        posts = self._crew.posts
        first = next(iter(posts.values())).info
        assert first is not None
        codec = self._codec()
        parts = stretches(
            first["sizes"],
            self._num_shards,
            whole_parameters=self._task.strategy.steps_master,
            codec=codec,
        )
        self._fit = first["batches_per_pass"], codec, parts
        fitted = self._task.fitted_to(first["batches_per_pass"])
        assert fitted.num_rounds is not None
        self._last = fitted.num_rounds
        self._state = [ray.put(resume.master)] if resume else []
        self._begun_at: int | None = self._task.first_of(self._reported)
        self._start_replicas(resume.replicas if resume else {})
        self._evaluator = self._hire_evaluator(first)
        return self._stream({rank: [] for rank in posts})

    def _recover(self) -> Any:
        """The new coordinator goes on from what the replicas hold; the stream of reports."""
        standings: dict[int, Standing] = self._ask("stand", self._generation)
        begin = self._beginning(standings)
        anew = [rank for rank in standings if rank not in begin.fits]
        anew = list(self._ask("abandon", self._generation, ranks=anew))
        self._start_coordinator(begin.fits)
        stream = self._stream({rank: standings[rank].answers for rank in begin.fits})
        for rank in anew:
            self._coordinator.join.remote(rank, self._crew.posts[rank].enlisted())
        return stream

    def _beginning(self, standings: dict[int, Standing]) -> Beginning:
        """Where the next coordinator begins; `_state` becomes the state that it begins with."""
        while (begin := self._choose(standings)) and begin.source is not None:
            state = self._ask("full", begin.round, ranks=[begin.source])
            if state:
                self._state = [ray.put(state[begin.source])]
                break
            del standings[begin.source]
        if begin is None:
            begin, known = self._remembered(standings)
            self._state = [ray.put(known)]
            self._say("no replica has all of the master: its momentum and they start anew")
        self._begun_at = begin.round
        return begin

    def _choose(self, standings: dict[int, Standing]) -> Beginning | None:
        if not self._task.strategy.synchronous:
            return newest(standings, self._begun_at)
        redo = min(self._reported, self._last - 1)  # the last cut may have been lost
        return choose(standings, redo, self._begun_at)

    def _remembered(self, standings: dict[int, Standing]) -> tuple[Beginning, Any]:
        """The master as far as the replica knew it that had the newest reply; none goes on."""
        self._ask("abandon", self._generation, ranks=list(standings))
        told = self._ask("known", ranks=list(standings), timeout_s=WALK_S)
        known = [state for state in told.values() if state is not None]
        if not known:
            raise MasterLost("the coordinator was lost, and no replica has a master to go on from")
        held = max(known, key=lambda state: state["round"])
        round = max(held["round"], min(self._reported, self._last - 1))
        return Beginning(round, None, []), held | {"round": round}

    def _ask(
        self,
        method: str,
        *args: Any,
        ranks: list[int] | None = None,
        timeout_s: float = ANSWER_S,
    ) -> dict[int, Any]:
        """What replicas answer; those that do not are replaced."""
        posts = self._crew.posts
        actors = {rank: posts[rank].actor for rank in (posts if ranks is None else ranks)}
        said, silent = ask_all(actors, method, *args, timeout_s=timeout_s)
        for rank, why in silent.items():
            self._crew.replace(rank, why)
        return said

    def _succeed(self, error: RayError) -> None:
        """Hire a new coordinator after the loss of the last one, or of a shard.

        Raises:
            ClusterError: it was lost again before it had closed a round.
            BaseException: something else is wrong.
        """
        cause = cause_of(error)
        if not isinstance(cause, RayError | ShardLost):
            raise cause from None
        what = "a shard of the master" if isinstance(cause, ShardLost) else "the coordinator"
        self._deaths += 1
        if self._deaths > MAX_DEATHS:
            raise ClusterError(
                f"{what} was lost, {why_lost(cause)}, and {MAX_DEATHS} others before it without a "
                "round in between; run again under the same name and storage_path to go on from "
                "the last checkpoint"
            ) from error
        self._say(f"{what} was lost, {why_lost(cause)}; the replicas walk on, a new one takes over")
        self._hiring.dismiss([self._coordinator, *self._shards])
        self._shards = []
        self._generation += 1
        self._appoint()

    def _follow(self, stream: Any) -> Iterator[dict[str, Any]]:
        for report in reports.read(stream):
            for line in report.pop("refusals", []):
                self._say(line)
            for rank, why in report.pop("lost", {}).items():
                self._crew.replace(rank, why)
            for rank in report.pop("left", []):
                self._crew.move(rank)
            for rank, replica in self._crew.let_in().items():
                self._coordinator.join.remote(rank, replica)
            if "round" in report:
                self._reported = max(self._reported, report["round"])
                self._deaths, self._state, self._begun_at = 0, [], None
            self._watch.look(report)
            if report:
                yield report
            self._draining.look(self._coordinator)
            self._strength.look(len(self._crew.posts))
            if self._ending.overdue():
                return

    def _appoint(self) -> None:
        self._coordinator = self._hiring.hire(
            Coordinator,
            "coordinator",
            [self._task_ref],
            num_cpus=0,
            scheduling_strategy=nodes.on_this_node(),
            concurrency_groups={"control": 1},
        )

    def _start_coordinator(self, ranks: list[int]) -> tuple[Any, ...]:
        """Shards are spread over the nodes, for the links of all; none if the master is whole."""
        options = {"num_cpus": 0, "scheduling_strategy": "SPREAD"}
        while True:
            self._shards = [
                self._hiring.hire(ShardActor, f"shard-{index}", [self._task_ref], index, **options)
                for index in range(self._num_shards if self._num_shards > 1 else 0)
            ]
            arguments = self._generation, *self._fit, self._shards, self._state, ranks
            try:
                self._watch.begin(self._coordinator, self._shards)
                start = self._coordinator.start
                return self._watch.over(start.remote(*arguments, self._crew.failures, *self._every))
            except RayError as error:
                self._succeed(error)

    def _start_replicas(self, states: dict[int, Any]) -> None:
        """From the master, or each from its own saved state."""
        posts = self._crew.posts
        saved = {rank: [ray.put(states[rank])] if rank in states else [] for rank in posts}
        while True:
            at = self._start_coordinator(sorted(posts))
            starts = [  # they may come twice: no round is asked for before all have answered
                post.actor.start.options(max_task_retries=REPEATS).remote(*at, saved[rank])
                for rank, post in posts.items()
            ]
            try:
                ray.get(starts)
                return
            except ObjectLostError as error:  # the master went with its coordinator
                self._succeed(error)

    def _stream(self, answers: dict[int, list[int]]) -> Any:
        members = {rank: self._crew.posts[rank].enlisted(answers[rank]) for rank in answers}
        self._ending.again()
        run = self._coordinator.run.options(num_returns="streaming", **reports.AHEAD)
        return run.remote(members, self._evaluator)

    def _codec(self) -> str:
        if self._task.compression != "auto":
            return self._task.compression
        infos = {rank: post.info for rank, post in self._crew.posts.items() if post.info}
        codec, why = choose_codec(
            {rank: post.actor for rank, post in self._crew.posts.items()},
            nodes={rank: info["node"] for rank, info in infos.items()},
            num_params=sum(next(iter(infos.values()))["sizes"]),
        )
        self._say(f"compression: {codec}, {why}")
        return codec

    def _hire_evaluator(self, first: dict[str, Any]) -> Any:
        """Beside the first replica, on its GPU if it has one; Ray repeats what it was lost in."""
        return self._hiring.hire(
            EvaluatorActor,
            "evaluator",
            first["gpu"],
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=NUM_RETRIES,
            scheduling_strategy=nodes.on_node(first["node"], soft=True),
            concurrency_groups={"export": 1},
            runtime_env=None if first["gpu"] is None else SEE_GPUS,
        )
