"""Networks for replicas of several processes: a real one, and one to see how much each keeps."""

import gc
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from parle_ray.cluster.wire import pack_tree, unpack_tree
from parle_ray.learner import Learner
from parle_ray.models.lenet import LeNet
from parle_ray.replica import Reply
from parle_ray.task import Task

WIDTH = 512
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)


def wide() -> nn.Module:
    """Eight equal layers."""
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(8)))


def few(rank: int, num_replicas: int) -> Any:
    """Mini-batches that need little room."""
    return [(torch.ones(2, WIDTH), torch.ones(2, WIDTH))]


def lenet() -> nn.Module:
    """With dropout and batch norm."""
    return LeNet(10, (1, 28, 28))


def images(rank: int, num_replicas: int) -> list[tuple[Tensor, Tensor]]:
    """Of noise, in a number that cannot be halved."""
    random = torch.Generator().manual_seed(3)
    return [
        (torch.randn(33, 1, 28, 28, generator=random), torch.randint(10, (33,), generator=random))
        for _ in range(3)
    ]


def cross_entropy(module: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(module(batch[0]), batch[1])


LENET: dict[str, Any] = {
    "model_fn": lenet,
    "loss_fn": cross_entropy,
    "batches_fn": images,
    "inner_optimizer_fn": SGD,
}


def begin(learner: Learner, ours: Task, first: int = 0, state: Any = None) -> Learner:
    """From a line of parameters, or where a packed state was written."""
    learner.start(ours, first, torch.linspace(-1.0, 1.0, sum(learner.sizes)))
    if state is not None:
        learner.load_state_dict(unpack_tree(state))
    return learner


def two_rounds(learner: Learner, first: int) -> tuple[list[Tensor], list[float], Any]:
    """What a replica pushes that is told to be on that line, its losses, and its packed state."""
    team, reply = learner.team, Reply(torch.linspace(-1.0, 1.0, sum(learner.sizes)))
    pushes, losses = [], []
    for round in range(first, first + 2):
        answer = learner.play(round, lambda: reply if team.leads else team.hear(learner.vector))
        assert isinstance(answer.push, Tensor)
        pushes.append(answer.push.clone())
        losses.append(answer.loss)
    return pushes, losses, pack_tree(learner.state_dict(), copy=True)


def rounds(learner: Learner) -> list[Any]:
    """What a replica pushes in three rounds, and its losses."""
    team, master = learner.team, torch.linspace(-0.1, 0.1, sum(learner.sizes))
    told: list[Any] = []
    for round in range(3):
        answer = learner.play(
            round, lambda: Reply(master) if team.leads else team.hear(learner.vector)
        )
        assert isinstance(answer.push, Tensor)
        told += [answer.push.clone().numpy(), answer.loss]
    return told


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
