"""`ParleCallback` for Lightning: `Trainer(callbacks=[ParleCallback(Parle())])`."""

from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor

from parle_ray.errors import InputError
from parle_ray.integrations.guest import Guest
from parle_ray.strategies import Strategy


class ParleCallback(pl.Callback):
    """Makes each process of a `lightning.Trainer` a replica.

        trainer = Trainer(max_epochs=10, callbacks=[ParleCallback(Parle())])

    The optimiser of `configure_optimizers` becomes the inner one of a `ReplicaOptimizer`, and
    `strategy="ddp"` starts the processes and cuts the data but averages no gradient any more.
    Validation, saved checkpoints and the model after `fit` have the master's parameters, with the
    batch-norm statistics of the replica.

    `fit(ckpt_path=...)` goes on where rank 0 was; other ranks start from the master.

    Args:
        strategy: the algorithm.
        num_rounds: length of the run; None: from the Trainer's epochs or steps.
        batches_per_pass: mini-batches in a pass over the data, for the paper's scoping.

    Raises:
        InputError: there is more than one optimiser, or parameters are cut over processes.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        num_rounds: int | None = None,
        batches_per_pass: int | None = None,
    ) -> None:
        self._guest = Guest(strategy, num_rounds, batches_per_pass)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The optimiser is there, and no state of it has been restored yet."""
        loop = trainer.strategy
        if not isinstance(loop, DDPStrategy | SingleDeviceStrategy):
            raise InputError(
                f"ParleCallback: {type(loop).__name__} does not leave a whole model to each "
                'process; use strategy="ddp", or one device'
            )
        if len(loop.optimizers) != 1:
            raise InputError(
                f"ParleCallback: configure_optimizers gives {len(loop.optimizers)} optimisers, a "
                "replica has one; give one with several parameter groups"
            )
        if dist.is_initialized():
            loop.model = pl_module  # in the place of DistributedDataParallel round it
        steps = trainer.estimated_stepping_batches
        loop.optimizers = [self._guest.enter(pl_module, loop.optimizers[0], steps)]

    def on_before_optimizer_step(self, *_: Any) -> None:
        self._guest.before_step()

    def on_train_batch_end(self, *_: Any) -> None:
        self._guest.after_step()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._guest.show(master=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit":
            self._guest.show(master=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._guest.show(master=True)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """The master goes into the checkpoint's `state_dict`; the replica is in the optimiser's."""
        if self._guest.optimizer is None or self._guest.optimizer.shows_master:
            return
        self._guest.show(master=True)
        checkpoint["state_dict"] = {
            name: value.clone() if isinstance(value, Tensor) else value
            for name, value in pl_module.state_dict().items()
        }
        self._guest.show(master=False)
