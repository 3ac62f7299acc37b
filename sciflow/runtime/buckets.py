"""Buckets: the samples of a batch, parted by size, so that little of what a network computes is padding.

A batch is as wide as its largest sample. Where more than a fifth of it would be padding it is made in pieces of like
size, each as wide as its own largest; no sample is another for it, since none depends on its batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..state import Frame

_SHARE = 0.8
"""A batch with at least this share of real elements stays whole."""
_LEAST = 32
"""Samples in a piece: with fewer the calls cost more than the padding."""


def pieces(frame: Frame, count: int, least: int = _LEAST) -> list[Tensor]:
    """Part a batch by size.

    Args:
        frame: Its frame.
        count: Samples in it.
        least: Least number of samples in a piece.

    Returns:
        Places of the samples of each piece, int64, all in all each place once; one piece where parting is not worth it.
    """
    whole = [torch.arange(count)]
    if not frame.masks or count < 2 * least:
        return whole
    # The widest component decides: pairs, where there are nodes and pairs.
    mask = max((m.flatten(1) for m in frame.masks.values()), key=lambda m: m.shape[1]).cpu()
    sizes = mask.sum(1)
    if float(sizes.sum()) >= _SHARE * mask.numel():
        return whole
    return list(sizes.argsort(stable=True).tensor_split(count // least))


__all__ = ["pieces"]
