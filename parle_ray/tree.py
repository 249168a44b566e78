"""A tree of two levels: what consecutive ranks push is folded as a group, then the groups.

A group can be folded where its replicas live, so that a master sees one vector of each. Who is in
which group depends on the ranks alone, and so do the bits.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from parle_ray.errors import InputError
from parle_ray.fold import Fold, Pushed, Term

Push = TypeVar("Push")


@dataclass(frozen=True)
class Elsewhere:
    """A push of the right form that is not in this process.

    Attributes:
        where: for whoever has it folded.
    """

    where: Any


@dataclass(frozen=True)
class Group:
    """What a group pushed in a round; a push that is in none of the lists was lost.

    Attributes:
        pushed: what was finite of it, folded; None if nothing was.
        merged: the ranks that are in `pushed`.
        refused: the ranks whose push is not finite.
    """

    pushed: Pushed | None
    merged: list[int]
    refused: list[int]


def check_tree(tree: object, compression: str, shards: int = 1) -> None:
    """Refuse what is no size of a group, and what a tree does not go with.

    Raises:
        InputError: names `tree`, and what to change.
    """
    if tree is None:
        return
    if isinstance(tree, bool) or not isinstance(tree, int) or tree < 1:
        raise InputError(
            f"tree must be a whole number >= 1, such as the replicas on a node, or None, "
            f"got {tree!r}"
        )
    if compression != "none":
        raise InputError(
            f"tree: {tree} with compression={compression!r}: codes cannot be folded before the "
            "coordinator reads them; use tree=None or compression='none'"
        )
    if shards > 1:
        raise InputError(
            f"tree: {tree} with shards={shards}: the coordinator's work is divided by groups or by "
            "stretches of the vector, not both; use tree=None or shards=1"
        )


def grouped(pushes: Mapping[int, Push], size: int) -> dict[int, dict[int, Push]]:
    """Pushes by group and rank, in order; group i has the ranks from `size * i` on."""
    groups: dict[int, dict[int, Push]] = {}
    for rank in sorted(pushes):
        groups.setdefault(rank // size, {})[rank] = pushes[rank]
    return groups


def fold_group(
    fold: Fold, num_params: int, pushes: Mapping[int, Tensor], terms: Mapping[int, Term]
) -> Group:
    """Fold pushes in the order of their ranks; the mean lies in the memory of `fold`.

    Args:
        num_params: how long the mean is.
        terms: of the pushes, by rank.
    """
    fold.begin(num_params)
    merged: list[int] = []
    refused: list[int] = []
    for rank in sorted(pushes):
        term = terms[rank]
        is_in = fold.add(pushes[rank], term.weight, numbers=term.numbers, place=term.place)
        (merged if is_in else refused).append(rank)
    return Group(fold.close() if merged else None, merged, refused)


def fold_groups(
    num_params: int, groups: Mapping[int, Mapping[int, Tensor]], terms: Mapping[int, Term]
) -> Iterator[Group]:
    """Each group, folded when it is asked for, in memory of its own."""
    for pushes in groups.values():
        fold = Fold(next(iter(pushes.values()))[:0])
        yield fold_group(fold, num_params, pushes, terms)
