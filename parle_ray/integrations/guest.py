"""A `ReplicaOptimizer` in somebody else's loop: what the callbacks of all loops have in common."""

import math

from torch import nn
from torch.optim import Optimizer

from parle_ray.optim import ReplicaOptimizer
from parle_ray.pace import rounds_in
from parle_ray.strategies import Strategy


class Guest:
    """Makes a loop's optimiser a replica's, and shows the master where the loop evaluates.

    Args:
        strategy: the algorithm.
        num_rounds: length of the run; None: from the loop's number of steps, if it has one.
        batches_per_pass: mini-batches in a pass over the data, for the paper's scoping.

    Attributes:
        optimizer: from `enter` on.
    """

    def __init__(
        self, strategy: Strategy, num_rounds: int | None, batches_per_pass: int | None
    ) -> None:
        self._strategy = strategy
        self._num_rounds = num_rounds
        self._batches_per_pass = batches_per_pass
        self._attempted_at: int | None = None
        self.optimizer: ReplicaOptimizer | None = None

    def enter(self, model: nn.Module, inner: Optimizer, num_steps: float) -> ReplicaOptimizer:
        """The optimiser that the loop is to use in the place of `inner`.

        Args:
            num_steps: of the optimiser in the whole run; < 1 or infinite if not known.
        """
        rounds = self._num_rounds
        if rounds is None and 1 <= num_steps < math.inf:
            rounds = rounds_in(self._strategy.sync_every, int(num_steps))
        self.optimizer = ReplicaOptimizer(
            model,
            inner,
            self._strategy,
            num_rounds=rounds,
            batches_per_pass=self._batches_per_pass,
        )
        # These loops clip between the scaler's unscale_() and its step(), which they refuse to do
        # for an optimiser that is called with infinite gradients too: `after_step` counts those.
        self.optimizer._step_supports_amp_scaling = False
        return self.optimizer

    def before_step(self) -> None:
        """The loop is about to call `step()`, or to have a gradient scaler call it."""
        self._attempted_at = self._replica.steps

    def after_step(self) -> None:
        """The loop has done so, or was only accumulating: a step left out is counted."""
        if self._attempted_at == self._replica.steps:
            self._replica.leave_out()
        self._attempted_at = None

    def show(self, master: bool) -> None:
        """Have the master in the model, or the replica's own parameters."""
        if self._replica.shows_master != master:
            self._replica.swap_master()

    @property
    def _replica(self) -> ReplicaOptimizer:
        assert self.optimizer is not None, "the loop has not begun"
        return self.optimizer
