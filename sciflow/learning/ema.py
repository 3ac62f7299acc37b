"""Exponential moving average of the weights, with a warm start.

    decay_k = min(decay, (1 + k) / (10 + k)) at update k, average <- decay_k average + (1 - decay_k) weights

Reference: the warm start of score_sde (Song et al., arXiv:2011.13456), also used by GDSS.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import expected


class EMA:
    """Running average of the parameters of a module.

    Args:
        module: The module to follow.
        decay: Final decay, in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise expected("EMA decay", decay, "a number in [0, 1)")
        self.decay = decay
        self.updates = 0
        self.average = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take in the present weights."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, parameter in module.named_parameters():
            self.average[name].lerp_(parameter.detach(), 1 - decay)

    @torch.no_grad()
    def load(self, average: dict[str, Tensor], updates: int) -> None:
        """Go on from a saved average."""
        self.updates = updates
        for name, value in self.average.items():
            value.copy_(average[name])
