"""Block quantisation: whole numbers of a few bits, and a scale for each 1024 of them.

In each block `scale = max |v| / top` and `q = round(v / scale)`; what comes out is `q scale`, at
most half a scale away. After Dettmers et al., arXiv 2110.02861, section 2.1, with evenly spaced
levels. A chunk's code is its scales, in float32, and then its q.

A block with a NaN or an infinity in it has a scale that is not finite either, so that nothing in
it comes out as a finite number, and whoever looks for such numbers still finds them.

torch works on floats here and NumPy on bytes, over the same memory: each is the faster at it.
"""

from abc import abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from parle_ray.compression.codecs import CHUNK, ChunkedCodec

BLOCK = 1024
"""Values that share a scale: its 4 bytes are 0.8 % of a code of half a byte a value."""
HALF = BLOCK // 2
SMALLEST_SCALE = 2.0**-122
"""Any less and `1 / scale` would be infinite, or `scale / 16` not exact."""
ROUNDER = torch.full((1, BLOCK), 1.5 * 2**23)
"""Added to a float32 below 2^22 it rounds it to a whole number, which its low bits then are."""


class Workspace:
    """Buffers for a number of blocks: tensors, and the same memory as arrays."""

    def __init__(self, rows: int) -> None:
        self.values = torch.zeros(rows, BLOCK)
        self.scaled = torch.empty(rows, BLOCK)
        self.bits = self.scaled.view(torch.int32)
        self.factors = torch.empty(rows, 1)
        self.factors_array = self.factors.numpy()
        self.scales = np.empty((rows, 1), np.float32)
        self.q = torch.empty(rows, BLOCK, dtype=torch.int8)
        self.q_array = self.q.numpy()
        self.pairs = np.empty((rows, HALF), np.int8)

    def fill(self, values: Tensor) -> Tensor:
        """The values in float32, and zeros after the last."""
        flat = self.values.view(-1)
        flat[: len(values)] = values
        flat[len(values) :] = 0.0
        return self.values


class BlockCodec(ChunkedCodec):
    """What int8 and int4 share: scales, and a last block that is not full.

    Attributes:
        top: the largest |q|.
        width: bytes a block.
    """

    array_dtype = np.uint8
    top: ClassVar[int]
    width: ClassVar[int]

    def __init__(self) -> None:
        self._workspaces: dict[int, Workspace] = {}
        # A scale that was rounded up would make the largest float infinite.
        largest = np.float32(np.finfo(np.float32).max / self.top)
        self._largest = np.nextafter(largest, np.float32(0.0))

    @abstractmethod
    def pack(self, work: Workspace) -> np.ndarray:
        """The bytes `(rows, width)` of `work.q`."""

    @abstractmethod
    def unpack(self, payload: np.ndarray, work: Workspace, out: Tensor) -> None:
        """`q scale`, `(rows, BLOCK)`, of bytes `(rows, width)` and the scales in `work.factors`."""

    def length(self, num_params: int) -> int:
        full, rest = divmod(num_params, BLOCK)
        # The last block may end early: the bytes left out are zeros.
        return 4 * (full + (rest > 0)) + full * self.width + min(rest, self.width)

    def encode_chunk(self, values: Tensor, array: np.ndarray) -> None:
        work = self._workspace(len(values))
        rows = len(work.scales)
        direct = len(values) == rows * BLOCK and values.dtype == torch.float32
        blocks = values.reshape(rows, BLOCK) if direct else work.fill(values)
        torch.amax(torch.abs(blocks, out=work.scaled), 1, keepdim=True, out=work.factors)
        np.divide(work.factors_array, self.top, out=work.scales)
        np.maximum(work.scales, SMALLEST_SCALE, out=work.scales)  # of NaN it is NaN
        np.minimum(work.scales, self._largest, out=work.scales, where=np.isfinite(work.scales))
        np.divide(1.0, work.scales, out=work.factors_array)
        torch.addcmul(ROUNDER, blocks, work.factors, out=work.scaled)
        work.q.copy_(work.bits)
        array[: 4 * rows] = work.scales.reshape(-1).view(np.uint8)
        payload = array[4 * rows :].view(np.int8)
        payload[:] = self.pack(work).reshape(-1)[: len(payload)]

    def decode_chunk(self, array: np.ndarray, out: Tensor) -> None:
        work = self._workspace(len(out))
        rows = len(work.scales)
        work.factors_array[:, 0] = array[: 4 * rows].view(np.float32)
        payload = array[4 * rows :].view(np.int8)
        if len(out) == rows * BLOCK:
            self.unpack(payload.reshape(rows, self.width), work, out.view(rows, BLOCK))
            return
        whole = np.zeros((rows, self.width), np.int8)
        whole.reshape(-1)[: len(payload)] = payload
        self.unpack(whole, work, work.values)
        out.copy_(work.values.view(-1)[: len(out)])

    def _workspace(self, num_values: int) -> Workspace:
        assert 0 < num_values <= CHUNK, num_values
        rows = -(-num_values // BLOCK)
        if rows not in self._workspaces:
            self._workspaces[rows] = Workspace(rows)
        return self._workspaces[rows]


class Int8(BlockCodec):
    """One byte a value, -127 to 127."""

    name = "int8"
    top = 127
    width = BLOCK

    def pack(self, work: Workspace) -> np.ndarray:
        return work.q_array

    def unpack(self, payload: np.ndarray, work: Workspace, out: Tensor) -> None:
        np.copyto(out.numpy(), payload)
        out.mul_(work.factors)


class Int4(BlockCodec):
    """Half a byte a value, -7 to 7: `low + 16 high`, each half of the block on one side."""

    name = "int4"
    top = 7
    width = HALF

    def pack(self, work: Workspace) -> np.ndarray:
        np.multiply(work.q_array[:, HALF:], 16, out=work.pairs)
        np.add(work.pairs, work.q_array[:, :HALF], out=work.pairs)
        return work.pairs

    def unpack(self, payload: np.ndarray, work: Workspace, out: Tensor) -> None:
        # 16 low and 16 high need no shift, and a sixteenth of the scale is exact.
        pairs, values = work.pairs, out.numpy()
        np.multiply(payload, 16, out=pairs)  # modulo 256 it loses high
        np.copyto(values[:, :HALF], pairs)
        np.add(payload, 8, out=pairs)  # low + 8 is 1 to 15: it borrows nothing from high
        np.bitwise_and(pairs, -16, out=pairs)
        np.copyto(values[:, HALF:], pairs)
        work.factors_array /= 16
        out.mul_(work.factors)
