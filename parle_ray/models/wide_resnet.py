"""Wide residual networks with dropout (Zagoruyko and Komodakis 2016), the paper's largest nets."""

import torch
from torch import Tensor, nn

from parle_ray.errors import InputError
from parle_ray.models.checks import ImageShape, check_dropout, check_size


class WideResNet(nn.Module):
    """WRN-depth-width: conv 16, three groups of (depth - 4) / 6 blocks, mean over the image, fc.

    The groups have 16, 32 and 64 times `width` channels; the second and third halve the image.

    Args:
        num_classes: Outputs.
        image_shape: (C, H, W), H and W >= 4.
        depth: Convolutions on the longest path, 6 n + 4.
        width: The factor of the channels.
        dropout: Between the two convolutions of a block.

    Raises:
        InputError: depth or width does not exist, the images are too small, or dropout is no
            probability.
    """

    def __init__(
        self,
        num_classes: int,
        image_shape: ImageShape,
        *,
        depth: int,
        width: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise InputError(f"depth must be 6 n + 4 (10, 16, 22, 28, ...), got {depth}.")
        if width < 1:
            raise InputError(f"width must be >= 1, got {width}.")
        check_size(f"wrn_{depth}_{width}", image_shape, 4)
        check_dropout("dropout", dropout)
        channels = 16
        layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False)]
        for group_width, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
            for block in range((depth - 4) // 6):
                layers.append(_Block(channels, group_width, 1 if block else stride, dropout))
                channels = group_width
        self.layers = nn.Sequential(
            *layers,
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> logits (B, num_classes)."""
        logits: Tensor = self.layers(images)
        return logits


class _Block(nn.Module):
    """x + conv(dropout(relu(bn(conv(relu(bn(x))))))), with a 1x1 convolution of relu(bn(x)) in
    place of x where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.shortcut = (
            None
            if channels == width and stride == 1
            else nn.Conv2d(channels, width, 1, stride=stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        entered = self.enter(x)
        kept = x if self.shortcut is None else self.shortcut(entered)
        return torch.add(kept, self.residual(entered))


def wrn_28_10(num_classes: int, image_shape: ImageShape, *, dropout: float = 0.25) -> WideResNet:
    """The paper's network for CIFAR: 36.5 million parameters, dropout 0.25."""
    return WideResNet(num_classes, image_shape, depth=28, width=10, dropout=dropout)


def wrn_16_4(num_classes: int, image_shape: ImageShape, *, dropout: float = 0.4) -> WideResNet:
    """The paper's network for SVHN: 2.7 million parameters, dropout 0.4."""
    return WideResNet(num_classes, image_shape, depth=16, width=4, dropout=dropout)
