"""A small language model on bytes: what the text of Python's own library is learnt with."""

from torch import Tensor, nn
from torch.nn.functional import linear

from parle_ray.errors import InputError
from parle_ray.models.checks import check_dropout

INITIAL_STD = 0.02
"""Of embeddings, as in GPT-2; they are the last layer too, and start it near even odds."""


class ByteLM(nn.Module):
    """A transformer that says the next byte: pre-norm blocks, causal attention, tied embeddings.

    1,040,768 parameters with all defaults and a context of 128. The architecture of Radford et al.
    2019 (GPT-2), built of torch's own layer.

    Args:
        num_classes: Outputs, and inputs: 256.
        context: The longest text it takes.
        width: Of the embeddings; a multiple of `heads`.
        depth: Blocks.
        heads: Of the attention.
        dropout: In the blocks.

    Raises:
        InputError: a size is below 1, the heads do not divide the width, or dropout is no
            probability.
    """

    def __init__(
        self,
        num_classes: int,
        context: int,
        *,
        width: int = 128,
        depth: int = 5,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(width, depth, heads) < 1 or width % heads:
            raise InputError(
                "byte_lm: width must be a multiple of heads and all sizes >= 1, got "
                f"width {width}, heads {heads} and depth {depth}."
            )
        check_dropout("dropout", dropout)
        self.bytes = nn.Embedding(num_classes, width)
        self.places = nn.Embedding(context, width)
        for embedding in (self.bytes, self.places):
            nn.init.normal_(embedding.weight, std=INITIAL_STD)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, text: Tensor) -> Tensor:
        """Bytes (B, T), T <= context -> logits (B, T, num_classes) of the byte after each."""
        length = text.shape[1]
        h = self.bytes(text) + self.places.weight[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(
            length, device=text.device, dtype=h.dtype
        )
        for block in self.blocks:
            h = block(h, src_mask=mask, is_causal=True)
        return linear(self.norm(h), self.bytes.weight)
