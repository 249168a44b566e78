"""Which weights of an SGD run are its result: the last ones, or a mean of them over time."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from parle_ray.task import SchedulerFn


class Averaging(ABC):
    """What is made of the weights on their way."""

    def scheduler_fn(self, given: SchedulerFn | None, steps: int) -> SchedulerFn | None:
        """The learning rate's schedule, stepped once a mini-batch; the task's own by default."""
        return given

    def start(self, module: nn.Module, steps: int) -> AveragedModel | None:
        """The mean, before there is anything in it; None takes the weights as they are."""
        return None

    @abstractmethod
    def due(self, step: int, steps: int, per_pass: int) -> bool:
        """Whether the weights after `step` mini-batches, of `steps`, go into the mean."""


@dataclass(frozen=True)
class Last(Averaging):
    """The last weights."""

    def due(self, step: int, steps: int, per_pass: int) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class SWA(Averaging):
    """Stochastic weight averaging (Izmailov et al., arXiv 1803.05407, algorithm 1).

    The rate stays at its first value, falls in a line from 50 to 90 % of the time before `begin`,
    and is `ratio` of it from there on; from `begin` on, the weights after each pass over a
    worker's data are averaged. 0.75 and 0.5 are the authors' for CIFAR.

    Attributes:
        begin: of the averaging, as a part of the run.
        ratio: of the averaged weights' learning rate to the first.
    """

    begin: float = 0.75
    ratio: float = 0.5

    def scheduler_fn(self, given: SchedulerFn | None, steps: int) -> SchedulerFn | None:
        return partial(_follow, self, steps)

    def factor(self, progress: float) -> float:
        """Of the first learning rate."""
        fallen = min(1.0, max(0.0, (progress / self.begin - 0.5) / 0.4))
        return 1.0 - (1.0 - self.ratio) * fallen

    def start(self, module: nn.Module, steps: int) -> AveragedModel | None:
        return AveragedModel(module, multi_avg_fn=get_swa_multi_avg_fn())  # type: ignore[no-untyped-call]

    def due(self, step: int, steps: int, per_pass: int) -> bool:
        return step >= self.begin * steps and (step % per_pass == 0 or step == steps)


def _follow(swa: SWA, steps: int, optimizer: Optimizer) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: swa.factor(step / steps))


@dataclass(frozen=True, kw_only=True)
class EMA(Averaging):
    """An exponential mean of the weights after every mini-batch (Polyak and Juditsky, 1992).

    Attributes:
        memory: of the mean, 1/(1 - decay) mini-batches, as a part of the run.
    """

    memory: float = 0.05

    def start(self, module: nn.Module, steps: int) -> AveragedModel | None:
        decay = 1.0 - 1.0 / max(1.0, self.memory * steps)
        return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]

    def due(self, step: int, steps: int, per_pass: int) -> bool:
        return True
