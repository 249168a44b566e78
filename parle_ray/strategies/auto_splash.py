"""Splash whose degree of parallelism is found in the run, by trial."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import norm_squared, trade_
from parle_ray.errors import all_diverged
from parle_ray.fold import Numbers, Pushed
from parle_ray.strategies.base import State
from parle_ray.strategies.degree import Phase, Search
from parle_ray.strategies.splash import Splash

LAST_RIVAL = 4
"""Rounds from MEASURE to the second COMPARE of a trial."""


@dataclass(frozen=True, kw_only=True)
class AutoSplash(Splash):
    """Splash with an automatic degree of parallelism (Zhang, Jordan, arXiv 1506.07552, section 3).

        y^a <- optimiser(y^a, m g^a), L times;   x <- (1/n) sum_a y^a;   y^a <- x

    m is 1 at first, and at most n. In a trial it meets its rivals m/4 and 4m, all from one x:

        c_m   <- a round with m from x                        first round of m
        f_m^a <- loss at c_m of mini-batches that come next   second round of m, its first part
        d_m   <- the rest of the round with m from c_m

    A rival r wins if the mean of the n gains f_m^a - f_r^a is above its standard error. The run
    goes on from the winner's d; what else was tried is thrown away. `degree.Search` says when
    which degree is tried.

    The paper's implementation (ParametrizedRDD.scala) tries degrees at the same time, each with as
    many replicas as it is high. Here all n walk with each, so that the means which are judged are
    those which come later, and a search needs no number of replicas.

    A degree is out if most walks with it do not stay finite; if 1 is, the run has diverged. The
    optimisers forget their past where walks begin elsewhere than at the mean of those before.
    Within a trial, the model is the best that it has come to.

    Attributes:
        held_out: the part of a round's mini-batches, one at least, that f is of; no step is taken
            with them.
    """

    held_out: float = 0.5

    equation: ClassVar[str] = "Splash, y^a <- optimiser(y^a, m g^a), with m found by trial"
    exchanges_numbers: ClassVar[bool] = True
    fixed_walk: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_fraction("held_out")

    @property
    def coordinate_wise(self) -> bool:
        return False  # it matters whether all of a walk is finite

    @property
    def merges_late(self) -> bool:
        return False  # by then the others walk with another m, or from elsewhere

    def init_replica(self, master: Tensor) -> State:
        told = {name: _number(0.0) for name in ("phase", "step", "failed")}
        own = {"x": master.clone(), "most": _number(1.0), "measured": _number(math.nan)}
        return super().init_replica(master) | told | own | {"measured_in": _number(-1.0)}

    def seat(self, state: State, rank: int, num_replicas: int) -> None:
        state["most"] = _number(min(num_replicas, self.max_weight))

    def hear(self, state: State, numbers: Numbers, round: int) -> None:
        degree, phase = numbers
        state["weight"] = _number(min(degree, state["most"].item()))
        state["phase"], state["step"], state["failed"] = _number(phase), _number(0), _number(0)

    def local_step(self, y: Tensor, state: State, inner: Optimizer, round: int) -> None:
        step, phase = state["step"].item(), state["phase"].item()
        state["step"] = _number(step + 1)
        if step < self._num_judged(phase, round):
            return
        if step == 0 and phase in (Phase.TRY, Phase.TURN):
            inner.state.clear()
        super().local_step(y, state, inner, round)

    def push(self, y: Tensor, state: State, inner: Optimizer, round: int) -> Tensor:
        tries = state["phase"].item() in (Phase.TRY, Phase.MEASURE, Phase.COMPARE)
        if not tries or math.isfinite(norm_squared(y)):
            return y
        state["failed"] = _number(1)
        return state["x"]

    def tell(self, state: State, losses: Tensor, weight: int, round: int) -> Numbers:
        phase, compared, gain = state["phase"].item(), 0.0, 0.0
        num_judged = self._num_judged(phase, round)
        loss = losses[:num_judged].sum().item() / max(1, num_judged)
        if not math.isfinite(loss):
            state["failed"] = _number(1)
        elif phase == Phase.MEASURE:
            state["measured"], state["measured_in"] = _number(loss), _number(round)
        elif phase == Phase.COMPARE and round - state["measured_in"].item() <= LAST_RIVAL:
            compared, gain = 1.0, state["measured"].item() - loss
        own = (state[name].item() for name in ("weight", "most", "failed"))
        return *own, float(weight), compared, gain, gain * gain

    def init_master(self, master: Tensor) -> State:
        return {"start": master.clone(), "best": master.clone()} | Search().numbers()

    def announce(self, state: State) -> Numbers:
        return state["degree"].item(), state["phase"].item()

    def merge(self, master: Tensor, state: State, pushed: Pushed, round: int) -> None:
        _, most, failed, weight, *comparison = pushed.numbers
        search = Search.of(state).up_to(most)
        out = failed > 0.5
        if search.phase == Phase.COMPARE and search.stands:
            out |= not _is_better(pushed.count / weight, *comparison)
        if search.tries and out:
            if search.degree == 1.0 and not search.stands:
                raise all_diverged(round)
            search = search.lost()
            if search.tries:
                master.copy_(state["start"])
            else:
                trade_(master, state["best"])
        elif search.tries and search.phase == Phase.MEASURE:
            trade_(state["best"], pushed.mean)  # d_m
            master.copy_(state["start"])
            search = search.measured()
        else:
            trade_(master, pushed.mean)  # c_m, or d_r of a rival that has won, or x
            search = search.goes_on()
            if search.phase == Phase.TRY:
                state["start"].copy_(master)
        state.update(search.numbers())

    def model(self, master: Tensor, state: State) -> Tensor:
        search = Search.of(state)
        if not search.tries:
            return master
        return state["best"] if search.stands else state["start"]

    def pull(self, y: Tensor, state: State, master: Tensor, round: int) -> None:
        super().pull(y, state, master, round)
        state["x"].copy_(master)

    def readings(self, numbers: Numbers) -> dict[str, float]:
        return {"degree": numbers[0]}

    def _num_judged(self, phase: float, round: int) -> int:
        """The mini-batches with which no step is taken; they are the first of a round."""
        judges = phase in (Phase.MEASURE, Phase.COMPARE)
        return max(1, int(self.held_out * self.steps(round))) if judges else 0


def _is_better(count: float, compared: float, gain: float, square: float) -> bool:
    """Whether a gain is above its standard error.

    Args:
        count: of the replicas; where these weigh w_a, (sum_a w_a)^2 / sum_a w_a^2 (Kish, Survey
            Sampling, 1965), by which the variance of a mean is smaller than that of one.
        compared: the part of them that has compared.
        gain, square: means over the replicas of the gain and its square, 0 where there is none.
    """
    if not compared:
        return False
    mean = gain / compared
    variance = max(square / compared - mean * mean, 0.0)
    return mean > math.sqrt(variance / (compared * count))


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
