"""The master evaluated, with batch-norm statistics of its own."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from parle_ray.errors import InputError
from parle_ray.execution import moved
from parle_ray.generators import Generators
from parle_ray.metrics import UNITS
from parle_ray.stream import BatchStream
from parle_ray.task import Task

RECALIBRATION_BATCHES = 50
"""Mini-batches from which batch-norm statistics are estimated: 6,400 images at 128."""


class Evaluator:
    """A copy of the model that stands where the master does, for evaluation and export.

    An average of parameters has other activations than the replicas it was made of, so the
    running statistics of its batch-norm layers are estimated afresh from training batches before
    every use: a cumulative mean over up to 50 batches, dropout off (Izmailov et al.,
    arXiv 1803.05407, section 3.2; the authors of Parle feed the whole training set).
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._device = task.execution.resolve_device()
        self._flat = task.build(self._device)
        self.module: nn.Module = self._flat.module
        self.dtype = self._flat.vector.dtype
        self._norms = [
            m for m in self.module.modules() if isinstance(m, _NormBase) and m.track_running_stats
        ]

    def evaluate(self, master: Tensor) -> dict[str, float]:
        """The user's metrics of the master `(num_params,)`, and `error = 1 - accuracy`."""
        self.place(master)
        return self.score(self.module)

    def score(self, module: nn.Module) -> dict[str, float]:
        """The same of another module, as it is."""
        metrics: dict[str, float] = {}
        if self._task.evaluate_fn is not None:
            with self._generators(), torch.no_grad():
                metrics = {k: float(v) for k, v in self._task.evaluate_fn(module).items()}
        if taken := (metrics.keys() & UNITS.keys()) - {"accuracy", "error"}:
            raise InputError(
                f"evaluate_fn: {sorted(taken)} are names of training metrics; give yours others, "
                "such as 'test_loss'"
            )
        if "accuracy" in metrics:
            metrics.setdefault("error", 1.0 - metrics["accuracy"])
        return metrics

    def place(self, master: Tensor) -> dict[str, Tensor]:
        """Put the master into the module, re-estimate its statistics; its `state_dict()`."""
        self._flat.vector.copy_(master)
        self._flat.load()
        if self._norms:
            self._recalibrate()
        self.module.eval()
        return self.module.state_dict()

    def _generators(self) -> Generators:
        return Generators(self._task.seed, 0, cuda=self._device.type == "cuda")

    def _recalibrate(self) -> None:
        task, momenta = self._task, [norm.momentum for norm in self._norms]
        self.module.eval()  # dropout off
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean
            norm.train()
        generators = self._generators()
        with generators, torch.no_grad():
            batches = moved(task.batches_fn(0, task.num_replicas), self._device)
            stream = BatchStream(batches, generators, "the evaluator")
            most = RECALIBRATION_BATCHES
            for i in range(min(most, stream.batches_per_pass or most)):
                for norm in self._norms:
                    if isinstance(norm, _InstanceNorm):  # which takes None for no update
                        norm.momentum = 1.0 / (i + 1)
                batch = task.execution.place(stream.next(), self._device)
                with task.execution.precision(self._device):
                    task.loss_fn(self.module, batch)
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum
