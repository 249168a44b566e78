"""Which codec pays on a link: by name, or by the times measured on this machine."""

import time
from collections.abc import Callable, Mapping

import torch

from parle_ray.compression.blocks import Int4, Int8
from parle_ray.compression.codecs import Bfloat16, ChunkedCodec, Codec, Exact
from parle_ray.compression.links import Receiver, Sender
from parle_ray.errors import InputError, nearest

CODECS: dict[str, type[Codec]] = {codec.name: codec for codec in (Exact, Bfloat16, Int8, Int4)}
NAMES = (*CODECS, "auto")
WORTH = 0.8
"""A codec must need less than this part of the time of `none`: exactness is worth something."""
SAMPLE = 1 << 20
"""Values timed: more than a cache holds, and too few to be interrupted every time."""


def check_compression(name: object) -> str:
    """A name of `NAMES`.

    Raises:
        InputError: there is no such codec.

    >>> check_compression("int8")
    'int8'
    """
    if not isinstance(name, str) or name not in NAMES:
        raise InputError(
            f"compression must be one of {', '.join(NAMES)}; got {name!r}."
            f"{nearest(str(name), NAMES)}"
        )
    return name


def choose(
    num_params: int,
    link_bytes_per_s: float,
    speeds: Mapping[str, float],
    dtype: torch.dtype = torch.float32,
) -> str:
    """The codec with the least `encode + bytes/link + decode`, if that is `WORTH` it.

    Args:
        num_params: the length of the vector.
        link_bytes_per_s: what the link carries.
        speeds: seconds a parameter to encode and decode, by codec (see `measure`).
        dtype: of the vector, which `none` sends as it is.

    >>> speeds = {"none": 0.0, "bf16": 1e-9, "int8": 2e-9, "int4": 2e-9}
    >>> choose(10_000_000, 125e6, speeds)  # 1 Gbit/s
    'int4'
    >>> choose(10_000_000, 10e9, speeds)
    'none'
    """
    assert link_bytes_per_s > 0.0, link_bytes_per_s
    seconds = {}
    for name, speed in speeds.items():
        travel = CODECS[name]().encoded_bytes(num_params, dtype) / link_bytes_per_s
        seconds[name] = num_params * speed + travel
    best = min(seconds, key=seconds.__getitem__)
    return best if seconds[best] < WORTH * seconds["none"] else "none"


def measure(num_params: int, repeats: int = 7) -> dict[str, float]:
    """Seconds a parameter to encode and decode, by codec; for `choose`.

    What loses something is timed as it is used, with its `Sender` and `Receiver`; the times of
    `none` are those of one copy. The best of a few, on the CPU, with torch's threads as they are.
    """
    length = min(num_params, SAMPLE)
    vector = torch.randn(length, generator=torch.Generator().manual_seed(0))
    return {name: _best(_exchange(kind, vector), repeats) / length for name, kind in CODECS.items()}


def _exchange(kind: type[Codec], vector: torch.Tensor) -> Callable[[], object]:
    codec = kind()
    if not isinstance(codec, ChunkedCodec):
        out = torch.empty_like(vector)
        return lambda: codec.decode(codec.encode(vector), len(vector), out)
    known = torch.zeros_like(vector)
    sender, receiver = Sender(codec, known), Receiver(codec, known)
    return lambda: receiver.receive(sender.send(vector))


def _best(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return min(times)
