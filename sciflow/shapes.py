"""Shapes: the one rule by which a value per sample meets a tensor per element.

Every tensor of a state starts with the batch dimension B. A time, a scale or a mask may have fewer dimensions than the
tensor it acts on; it is then aligned from the left: ``[B]`` or ``[B, N]`` against ``[B, N, F]``.
"""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

PerSample = Float[Tensor, " B"]
Index = Int[Tensor, " B"]
Mask = Bool[Tensor, "B *elements"]


def expand(value: Tensor, like: Tensor) -> Tensor:
    """Return `value` with trailing dimensions of length 1, so that it broadcasts against `like` from the left.

    Args:
        value: Tensor whose shape is a prefix of (or broadcasts to a prefix of) the shape of `like`, e.g. ``[B]``.
        like: Tensor of shape ``[B, ...]``.
    """
    return value.reshape(value.shape + (1,) * (like.dim() - value.dim()))


def per_sample(value: Tensor) -> Tensor:
    """Return the sum over all but the batch dimension: shape ``[B]``."""
    return value.flatten(1).sum(1) if value.dim() > 1 else value
