"""Packed states as JSON and arrays beside it, and back: what a checkpoint's files hold."""

from typing import Any

import numpy as np

from parle_ray.cluster.wire import Packed
from parle_ray.errors import InputError, StorageError, printable


def take_arrays(tree: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    """The tree as JSON, its arrays moved to `arrays` under the names of their paths.

    Raises:
        StorageError: names the part that JSON cannot hold.
    """
    if isinstance(tree, Packed):
        arrays[path] = np.array(tree.array, order="C")
        return {"$tensor": path, "dtype": tree.dtype}
    if isinstance(tree, dict):
        pairs = [[key, take_arrays(tree[key], f"{path}/{key}", arrays)] for key in tree]
        return {"$dict": pairs}
    if isinstance(tree, list | tuple):
        items = [take_arrays(item, f"{path}/{i}", arrays) for i, item in enumerate(tree)]
        return {"$tuple": items} if isinstance(tree, tuple) else items
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise StorageError(
        f"checkpoint: {path} is a {type(tree).__name__}, which JSON cannot hold; states may have "
        "tensors, numbers, strings, lists, tuples and dicts"
    )


def put_arrays(skeleton: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The tree again.

    Raises:
        InputError: an array is not of the dtype that the skeleton says.
        KeyError, TypeError, ValueError: it is no skeleton, or not that of these arrays.
    """
    if isinstance(skeleton, list):
        return [put_arrays(item, arrays) for item in skeleton]
    if isinstance(skeleton, dict) and "$tensor" in skeleton:
        return _packed(arrays[skeleton["$tensor"]], skeleton["dtype"])
    if isinstance(skeleton, dict) and "$dict" in skeleton:
        return {key: put_arrays(value, arrays) for key, value in skeleton["$dict"]}
    if isinstance(skeleton, dict):
        return tuple(put_arrays(item, arrays) for item in skeleton["$tuple"])
    return skeleton


def _packed(array: np.ndarray, dtype: Any) -> Packed:
    """bfloat16 travels as int16; every other dtype has the name that NumPy gives it."""
    if dtype != array.dtype.name and (dtype, array.dtype.name) != ("bfloat16", "int16"):
        raise InputError(f"an array of {array.dtype} is said to be {printable(dtype)}")
    return Packed(array, dtype)
