"""A network of which one can see how much of it a process keeps."""

import gc
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from parle_ray.learner import Learner
from parle_ray.replica import Reply

WIDTH = 512
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def wide() -> nn.Module:
    """Eight equal layers."""
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(8)))


def few(rank: int, num_replicas: int) -> Any:
    """Mini-batches that need little room."""
    return [(torch.ones(2, WIDTH), torch.ones(2, WIDTH))]


def after_a_round(learner: Learner) -> tuple[int, int]:
    """How many values all tensors of this process have, and the longest."""
    team, num_params = learner.team, sum(learner.sizes)
    learner.play(
        0, lambda: Reply(torch.zeros(num_params)) if team.leads else team.hear(learner.vector)
    )
    gc.collect()
    tensors = [it for it in gc.get_objects() if type(it) in (Tensor, nn.Parameter)]
    tensors += [it.to_local() for it in gc.get_objects() if type(it) is DTensor]
    sizes = {it.untyped_storage().data_ptr(): it.untyped_storage().nbytes() // 4 for it in tensors}
    return sum(sizes.values()), max(sizes.values())
