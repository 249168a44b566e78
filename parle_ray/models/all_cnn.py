"""All-CNN-C with batch norm, as in the paper's CIFAR experiments."""

from torch import Tensor, nn

from parle_ray.models.checks import ImageShape, check_dropout, check_size


class AllCNN(nn.Module):
    """Nine convolutions, no pool but the last average. 1,667,166 parameters for CIFAR-10.

    3x3: 96, 96, 96 stride 2, 192, 192, 192 stride 2, 192, 192; then 1x1 to the classes; each with
    batch norm and ReLU, the last too; then the mean over the image. As in the authors' code the
    eighth convolution is 3x3 (Springenberg et al. 2015 have 1x1 there, and no batch norm).

    Args:
        num_classes: Outputs.
        image_shape: (C, H, W), H and W >= 4.
        input_dropout: Of the pixels.
        dropout: After each convolution of stride 2. The paper's runs with augmentation set it to 0.

    Raises:
        InputError: the images are too small, or a dropout is no probability.
    """

    def __init__(
        self,
        num_classes: int,
        image_shape: ImageShape,
        *,
        input_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_size("all_cnn", image_shape, 4)
        check_dropout("input_dropout", input_dropout)
        check_dropout("dropout", dropout)
        self.layers = nn.Sequential(
            nn.Dropout(input_dropout),
            *_convolution(image_shape[0], 96),
            *_convolution(96, 96),
            *_convolution(96, 96, stride=2),
            nn.Dropout(dropout),
            *_convolution(96, 192),
            *_convolution(192, 192),
            *_convolution(192, 192, stride=2),
            nn.Dropout(dropout),
            *_convolution(192, 192),
            *_convolution(192, 192),
            *_convolution(192, num_classes, kernel=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.layers(images)
        return logits


def _convolution(
    channels: int, width: int, *, stride: int = 1, kernel: int = 3
) -> tuple[nn.Module, nn.Module, nn.Module]:
    convolution = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2)
    return convolution, nn.BatchNorm2d(width), nn.ReLU()
