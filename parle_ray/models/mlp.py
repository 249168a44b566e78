"""A perceptron with one hidden layer: the network of the bundled digits, 64-128-10."""

from math import prod

from torch import Tensor, nn

from parle_ray.errors import InputError
from parle_ray.models.checks import ImageShape


class MLP(nn.Module):
    """Flatten, Linear(hidden), ReLU, Linear(num_classes). No batch norm, no dropout.

    Args:
        num_classes: Outputs.
        image_shape: (C, H, W).
        hidden: Units of the hidden layer.

    Raises:
        InputError: hidden < 1.
    """

    def __init__(self, num_classes: int, image_shape: ImageShape, *, hidden: int = 128) -> None:
        super().__init__()
        if hidden < 1:
            raise InputError(f"hidden must be >= 1, got {hidden}.")
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(image_shape), hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.layers(images)
        return logits
