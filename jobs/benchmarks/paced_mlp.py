"""A small network whose steps take time and no processor, as those of a GPU next door would."""

import time

from torch import Tensor

from parle_ray.models.mlp import MLP

STEP_S = 0.02
"""A step waits so long: what one replica does takes no processor from the others."""


class PacedMLP(MLP):
    """`python -m parle_ray chaos --model.name jobs.benchmarks.paced_mlp:PacedMLP`."""

    def forward(self, images: Tensor) -> Tensor:
        if self.training:
            time.sleep(STEP_S)
        return super().forward(images)
