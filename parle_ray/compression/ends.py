"""Both ends of a run's exchange, in bytes of a codec: the replica's and the master's.

    master -> replicas    Q(reply - known), the same to all; everybody's `known` moves by it
    replica -> master     Q(push - known + residual), or Q(push + residual) of a gradient

A replica that starts, or starts again, is given `known` itself, exactly. Where a round moves but a
stretch of the vector, that stretch of all of these.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from parle_ray.compression.choice import CODECS
from parle_ray.compression.codecs import ChunkedCodec
from parle_ray.compression.links import Pusher, Receiver, Sender, read_push


class ReplicaEnd:
    """A replica's end.

    Args:
        name: of the codec.
        known: what the replica starts from.
        relative: pushes are near the master, and measured from it.
    """

    def __init__(self, name: str, known: Tensor, *, relative: bool) -> None:
        self._receiver = Receiver(_codec(name), known)
        self._pusher = Pusher(_codec(name), known.numel())
        self._relative = relative

    @property
    def known(self) -> Tensor:
        """What this replica knows of the master's reply, `(num_params,)`, float32."""
        return self._receiver.known

    def read(self, code: np.ndarray, part: slice | None = None) -> Tensor:
        """What the master sent, `(num_params,)` or a stretch, to be read before the next one."""
        return self._receiver.receive(code, part)

    def stand_at(self, known: Tensor) -> None:
        """What the master sent uncoded."""
        self._receiver.reset(known)

    def start_again(self) -> None:
        """Owe nothing of what was pushed before."""
        self._pusher.reset()

    def code(self, push: Tensor, part: slice | None = None) -> np.ndarray:
        """A push, of the whole or a stretch, in the form in which it travels."""
        return self._pusher.push(push, self._receiver.known if self._relative else None, part)

    def state_dict(self) -> dict[str, Tensor]:
        """What the next exchange depends on."""
        return self._receiver.state_dict() | self._pusher.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        self._receiver.load_state_dict(state)
        self._pusher.load_state_dict(state)


class MasterEnd:
    """The master's end; arguments as above. Pushes are read into the dtype of `known`."""

    def __init__(self, name: str, known: Tensor, *, relative: bool) -> None:
        self._sender = Sender(_codec(name), known)
        self._codec = _codec(name)
        self._relative = relative
        # A fold reads its first vector again when the second comes.
        self._read, self._before = torch.empty_like(known), torch.empty_like(known)

    @property
    def known(self) -> Tensor:
        """What the replicas know of the master's reply, `(num_params,)`, float32."""
        return self._sender.known

    def wrong(self, code: object, num_params: int) -> str | None:
        """Why this is no code of a push of so many parameters; None if it is one."""
        if not isinstance(code, np.ndarray):
            return f"a {type(code).__name__}, expected a code"
        length, dtype = self._codec.length(num_params), np.dtype(self._codec.array_dtype)
        if code.shape == (length,) and code.dtype == dtype:
            return None
        return f"a code of shape {code.shape} and {code.dtype}, expected ({length},) and {dtype}"

    def read(self, code: np.ndarray, part: slice) -> Tensor:
        """A push, which is a stretch of the whole; it stays until the next but one."""
        self._read, self._before = self._before, self._read
        out = self._read[part]
        if self._relative:
            return read_push(self._codec, code, self.known[part], out)
        return self._codec.decode(code, len(out), out)

    def code(self, reply: Tensor, part: slice | None = None) -> np.ndarray:
        """A reply, of the whole or a stretch, in the form in which it travels."""
        return self._sender.send(reply, part)

    def state_dict(self) -> dict[str, Tensor]:
        """What the next exchange depends on."""
        return self._sender.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        self._sender.load_state_dict(state)


def _codec(name: str) -> ChunkedCodec:
    codec = CODECS[name]()
    assert isinstance(codec, ChunkedCodec), name
    return codec
