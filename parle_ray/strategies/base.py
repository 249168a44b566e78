"""What an algorithm is here: frozen hyper-parameters, explicit state, and a few verbs.

A strategy owns both halves of its algorithm, what a replica does and what the coordinator does,
written on flat vectors of shape `(num_params,)`. It holds no tensor, sends nothing, reads no clock.

One round k of a replica, whose last known master is x_k:

    overlapping    L x local_step;  pull(x_k);  push         x_k had L steps to arrive
    blocking       pull(x_k);  L x local_step;  push         except in a replica's first round

and of the coordinator: `merge` what was pushed into x_{k+1}, and send `reply` to the replicas.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, Self

from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import norm_squared, trade_
from parle_ray.errors import InputError
from parle_ray.fold import Numbers, Pushed
from parle_ray.pace import Pace, paced
from parle_ray.schedules import Cosine, Plan, Schedule, at, lowest

State = dict[str, Tensor]
"""An algorithm's own vectors between calls; saved in checkpoints under these names."""


@dataclass(frozen=True, kw_only=True)
class Strategy(ABC):
    """An algorithm for n replicas and a master.

    Attributes:
        sync_every: L, the number of mini-batches a replica walks alone between two exchanges; or a
            schedule of it over the mini-batches of the run, as `Steps((1, 25), (0.5,))`.
        weighting: what counts alike where pushes are averaged: `"replicas"`, or `"samples"`, each
            replica then as much as the examples that it saw in the round.
        uneven: a replica walks as many mini-batches in a round as it can while the fastest walks L.
    """

    sync_every: int | Schedule = 1
    weighting: Literal["replicas", "samples"] = "replicas"
    uneven: bool = False

    equation: ClassVar[str] = ""
    """The algorithm in a line."""
    source: ClassVar[str] = ""
    """The paper it comes from."""
    travels: ClassVar[tuple[str, str]] = ("y^a", "x")
    """The vector that a replica sends up in a round, and the one that comes down."""
    scheduled: ClassVar[tuple[str, ...]] = ()
    """The fields that take a number or a schedule; all must stay above zero."""
    divisors: ClassVar[tuple[str, ...]] = ("gamma", "rho")
    """Those that are divided by: they may be infinite; the others may end at zero."""
    synchronous: ClassVar[bool] = True
    """False: the master merges each push as it comes."""
    walks_apart: ClassVar[bool] = False
    """True: the processes of a replica walk on data of their own, and meet at the end of each leg;
    False: each takes a part of every mini-batch."""
    changes_pace: ClassVar[bool] = True
    """False: all rounds are of one length, so `sync_every` is a number."""
    fixed_walk: ClassVar[bool] = False
    """True: a replica walks L mini-batches in every round, so it cannot be `uneven`."""
    exchanges_numbers: ClassVar[bool] = False
    """True: a few numbers travel with the vectors (`announce`, `hear`, `tell`)."""
    steps_master: ClassVar[bool] = False
    """True: `merge` leaves a gradient in `master.grad` and the user's optimiser, which then lives
    at the coordinator, takes the step."""

    def __post_init__(self) -> None:
        self._check_sync_every()
        self._check_weighting()
        self._check_uneven()
        for name in self.scheduled:
            self._check_scheduled(name)

    @property
    def overlaps(self) -> bool:
        """True: the reply to round k-1 is needed only at the end of round k."""
        return False

    @property
    def num_legs(self) -> int:
        """Into how many legs of equal length a replica's round is cut; it divides `sync_every`."""
        return 1

    @property
    def coordinate_wise(self) -> bool:
        """Whether what a replica does with a stretch of its vectors depends on that alone."""
        return True

    @property
    def pushes_near_master(self) -> bool:
        """False: what is pushed is a difference or a gradient, and near zero (for codecs)."""
        return True

    @property
    def moves_all(self) -> bool:
        """Whether every round moves the whole vector."""
        length = 2**30
        return self.moves(0, length) == slice(0, length)

    @property
    def merges_late(self) -> bool:
        """Whether a push that an earlier round asked for may be merged: a vector or a spring may,
        a gradient that was taken elsewhere than where the master is now, or another stretch of the
        vector than the one that moves now, may not."""
        return self.moves_all and not self.steps_master

    @property
    def merges_mean(self) -> bool:
        """Whether a merge asks for the mean of what was pushed, and not for its sum."""
        return True

    @property
    def master_is_mean(self) -> bool:
        """Whether the master is the mean of the replicas' parameters, as they pushed them."""
        return False

    def bind(self, plan: Plan) -> Self:
        """The same strategy with its schedules fitted to the planned run."""
        schedules: dict[str, Any] = {
            f.name: getattr(self, f.name).bind(plan)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Schedule)
        }
        if isinstance(self.sync_every, Schedule):  # over mini-batches, where the others have rounds
            schedules["sync_every"] = paced(self.sync_every, plan.num_rounds)
        return replace(self, **schedules)

    def steps(self, round: int) -> int:
        """L of a round: the mini-batches that a replica walks in it, or the fastest if they are
        `uneven`. `bind` comes first."""
        return int(at(self.sync_every, round))

    def steps_before(self, round: int) -> int:
        """The mini-batches that a replica walks before a round. `bind` comes first."""
        pace = self.sync_every
        return pace.before(round) if isinstance(pace, Pace) else round * self.steps(0)

    def round_at(self, step: int) -> int:
        """The round of a replica's mini-batch number `step`, from 0. `bind` comes first."""
        pace = self.sync_every
        return pace.round_at(step) if isinstance(pace, Pace) else step // self.steps(0)

    def moves(self, round: int, num_params: int) -> slice:
        """The stretch of the vector that a round moves; the rest has no part in its exchange.

        `merge` and `gap` are given this stretch of the master, of its state and of the pushes, and
        `pull` this stretch of the reply; numbers are of all. The whole, if nothing else is said.
        """
        return slice(0, num_params)

    def sends(self, round: int, num_params: int, rank: int, num_replicas: int) -> slice:
        """The stretch that one of the replicas pushes, within `moves`; elsewhere it pushes zero."""
        return self.moves(round, num_params)

    @abstractmethod
    def init_replica(self, master: Tensor) -> State:
        """The state of a replica that starts, or starts again, from the master."""

    def seat(self, state: State, rank: int, num_replicas: int) -> None:  # noqa: B027
        """Tell the state of a replica that starts which one of how many it is.

        Most do not ask. `num_replicas` is the run's, the absent counted.
        """

    @abstractmethod
    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        """One mini-batch: `y.grad` holds its gradient; `inner` is the user's optimiser on y."""

    def hear(self, state: State, numbers: Numbers, round: int) -> None:  # noqa: B027
        """Take in the numbers that came with a reply; `round` is the one that they are for."""

    def rest(self, y: Tensor, state: State, round: int) -> None:  # noqa: B027
        """End a leg; the last of a round ends as the round does."""

    def meet(self, state: State, mean: Tensor) -> None:  # noqa: B027
        """Take the mean of the y of processes that walk apart, `(num_params,)`, after each leg."""

    @abstractmethod
    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        """What goes to the coordinator, as long as `sends` says; may be a view, read before y
        moves on."""

    def weight(self, num_samples: int) -> int:
        """How much a push counts in the mean, after a round of so many examples; 1 at least."""
        return max(1, num_samples) if self.weighting == "samples" else 1

    def tell(self, state: State, losses: Tensor, weight: int, round: int) -> Numbers:
        """The numbers that go up with a push, for their mean to be merged: always as many.

        Args:
            losses: of the mini-batches that the replica has walked, in their order, `(steps,)`.
            weight: of the push, and of these, in the mean.
        """
        return ()

    @abstractmethod
    def init_master(self, master: Tensor) -> State:
        """The state of the coordinator."""

    @abstractmethod
    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        """Move the master, in place, by what the replicas pushed in `round`."""

    def follow(self, master: Tensor, state: State, round: int) -> None:  # noqa: B027
        """The master has moved to where it ends `round`: what is kept of its path, if anything."""

    def model(self, master: Tensor, state: State) -> Tensor:
        """What is evaluated and saved, `(num_params,)`: the master, or a vector of the state."""
        return master

    def reply(self, master: Tensor, state: State) -> Tensor:
        """What goes back to the replicas, `(num_params,)`: the master, if nothing else is said."""
        return master

    def announce(self, state: State) -> Numbers:
        """The numbers that go to the replicas with a reply, from the coordinator's state alone."""
        return ()

    @abstractmethod
    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        """Take the reply in, as long as `moves` says of the round that it answers.

        `round` is the one that the replica closes by it: that round, or where it overlaps the next.
        """

    def gauges(self, round: int) -> dict[str, float]:
        """The scheduled values as they are in `round`, by field name."""
        return {name: at(getattr(self, name), round) for name in self.scheduled}

    def readings(self, numbers: Numbers) -> dict[str, float]:
        """What a report has of the numbers that a replica told, by name."""
        return {}

    def gap(self, master: Tensor, pushed: Pushed) -> float:
        """How far the replicas stand from the master: `mean_a ||x^a - x||^2`, as weighted."""
        spread = pushed.spread / pushed.count
        return spread if self.master_is_mean else spread + norm_squared(pushed.mean, master)

    def _check_sync_every(self) -> None:
        every = self.sync_every
        if isinstance(every, Schedule) and not self.changes_pace:
            raise InputError(
                f"sync_every must be a whole number with {type(self).__name__}, got {every!r}"
            )
        if isinstance(every, bool) or not isinstance(every, int | Schedule):
            raise InputError(f"sync_every must be a whole number or a schedule, got {every!r}")
        if not lowest(every) >= 1:
            raise InputError(f"sync_every must be >= 1, got {every}; the paper uses 25 local steps")

    def _check_weighting(self) -> None:
        if self.weighting not in ("replicas", "samples"):
            raise InputError(f"weighting must be 'replicas' or 'samples', got {self.weighting!r}")
        if self.weighting == "samples" and not self.merges_mean:
            raise InputError(
                f"weighting: {self.weighting!r} with {type(self).__name__}, of which the master "
                "takes no mean of several pushes; use 'replicas'"
            )

    def _check_uneven(self) -> None:
        if not isinstance(self.uneven, bool):
            raise InputError(f"uneven must be True or False, got {self.uneven!r}")
        if self.uneven and self.fixed_walk:
            raise InputError(
                f"uneven: True with {type(self).__name__}, whose replicas walk sync_every "
                "mini-batches in every round; use False"
            )

    def _check_scheduled(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float | Schedule):
            raise InputError(f"{name} must be a number or a schedule, got {value!r}")
        low = lowest(value)
        if name in self.divisors:
            if not low > 0.0:
                raise InputError(f"{name} must be > 0 in every round, got {value!r}")
            return
        anneals_to_zero = isinstance(value, Cosine) and value.final == 0.0 < value.initial
        if not (0.0 < low < math.inf or anneals_to_zero):
            raise InputError(f"{name} must be > 0 and finite, got {value!r}")

    def _check_fraction(self, name: str) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1.0:
            raise InputError(f"{name} must be a number >= 0 and < 1, got {value!r}")


class MeanStrategy(Strategy):
    """A strategy whose master is the mean of what the replicas push."""

    @property
    def master_is_mean(self) -> bool:
        return True

    def init_master(self, master: Tensor) -> State:
        return {}

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        trade_(master, pushed.mean)


class AsynchronousStrategy(Strategy):
    """A strategy whose master merges each push when it comes, and answers that replica alone.

    `merge` is given one push, in the order of arrival; the reply is the master after it. A
    `round` is n arrivals, n the number of replicas.
    """

    synchronous: ClassVar[bool] = False
    changes_pace: ClassVar[bool] = False
    fixed_walk: ClassVar[bool] = True

    @property
    def pushes_near_master(self) -> bool:
        return False  # the master has moved on from what the replica was sent

    @property
    def merges_mean(self) -> bool:
        return False  # it takes one after the other

    @property
    def most_ahead(self) -> float:
        """How many of its own rounds a replica may be ahead of the slowest."""
        return math.inf

    @property
    def most_stale_rounds(self) -> float:
        """A push is dropped before which so many rounds of others have come."""
        return math.inf

    def init_master(self, master: Tensor) -> State:
        return {}

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        inner.step()
