"""The processes of a replica as threads, which exchange copies of their tensors."""

import queue
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from parle_ray.team.base import TeamBroken
from tests.fake_ray import Killed, me


class Meeting:
    """Where the threads of a replica meet; it has a port of its own, as a store has."""

    opened: list["Meeting"] = []  # noqa: RUF012

    def __init__(self, size: int) -> None:
        Meeting.opened.append(self)
        self.port = len(Meeting.opened) - 1
        self.boxes: dict[Any, queue.Queue[Tensor | None]] = {
            (source, target): queue.Queue() for source in range(size) for target in range(size)
        }


class ThreadGroup:
    """Stands in for `TorchGroup`; a thread of a process that is killed goes no further."""

    def __init__(self, meeting: Meeting, index: int, size: int, device: torch.device) -> None:
        self.index, self.size, self._boxes = index, size, meeting.boxes

    def swap(self, gives: Sequence[Tensor], takes: Sequence[Tensor]) -> None:
        for other in range(self.size):
            if other != self.index and gives[other].numel():
                self._give(other, gives[other])
        for other in range(self.size):
            if other != self.index and takes[other].numel():
                self._take(other, takes[other])

    def broadcast(self, tensor: Tensor) -> None:
        if self.index:
            self._take(0, tensor)
            return
        for other in range(1, self.size):
            self._give(other, tensor)

    def send(self, tensor: Tensor, other: int) -> Callable[[], None]:
        self._give(other, tensor)
        return lambda: None

    def receive(self, tensor: Tensor, other: int) -> None:
        self._take(other, tensor)

    def leave(self) -> None:
        for other in range(self.size):
            self._boxes[self.index, other].put(None)

    def _give(self, other: int, tensor: Tensor) -> None:
        if me().dead:
            self.leave()
            me().count()
        self._boxes[self.index, other].put(tensor.clone())

    def _take(self, other: int, tensor: Tensor) -> None:
        got = self._boxes[other, self.index].get()
        if me().dead:  # what it would ask of Ray may be after the test, and of the real one
            raise Killed
        if got is None:
            raise TeamBroken("connection closed by peer")
        tensor.copy_(got)
