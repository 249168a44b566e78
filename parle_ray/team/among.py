"""Some processes of a replica, of which each may be in more than one such circle."""

from collections.abc import Callable, Sequence

from torch import Tensor

from parle_ray.team.base import Group


class Among:
    """Some of a group, with indices of their own; to the others nothing is said.

    Args:
        group: all of them.
        members: their indices there, this process's among them.
    """

    def __init__(self, group: Group, members: range) -> None:
        self._group, self._members = group, members
        self.index, self.size = members.index(group.index), len(members)

    def swap(self, gives: Sequence[Tensor], takes: Sequence[Tensor]) -> None:
        """See `Group.swap`."""
        self._group.swap(self._of_all(gives), self._of_all(takes))

    def send(self, tensor: Tensor, other: int) -> Callable[[], None]:
        """See `Group.send`."""
        return self._group.send(tensor, self._members[other])

    def receive(self, tensor: Tensor, other: int) -> None:
        """See `Group.receive`."""
        self._group.receive(tensor, self._members[other])

    def _of_all(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        everyones = [tensors[0][:0]] * self._group.size
        for member, tensor in zip(self._members, tensors, strict=True):
            everyones[member] = tensor
        return everyones
