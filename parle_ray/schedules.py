"""Values that change from round to round: functions of the global round, never of a local count."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from parle_ray.errors import InputError

PAPER_BATCHES_PER_PASS = 391
"""Mini-batches of 128 in CIFAR-10: what `Scoping` assumes where the data has no length."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run knows of its own length when it starts; None where it has no planned end."""

    num_rounds: int | None
    batches_per_pass: int | None = None


class Schedule(ABC):
    """A float for every round, counted from 0."""

    @abstractmethod
    def __call__(self, round: int) -> float:
        """The value in `round`."""

    def bind(self, plan: Plan) -> "Schedule":
        """The same schedule with what it left open taken from the plan of the run."""
        return self

    @property
    @abstractmethod
    def lowest(self) -> float:
        """The smallest value it can take, for checking."""


def _check(schedule: Schedule, values: dict[str, float], counts: dict[str, int | None]) -> None:
    kind = type(schedule).__name__
    for name, value in values.items():
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{kind}: {name} must be a finite number, got {value!r}")
    for name, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise InputError(f"{kind}: {name} must be a whole number >= 1 or None, got {count!r}")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value in every round."""

    value: float

    def __call__(self, round: int) -> float:
        return self.value

    @property
    def lowest(self) -> float:
        return self.value


@dataclass(frozen=True)
class Scoping(Schedule):
    """The paper's annealing: `max(floor, initial (1 - 1/(2B))^round)`.

    B, `batches_per_pass`, is the number of mini-batches in one pass over a replica's data. Left
    open it is taken from the data when a run starts, and is the paper's CIFAR-10 figure before.
    Source: arXiv 1707.00424, section 2.4, with `round = floor(k/L)`.

    >>> Scoping(100, floor=1)(0)
    100.0
    """

    initial: float
    floor: float = 0.0
    batches_per_pass: int | None = None

    def __post_init__(self) -> None:
        _check(
            self,
            {"initial": self.initial, "floor": self.floor},
            {"batches_per_pass": self.batches_per_pass},
        )

    def __call__(self, round: int) -> float:
        batches = self.batches_per_pass or PAPER_BATCHES_PER_PASS
        return max(self.floor, self.initial * (1.0 - 1.0 / (2.0 * batches)) ** round)

    def bind(self, plan: Plan) -> Schedule:
        return replace(self, batches_per_pass=self.batches_per_pass or plan.batches_per_pass)

    @property
    def lowest(self) -> float:
        return min(self.floor or self.initial, self.initial)


@dataclass(frozen=True)
class _Progress(Schedule):
    """A schedule of the progress of the planned run."""

    initial: float
    final: float
    num_rounds: int | None = None

    def __post_init__(self) -> None:
        _check(
            self,
            {"initial": self.initial, "final": self.final},
            {"num_rounds": self.num_rounds},
        )

    def _progress(self, round: int, last: int | None) -> float:
        """0 in the first round, 1 in round `last` and after."""
        if self.num_rounds is None or last is None:
            raise InputError(
                f"{type(self).__name__}({self.initial}, {self.final}) depends on the length of the "
                "run: give num_rounds, or use it in a trainer, which fills it in"
            )
        return min(1.0, round / max(1, last))

    def bind(self, plan: Plan) -> Schedule:
        num_rounds = self.num_rounds or plan.num_rounds
        if num_rounds is None:
            return Constant(self.initial)  # a run without an end makes no progress
        return replace(self, num_rounds=num_rounds)

    @property
    def lowest(self) -> float:
        return min(self.initial, self.final)


@dataclass(frozen=True)
class Geometric(_Progress):
    """`initial (final/initial)^p`, p = round/(num_rounds - 1): the same factor every round.

    >>> Geometric(100, 1, num_rounds=3)(1)
    10.0
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("initial", self.initial), ("final", self.final)):
            if not value > 0.0:
                raise InputError(f"Geometric: {name} must be > 0, got {value!r}")

    def __call__(self, round: int) -> float:
        last = None if self.num_rounds is None else self.num_rounds - 1
        return float(self.initial * (self.final / self.initial) ** self._progress(round, last))


