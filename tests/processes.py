"""Real processes of one replica, with gloo between them, which do what a test asks of them."""

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch

from parle_ray.team.group import TorchGroup, find_store, open_store

CONTEXT = multiprocessing.get_context("spawn")


class Processes:
    """So many processes; called with a function and arguments, what it comes to in each.

    The function is one of a module, and is given the process's group first.
    """

    def __init__(self, size: int) -> None:
        self._ports, self._said = CONTEXT.Queue(), CONTEXT.Queue()
        self._asked = [CONTEXT.Queue() for _ in range(size)]
        self._all = [
            CONTEXT.Process(
                target=_serve,
                args=(index, size, self._ports, self._asked[index], self._said),
                daemon=True,
            )
            for index in range(size)
        ]
        for one in self._all:
            one.start()

    def __call__(self, work: Callable[..., Any], *args: Any) -> list[Any]:
        for queue in self._asked:
            queue.put((work, args))
        said: dict[int, Any] = {}
        for _ in self._all:
            index, outcome = self._said.get(timeout=200.0)
            said[index] = outcome
        for outcome in said.values():
            if isinstance(outcome, Exception):
                raise outcome
        return [said[index] for index in sorted(said)]

    def end(self) -> None:
        for one in self._all:
            one.kill()
            one.join()


def _serve(index: int, size: int, ports: Any, asked: Any, said: Any) -> None:
    torch.set_num_threads(1)
    store = open_store(size) if index == 0 else find_store(ports.get(), size)
    for _ in range(size - 1 if index == 0 else 0):
        ports.put(store.port)
    group = TorchGroup(store, index, size, torch.device("cpu"))
    while True:
        work, args = asked.get()
        try:
            said.put((index, work(group, *args)))
        except Exception as error:
            said.put((index, error))
