"""The packed states of a run; a master's from those of its shards and back.

A checkpoint knows no shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parle_ray.cluster.wire import Packed

VECTORS = ("vector", "strategy", "end")
"""The entries of `Master.state_dict` that are vectors, or dicts of them."""


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Packed states of an earlier run (see `wire.pack_tree`), by which this one goes on.

    Attributes:
        round: rounds closed.
    """

    round: int
    master: Any
    replicas: dict[int, Any]


def join_states(states: Sequence[Any]) -> Any:
    """The state of the whole, from those of its stretches in their order."""
    first = states[0]
    joined = {name: _join([state[name] for state in states]) for name in VECTORS}
    inner = first["inner"]
    if inner is not None:  # each has that of its own parameters, under the names of the whole
        own = [state["inner"]["state"].items() for state in states]
        inner = inner | {"state": {name: value for items in own for name, value in items}}
    return first | joined | {"inner": inner}


def told_by_reply(roll: dict[str, Any], stretches: Sequence[Packed]) -> Any:
    """The state of a master that has no past beside its vector, or whose past is lost."""
    nothing: dict[str, Any] = {"strategy": {}, "inner": None, "scheduler": None, "end": {}}
    return roll | nothing | {"vector": _join(stretches)}


def cut_state(state: Any, part: slice) -> Any:
    """The state of a stretch, as views of the whole's; what is no vector is left whole."""
    return state | {name: _cut(state[name], part) for name in VECTORS}


def _join(trees: Sequence[Any]) -> Any:
    first = trees[0]
    if isinstance(first, dict):
        return {key: _join([tree[key] for tree in trees]) for key in first}
    if len(trees) == 1 or first.array.ndim == 0:  # a number that all know
        return first
    return Packed(np.concatenate([tree.array for tree in trees]), first.dtype)


def _cut(tree: Any, part: slice) -> Any:
    if isinstance(tree, dict):
        return {key: _cut(value, part) for key, value in tree.items()}
    return Packed(tree.array[part], tree.dtype)