@dataclass(frozen=True)
class Cosine(_Progress):
    """`final + (initial - final)(1 + cos(pi p))/2`, p = round/num_rounds.

    `final` is what would come after the last round, so that a rate that ends at zero still moves
    something in it (as `torch.optim.lr_scheduler.CosineAnnealingLR` with T_max = num_rounds).
    """

    final: float = 0.0

    def __call__(self, round: int) -> float:
        wave = (1.0 + math.cos(math.pi * self._progress(round, self.num_rounds))) / 2.0
        return self.final + (self.initial - self.final) * wave


@dataclass(frozen=True)
class Steps(Schedule):
    """`values[i]`, i being how many of the `drops` p has reached, p = round/num_rounds.

    The paper's rates are in steps: All-CNN's are 0.1, 0.02, 0.004 and 0.001 for 2, 2, 2 and 4 of
    10 epochs.

    >>> Steps((0.1, 0.02, 0.004, 0.001), (0.2, 0.4, 0.6), num_rounds=10)(2)
    0.02
    """

    values: tuple[float, ...]
    drops: tuple[float, ...]
    num_rounds: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        object.__setattr__(self, "drops", tuple(self.drops))
        for name, numbers in (("values", self.values), ("drops", self.drops)):
            for number in numbers:
                _check(self, {name: number}, {})
        _check(self, {}, {"num_rounds": self.num_rounds})
        if len(self.values) != len(self.drops) + 1:
            raise InputError(
                f"Steps: there must be one value more than drops, got {self.values!r} and "
                f"{self.drops!r}"
            )
        if list(self.drops) != sorted(self.drops) or not all(0 < d < 1 for d in self.drops):
            raise InputError(f"Steps: drops must rise between 0 and 1, got {self.drops!r}")

    def __call__(self, round: int) -> float:
        if self.num_rounds is None:
            raise InputError(
                f"Steps{self.values!r} depends on the length of the run: give num_rounds, or use "
                "it in a trainer, which fills it in"
            )
        return self.values[sum(round >= drop * self.num_rounds for drop in self.drops)]

    def bind(self, plan: Plan) -> Schedule:
        num_rounds = self.num_rounds or plan.num_rounds
        if num_rounds is None:
            return Constant(self.values[0])  # a run without an end makes no progress
        return replace(self, num_rounds=num_rounds)

    @property
    def lowest(self) -> float:
        return min(self.values)


@dataclass(frozen=True)
class QSR(Schedule):
    """`max(base, floor((alpha/lr)^2))`: for `sync_every`, the quadratic synchronisation rule.

    The smaller the learning rate, the longer replicas walk alone. A strategy does not see the
    inner optimiser, so its rate is given here too, as `Cosine(0.1)`.
    Source: Gu et al., arXiv 2310.14423.

    >>> QSR(4, alpha=0.4, lr=Cosine(0.1, num_rounds=2))(1)
    64.0
    """

    base: float
    alpha: float
    lr: float | Schedule

    def __post_init__(self) -> None:
        _check(self, {"base": self.base, "alpha": self.alpha}, {})
        zero = isinstance(self.lr, Cosine) and self.lr.final == 0.0  # after the end, not in it
        if not (self.alpha > 0.0 and (zero or lowest(self.lr) > 0.0)):
            raise InputError(f"QSR: alpha and lr must be > 0, got {self.alpha!r} and {self.lr!r}")

    def __call__(self, round: int) -> float:
        rate = at(self.lr, round)
        return max(self.base, float((self.alpha / rate) ** 2 // 1)) if rate > 0.0 else math.inf

    def bind(self, plan: Plan) -> Schedule:
        return replace(self, lr=self.lr.bind(plan)) if isinstance(self.lr, Schedule) else self

    @property
    def lowest(self) -> float:
        return self.base


def at(value: float | Schedule, round: int) -> float:
    """A number, or what a schedule gives in `round`."""
    return value(round) if isinstance(value, Schedule) else value


def lowest(value: float | Schedule) -> float:
    """A number, or the smallest that a schedule gives."""
    return value.lowest if isinstance(value, Schedule) else value
