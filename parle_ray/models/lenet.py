"""The paper's LeNet for MNIST: two 5x5 convolutions and a hidden layer, batch-normalised."""

from torch import Tensor, nn

from parle_ray.models.checks import ImageShape, check_dropout, check_size


class LeNet(nn.Module):
    """conv5 20, pool 3; conv5 50, pool 2; fc 500; fc num_classes. 132,220 parameters for MNIST.

    Each layer but the last is followed by batch norm, (the pool,) ReLU and dropout. The pool comes
    before the ReLU, which is the same function, since both keep order, at a ninth of the work.

    Args:
        num_classes: Outputs.
        image_shape: (C, H, W), H and W >= 22.
        dropout: After each of the three hidden layers.

    Raises:
        InputError: the images are too small, or dropout is no probability.
    """

    def __init__(self, num_classes: int, image_shape: ImageShape, *, dropout: float = 0.25) -> None:
        super().__init__()
        check_size("lenet", image_shape, 22)
        check_dropout("dropout", dropout)
        channels, height, width = image_shape
        num_features = 50 * _after_convolutions(height) * _after_convolutions(width)
        self.layers = nn.Sequential(
            *_convolution(channels, 20, 3, dropout),
            *_convolution(20, 50, 2, dropout),
            nn.Flatten(),
            nn.Linear(num_features, 500),
            nn.BatchNorm1d(500),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(500, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.layers(images)
        return logits


def _convolution(channels: int, width: int, pool: int, dropout: float) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, 5),
        nn.BatchNorm2d(width),
        nn.MaxPool2d(pool),
        nn.ReLU(),
        nn.Dropout(dropout),
    ]


def _after_convolutions(size: int) -> int:
    return ((size - 4) // 3 - 4) // 2
