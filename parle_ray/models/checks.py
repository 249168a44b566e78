"""Checks that the networks share; each error names the network, the value and the rule."""

from parle_ray.errors import InputError

ImageShape = tuple[int, int, int]  # (C, H, W)


def check_size(network: str, image_shape: ImageShape, smallest: int) -> None:
    """Raises InputError where an image is too small for the network's convolutions and pools."""
    _, height, width = image_shape
    if min(height, width) < smallest:
        raise InputError(
            f"{network} takes images of {smallest} x {smallest} or larger, got {height} x {width}. "
            "For the 8 x 8 digits use small_cnn."
        )


def check_dropout(name: str, value: float) -> float:
    """The probability itself, or InputError where it is none."""
    if not 0 <= value < 1:
        raise InputError(f"{name} must be >= 0 and < 1, got {value}.")
    return value
