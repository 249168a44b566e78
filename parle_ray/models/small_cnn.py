"""A small convolutional network for small images: what the bundled 8x8 digits are learnt with."""

from torch import Tensor, nn

from parle_ray.models.checks import ImageShape, check_dropout, check_size


class SmallCNN(nn.Module):
    """conv3 16, conv3 32, each with batch norm and ReLU; pool 2; dropout; fc num_classes.

    Args:
        num_classes: Outputs.
        image_shape: (C, H, W), H and W >= 4.
        dropout: Before the last layer.

    Raises:
        InputError: the images are too small, or dropout is no probability.
    """

    def __init__(self, num_classes: int, image_shape: ImageShape, *, dropout: float = 0.25) -> None:
        super().__init__()
        check_size("small_cnn", image_shape, 4)
        check_dropout("dropout", dropout)
        channels, height, width = image_shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(32 * (height // 2) * (width // 2), num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.layers(images)
        return logits
