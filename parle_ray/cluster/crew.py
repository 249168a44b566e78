"""The replicas of a run: set up, replaced one by one where they are lost, let in again."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import ScalingConfig

from parle_ray.cluster import placement
from parle_ray.cluster.enlisted import Enlisted
from parle_ray.cluster.hiring import Hiring
from parle_ray.cluster.losses import reason_of
from parle_ray.cluster.replica_actor import ReplicaActor
from parle_ray.cluster.undertaker import bury
from parle_ray.errors import ClusterError, UserCodeError

START_S = 30.0
"""How often the user is told what replicas wait for that are not placed yet."""


@dataclass
class Post:
    """The place of one rank.

    Attributes:
        incarnation: how many actors had it before.
        info: what the actor said when it was set up; None before.
    """

    actor: Any
    incarnation: int
    info: dict[str, Any] | None = None

    def enlisted(self, answers: list[int] | None = None) -> Enlisted:
        """For a coordinator."""
        assert self.info is not None
        return Enlisted(self.actor, self.info["node"], tuple(answers or ()))


class Crew:
    """Hires the replicas and counts their failures.

    Args:
        hiring: of the run.
        scaling: Ray Train's; `num_workers` is the number of replicas, or the fewest with which
            the run starts and the most that it may grow to.
        in_order: see `placement.scheduling`.
        num_processes: of each replica.
        max_failures: how many may be lost and replaced; -1 is no limit.
        say: takes a line for the user.

    Attributes:
        failures: replicas lost so far.
    """

    def __init__(
        self,
        hiring: Hiring,
        task: ray.ObjectRef,
        scaling: ScalingConfig,
        *,
        num_processes: int,
        in_order: bool,
        max_failures: int,
        say: Callable[[str], None],
    ) -> None:
        self._hiring, self._task, self._say = hiring, task, say
        self._max_failures, self.failures = max_failures, 0
        n, self._fewest = placement.num_replicas(scaling), placement.fewest_replicas(scaling)
        self._resources = placement.replica_resources(scaling, num_processes)
        placement.check_room(self._resources, self._fewest)
        self._scheduling = placement.scheduling(
            scaling.placement_strategy, self._resources, n, in_order=in_order
        )
        self._posts: dict[int, Post] = {}
        self._coming: dict[int, ray.ObjectRef] = {}
        self._mistakes: set[str] = set()

    @property
    def posts(self) -> dict[int, Post]:
        """Of the replicas that are set up."""
        return {rank: post for rank, post in self._posts.items() if post.info is not None}

    def set_up(self) -> None:
        """Hire all and wait until enough are set up; the others are let in when they are.

        Raises:
            ClusterError: one died meanwhile.
        """
        for rank in range(len(self._scheduling)):
            self._hire(rank, 0)
        began = time.monotonic()
        while len(self.posts) < self._fewest:
            arrived = self._arrived(timeout=START_S)
            for rank, ref in arrived.items():
                why = self._settle(rank, ref)
                if isinstance(why, UserCodeError):
                    raise why
                if why:
                    raise ClusterError(
                        f"replica {rank} was lost while it was set up, {why}; nothing is trained "
                        "yet. What it printed last is in Ray's logs, on its node"
                    )
            if not arrived:
                asked = ", ".join(f"{v:g} {k}" for k, v in self._resources.items())
                self._say(
                    f"waiting for {time.monotonic() - began:.0f} s for replicas "
                    f"{sorted(self._coming)}: each needs {asked}, and then imports and builds what "
                    "it is told to; `ray status` shows whether other jobs hold the former"
                )

    def replace(self, rank: int, why: str | UserCodeError) -> None:
        """A new actor for a lost replica; it is let in when it is set up, the others go on.

        Raises:
            ClusterError: no more may be lost.
            UserCodeError: the user's code has failed in this way before, or may not fail at all.
        """
        post = self._posts[rank]
        self.failures += 1
        if isinstance(why, UserCodeError):
            self._pardon(why)
            why = "the user's code failed, which is tried once more: " + str(why).splitlines()[0]
        self._hiring.dismiss([post.actor])
        if post.info is not None:
            found = bury(post.info["node"], post.info["pids"], post.info["oom_kills"])
            why = f"{why}: {found}" if found else why
        if 0 <= self._max_failures < self.failures:
            raise ClusterError(
                f"replica {rank} was lost, {why}, and max_failures={self._max_failures} allows no "
                "more; FailureConfig(max_failures=-1) replaces lost replicas without limit, the "
                "others going on meanwhile"
            )
        self._say(f"replica {rank} was lost, {why}; a new one will start from the master")
        self._hire(rank, post.incarnation + 1)

    def move(self, rank: int) -> None:
        """A new actor, elsewhere, for a replica that has left its node, which is no failure."""
        post = self._posts[rank]
        self._hiring.dismiss([post.actor])
        self._say(f"replica {rank} has left a node that is being drained; a new one will start")
        self._hire(rank, post.incarnation + 1)

    def let_in(self) -> dict[int, Enlisted]:
        """The replicas that have been set up since this was last asked."""
        back = {}
        for rank, ref in self._arrived(timeout=0).items():
            why = self._settle(rank, ref)
            if why:
                self.replace(rank, why)
            else:
                back[rank] = self._posts[rank].enlisted()
                incarnation = self._posts[rank].incarnation
                self._say(f"replica {rank} {'is back' if incarnation else 'has joined'}")
        return back

    def _hire(self, rank: int, incarnation: int) -> None:
        actor = self._hiring.hire(
            ReplicaActor,
            f"replica-{rank}",
            [self._task],
            rank,
            incarnation,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=self._scheduling[rank],
            concurrency_groups={"delivery": 1},
            **placement.replica_options(self._resources),
        )
        self._posts[rank] = Post(actor, incarnation)
        self._coming[rank] = actor.setup.remote()

    def _arrived(self, timeout: float) -> dict[int, ray.ObjectRef]:
        if not self._coming:
            return {}
        ready, _ = ray.wait(list(self._coming.values()), num_returns=1, timeout=timeout)
        return {rank: ref for rank, ref in self._coming.items() if ref in ready}

    def _settle(self, rank: int, ref: ray.ObjectRef) -> str | UserCodeError | None:
        """Take down what a replica says that was set up; or why it was not."""
        del self._coming[rank]
        try:
            self._posts[rank].info = ray.get(ref)
        except RayError as error:
            return reason_of(error)
        return None

    def _pardon(self, error: UserCodeError) -> None:
        """Once for each mistake, whoever makes it."""
        if error.mistake in self._mistakes or 0 <= self._max_failures < self.failures:
            raise error
        self._mistakes.add(error.mistake)
