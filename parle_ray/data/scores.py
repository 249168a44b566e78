"""Loss and error of labelled examples, the same for every set: a class, or a byte, for a label.

A batch is (x, y) and a network's outputs are logits: x `(B, ...)` -> `(*y.shape, num_classes)`.
"""

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from parle_ray.data.passes import Batch


def loss(module: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy in nats, mean over the labels."""
    x, y = batch
    return cross_entropy(module(x).flatten(0, -2), y.flatten())


def loss_and_error(module: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """`loss`, and the part of the labels that are not the likeliest class."""
    x, y = batch
    logits = module(x).flatten(0, -2)
    wrong = logits.argmax(-1) != y.flatten()
    return cross_entropy(logits, y.flatten()), wrong.float().mean()
