"""The packed states of a run; a master's from those of its shards and back.

A checkpoint knows no shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from parle_ray.cluster.wire import Packed
from parle_ray.share import Share, put_together

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


def join_states(states: Sequence[Any], shares: Sequence[Share] | None = None) -> Any:
    """The state of the whole, from those of its stretches in their order, or of such shares."""
    first = states[0]
    joined = {name: _join([state[name] for state in states], shares) for name in VECTORS}
    inner = first["inner"]
    if inner is not None:  # under the names of the whole
        own = [state["inner"]["state"] for state in states]
        names = {name: None for state in own for name in state}
        inner = inner | {"state": {n: _rows([s[n] for s in own if n in s]) for n in names}}
    if "buffers" in first:  # of layers that several have, the first's
        joined["buffers"] = {k: v for s in reversed(states) for k, v in s["buffers"].items()}
    return first | joined | {"inner": inner}


def told_by_reply(roll: dict[str, Any], stretches: Sequence[Packed]) -> Any:
    """The state of a master that has no past beside its vector, or whose past is lost."""
    nothing: dict[str, Any] = {"strategy": {}, "inner": None, "scheduler": None, "end": {}}
    return roll | nothing | {"vector": _join(stretches)}


def cut_state(state: Any, part: slice) -> Any:
    """The state of a stretch, as views of the whole's; what is no vector is left whole."""
    return state | {name: _cut(state[name], part) for name in VECTORS}


def owned(state: Any) -> Any:
    """The state, with its vectors in memory of their own."""
    return state | {name: _copy(state[name]) for name in VECTORS}


def moved_on(state: Any, news: Any, part: slice) -> Any:
    """The state in which a stretch is another, in the memory of the first, which is owned."""
    return news | {name: _put(state[name], news[name], part) for name in VECTORS}


def _join(trees: Sequence[Any], shares: Sequence[Share] | None = None) -> Any:
    first = trees[0]
    if isinstance(first, dict):
        return {key: _join([tree[key] for tree in trees], shares) for key in first}
    if len(trees) == 1 or not isinstance(first, Packed) or first.array.ndim == 0:
        return first  # a number that all know
    arrays = [tree.array for tree in trees]
    whole = put_together(arrays, shares) if shares else np.concatenate(arrays)
    return Packed(whole, first.dtype)


def _rows(slots: Sequence[Any]) -> Any:
    """What an optimiser has of a parameter, from those who have it, or some of its rows each."""
    if len(slots) == 1:
        return slots[0]
    return {key: _join([slot[key] for slot in slots]) for key in slots[0]}


def _cut(tree: Any, part: slice) -> Any:
    if isinstance(tree, dict):
        return {key: _cut(value, part) for key, value in tree.items()}
    return Packed(tree.array[part], tree.dtype) if tree.array.ndim else tree


def _copy(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _copy(value) for key, value in tree.items()}
    return Packed(tree.array.copy(), tree.dtype)


def _put(tree: Any, news: Any, part: slice) -> Any:
    if isinstance(tree, dict):
        return {key: _put(value, news[key], part) for key, value in tree.items()}
    if not tree.array.ndim:
        return news
    tree.array[part] = news.array
    return tree
