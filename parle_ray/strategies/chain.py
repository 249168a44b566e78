"""One step of a chain that is held near its anchor, by whichever optimiser."""

import math

from torch import Tensor
from torch.optim import Optimizer

from parle_ray.equations import add_proximal_


def step_near_(y: Tensor, x: Tensor, gamma: float, inner: Optimizer) -> None:
    """`y <- y - lr [ g + (1/gamma)(y - x) ]` (paper, 8a); `y.grad` holds g.

    The pull is a part of the gradient, and so of the momentum, as in the authors' code. Where the
    optimiser divides the gradient by its size, it is not: a step would be as long for the pull
    alone as for both, and leave the chain no way to go. There it stands beside the optimiser, as
    the weight decay of AdamW does (Loshchilov and Hutter, arXiv 1711.05101), with the learning
    rate of the first parameter group.
    """
    assert y.grad is not None
    if not scale_free(inner):
        add_proximal_(y.grad, y, x, gamma)
    elif not math.isinf(gamma):
        y.lerp_(x, inner.param_groups[0]["lr"] / gamma)
    inner.step()


def scale_free(inner: Optimizer) -> bool:
    """Whether an optimiser makes the same steps of a gradient twice as large, as Adam does.

    Told by its settings, which wrappers have as well: what divides has an `eps`, or takes the sign
    of a mean with `betas` (Lion) or steps of its own in `etas` (Rprop).
    """
    return bool({"eps", "betas", "etas"} & inner.param_groups[0].keys())
