"""`ParleCallback` for transformers: `Trainer(..., callbacks=[ParleCallback(Parle())])`."""

from typing import Any

import torch.distributed as dist
from accelerate.optimizer import AcceleratedOptimizer
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from parle_ray.errors import InputError
from parle_ray.integrations.guest import Guest
from parle_ray.strategies import Strategy


class ParleCallback(TrainerCallback):
    """Makes each process of a `transformers.Trainer` a replica.

        trainer = Trainer(model, arguments, train_dataset=..., callbacks=[ParleCallback(Parle())])

    The Trainer's optimiser becomes the inner one of a `ReplicaOptimizer`. Under torchrun the
    processes get their parts of the data as ever, but average no gradient any more. Evaluations,
    saved checkpoints and the model after `train()` have the master's parameters.

    `train(resume_from_checkpoint=...)` starts all replicas from the master that was saved, with
    rank 0's state of the optimiser, in the round where it was.

    Args:
        strategy: the algorithm.
        num_rounds: length of the run; None: from the Trainer's epochs or steps.
        batches_per_pass: mini-batches in a pass over the data, for the paper's scoping.

    Raises:
        InputError: parameters are cut over processes, or one process has several GPUs.
    """

    def __init__(
        self,
        strategy: Strategy,
        *,
        num_rounds: int | None = None,
        batches_per_pass: int | None = None,
    ) -> None:
        self._guest = Guest(strategy, num_rounds, batches_per_pass)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: AcceleratedOptimizer,
        **_: Any,
    ) -> None:
        """The optimiser is there, and its state has been restored."""
        if args.fsdp or args.deepspeed or args.n_gpu > 1:
            raise InputError(
                "ParleCallback: each process must have a whole model on one device; leave out "
                "fsdp and deepspeed, and start one process for each GPU with torchrun"
            )
        inner = optimizer.optimizer
        replica = self._guest.enter(model, inner, state.max_steps)
        replica.steps = state.global_step
        # The Trainer loads what it saved before there is a replica.
        replica.state_dict = inner.state_dict  # type: ignore[method-assign]
        optimizer.__setstate__({"optimizer": replica})  # a scaler calls a patched step() of it
        if dist.is_initialized():
            model.register_forward_pre_hook(_walk_alone)

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._guest.show(master=False)

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._guest.before_step()

    def on_optimizer_step(self, *_: Any, **__: Any) -> None:
        self._guest.after_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """An evaluation or a checkpoint comes before the next step."""
        if control.should_evaluate or control.should_save:
            self._guest.show(master=True)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.on_step_end(args, state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """The master stays in the model, unless the Trainer has put its best one there."""
        if not (args.load_best_model_at_end and state.best_model_checkpoint):
            self._guest.show(master=True)


def _walk_alone(module: nn.Module, inputs: Any) -> None:
    """Before each forward pass: have DistributedDataParallel round the model average nothing.

    accelerate has wrapped the model before any callback hears of it, and gives nobody the wrapper.
    """
    wrapper = DistributedDataParallel._active_ddp_module
    if wrapper is not None:
        wrapper.require_backward_grad_sync = False
