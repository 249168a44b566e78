"""torch's process group between the processes of a replica: real ones, with gloo."""

import multiprocessing
import os
from typing import Any

import pytest
import torch
from torch import Tensor

from parle_ray.team.base import Alone, Team, TeamBroken, Together
from parle_ray.team.group import TorchGroup, find_store, open_store

SIZE = 3
CONTEXT = multiprocessing.get_context("spawn")


def gradient_of(team: Team) -> Tensor:
    """The mean of rows of very different sizes, whose sum depends on its order."""
    rows = torch.randn(7, 1000, generator=torch.Generator().manual_seed(0))
    rows *= torch.logspace(-4, 4, 7)[:, None]
    gradient = torch.zeros(1000)

    def backward(part: Tensor) -> Tensor:
        gradient.add_(part.mean(0))
        return part.sum()

    team.gradient(gradient, rows, backward)
    return gradient


def member(index: int, how: str, ports: Any, said: Any, end: Any) -> None:
    """A process; the last one dies, or leaves, after a step."""
    torch.set_num_threads(1)
    store = open_store(SIZE) if index == 0 else find_store(ports.get(), SIZE)
    for _ in range(SIZE - 1 if index == 0 else 0):
        ports.put(store.port)
    group = TorchGroup(store, index, SIZE, torch.device("cpu"))
    team = Together(group)
    said.put((index, gradient_of(team).numpy()))
    if index == SIZE - 1:
        if how == "dies":
            said.close()
            said.join_thread()
            os._exit(9)
        group.leave()
        end.wait()
        return
    try:
        gradient_of(team)
    except TeamBroken as error:
        said.put((index, str(error)))
    end.wait()


@pytest.mark.nightly
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", ["dies", "leaves"])
def test_processes_have_the_bits_of_one_and_notice_at_once_who_is_gone(how: str) -> None:
    ports, said, end = CONTEXT.Queue(), CONTEXT.Queue(), CONTEXT.Event()
    everybody = [
        CONTEXT.Process(target=member, args=(index, how, ports, said, end), daemon=True)
        for index in range(SIZE)
    ]
    for one in everybody:
        one.start()
    expected = gradient_of(Alone(SIZE))
    told = [said.get() for _ in range(2 * SIZE - 1)]
    broken = {index: what for index, what in told if isinstance(what, str)}
    gradients = {index: what for index, what in told if not isinstance(what, str)}
    assert set(gradients) == {0, 1, 2}
    assert all((gradient == expected.numpy()).all() for gradient in gradients.values())
    assert set(broken) == {0, 1}
    assert all("Connection" in text or "reset" in text for text in broken.values()), broken
    end.set()
    for one in everybody:
        one.join()
    assert [one.exitcode for one in everybody] == [0, 0, 9 if how == "dies" else 0]
