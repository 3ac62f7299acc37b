"""Labels: an element as its place in the list of those that a model knows, and facts about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from . import elements

_NOBLE = (0, 2, 10, 18, 36, 54, 86)  # the atomic numbers before each period


def facts(numbers: Sequence[int]) -> list[list[float]]:
    """Return facts about elements: electronegativity, radius, period and place in it, each of mean 0 and variance 1.

    Args:
        numbers: Atomic numbers; what the tables do not know becomes the mean.
    """
    rows = []
    for z in numbers:
        period = sum(z > noble for noble in _NOBLE)
        rows.append(
            (
                elements.ELECTRONEGATIVITIES[z - 1],
                elements.RADII[z - 1],
                period,
                z - _NOBLE[period - 1],
            )
        )
    values = torch.tensor(rows, dtype=torch.float64)
    mean = values.nanmean(0)
    centred = (values - mean).nan_to_num()
    return (centred / centred.std(0, correction=0).clamp_min(1e-6)).tolist()


def labels_of(species: Tensor, numbers: Sequence[int]) -> Tensor:
    """Turn atomic numbers into labels; padding (below 1) becomes 0.

    Args:
        species: Atomic numbers int64, any shape.
        numbers: Those of the labels.
    """
    places = torch.zeros(128, dtype=torch.int64)
    places[torch.tensor(numbers)] = torch.arange(len(numbers))
    return places[species.clamp_min(0)]


def widened(
    tensors: Mapping[str, Tensor], states: int, name: str = "species.weight"
) -> Mapping[str, Tensor]:
    """Return weights in which the map from species shows at least so many labels, new ones as zeros.

    Args:
        tensors: Weights by name.
        states: Number of labels.
        name: Name of that map, ``[H, labels]``.
    """
    if name not in tensors or tensors[name].shape[1] >= states:
        return tensors
    return {**tensors, name: F.pad(tensors[name], (0, states - tensors[name].shape[1]))}


__all__ = ["facts", "labels_of", "widened"]
