"""Links: two ends between which differences travel, coded, and what a code loses comes after.

A weight vector hardly changes in a round, so its difference to what the other end knows is small,
and so is half a quantum of it. What was lost is fed back: added to what is sent next, so that the
sum of what arrives stays within one quantum of the sum of what was sent. Error feedback:
Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014; Karimireddy et al.,
arXiv 1901.09847, Algorithm 2 (EF-SGD).

    Sender -> Receiver       the master, to all replicas; both ends keep `known`
    Pusher -> read_push      a replica's push, measured from the master it knows

All vectors are `(num_params,)` on the CPU; `known` and `residual` are float32. A value that is not
finite poisons its block of `known` or `residual` until `reset`. The codec `none` needs no link.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from parle_ray.compression.codecs import CHUNK, ChunkedCodec


class End:
    """What both ends of a link hold.

    Args:
        codec: Q, for this object alone.
        known: what both ends start from, with the same bits.

    Attributes:
        known: what the receivers have. Who joins later starts from it, not from v.
    """

    def __init__(self, codec: ChunkedCodec, known: Tensor) -> None:
        self._codec = codec
        self._delta = torch.empty(CHUNK)
        self.reset(known)

    def reset(self, known: Tensor) -> None:
        """Stand where both ends were put by other means, or where the other end stands."""
        self.known = known.detach().to("cpu", torch.float32, copy=True)

    def state_dict(self) -> dict[str, Tensor]:
        """What the next exchange depends on."""
        return {"known": self.known}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        self.reset(state["known"])


class Sender(End):
    """Sends `Q(v - known)` and moves `known` by what that decodes to, as the receiver does.

    The error needs no vector of its own: it is `v - known`, a part of the next difference.
    """

    def send(self, vector: Tensor, part: slice | None = None) -> np.ndarray:
        """The code that brings the receivers' `known`, or a stretch of it, close to `vector`."""
        vector, all_known = vector.detach().cpu(), self.known[part or slice(None)]
        assert vector.shape == all_known.shape, (vector.shape, all_known.shape)
        array = self._codec.empty(len(vector))
        for place, code in self._codec.chunks(array, len(vector)):
            known = all_known[place]
            delta = torch.sub(vector[place], known, out=self._delta[: len(known)])
            self._codec.encode_chunk(delta, code)
            self._codec.decode_chunk(code, delta)
            known.add_(delta)  # known <- known + Q(v - known)
        return array


class Receiver(End):
    """The other end of a `Sender`: the same `known`, with the same bits."""

    def receive(self, array: np.ndarray, part: slice | None = None) -> Tensor:
        """`known`, or a stretch of it, moved by one code: not a copy, so to be read before the next
        one."""
        all_known = self.known[part or slice(None)]
        for place, code in self._codec.chunks(array, len(all_known)):
            known = all_known[place]
            delta = self._delta[: len(known)]
            self._codec.decode_chunk(code, delta)
            known.add_(delta)
        return all_known


class Pusher:
    """Sends `Q(v - reference + residual)`; `residual` becomes what Q lost of it.

    Args:
        codec: Q, for this object alone.
        num_params: the length of the vectors.

    Attributes:
        residual: what was lost so far and is still to be sent.
    """

    def __init__(self, codec: ChunkedCodec, num_params: int) -> None:
        self.residual = torch.zeros(num_params)
        self._codec = codec
        self._wanted, self._sent = torch.empty(CHUNK), torch.empty(CHUNK)

    def push(
        self, vector: Tensor, reference: Tensor | None = None, part: slice | None = None
    ) -> np.ndarray:
        """The code of `vector`, measured from a reference that the other end has.

        Without one the vector is itself a difference, to be read with `codec.decode`.

        Args:
            part: the stretch of the whole, as the reference is, that the vector is.
        """
        part = part or slice(None)
        vector, owed = vector.detach().cpu(), self.residual[part]
        reference = None if reference is None else reference[part]
        assert vector.shape == owed.shape, (vector.shape, owed.shape)
        array = self._codec.empty(len(vector))
        for place, code in self._codec.chunks(array, len(vector)):
            residual = owed[place]
            wanted, sent = self._wanted[: len(residual)], self._sent[: len(residual)]
            if reference is None:
                torch.add(vector[place], residual, out=wanted)
            else:
                torch.sub(vector[place], reference[place], out=wanted).add_(residual)
            self._codec.encode_chunk(wanted, code)
            self._codec.decode_chunk(code, sent)
            torch.sub(wanted, sent, out=residual)  # e <- (v - reference + e) - Q(...)
        return array

    def reset(self) -> None:
        """Owe nothing: for a replica that starts again from the master."""
        self.residual.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """What the next code depends on."""
        return {"residual": self.residual}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        assert state["residual"].shape == self.residual.shape
        self.residual.copy_(state["residual"])


def read_push(codec: ChunkedCodec, array: np.ndarray, reference: Tensor, out: Tensor) -> Tensor:
    """`out <- reference + Q(v - reference + residual)`: the other end of a `Pusher`."""
    assert reference.shape == out.shape, (reference.shape, out.shape)
    buffer = torch.empty(min(CHUNK, len(out)))
    for place, part in codec.chunks(array, len(out)):
        delta = buffer[: place.stop - place.start]
        codec.decode_chunk(part, delta)
        torch.add(reference[place], delta, out=out[place])
    return out
