"""Several networks as one, which says the mean of their probabilities."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """The mean of the members' probabilities, as log-probabilities, in place of logits.

        log p(c) = log (1/n) sum_a softmax(logits^a)_c

    Args:
        members: networks whose outputs are logits `(..., num_classes)`.
    """

    def __init__(self, members: Iterable[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs as the members take them -> `(..., num_classes)`."""
        told = torch.stack([member(x).log_softmax(-1) for member in self.members])
        return told.logsumexp(0) - math.log(len(self.members))
