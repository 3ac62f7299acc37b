r"""Cells: lattices as six standardised numbers, with what the composition says of their size taken off.

A third of log(V / N) is close to linear in the shares x_e of the elements: a ridge fit sum_e x_e w_e is subtracted from
the first three numbers of a representation (see `lattice`), which are logarithms of lengths; the rest is standardised.
On Perov-5 this halves what is left to predict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sciflow.errors import unknown

from .lattice import REPRESENTATIONS, Standardised


@dataclass(frozen=True)
class Cells:
    """Lattices as numbers of mean 0 and variance 1.

    Args:
        standard: Representation, means and standard deviations of what the fit leaves.
        scales: Weights w_e of the fit, one for each element label.
    """

    standard: Standardised
    scales: tuple[float, ...]

    @classmethod
    def fit(
        cls,
        matrix: Tensor,
        labels: Tensor,
        real: Tensor,
        elements: int,
        representation: str = "logarithm",
        floor: float = 0.02,
        ridge: float = 1.0,
    ) -> Cells:
        """Fit to data.

        Args:
            matrix: Lattices ``[M, 3, 3]``.
            labels: Element labels ``[M, N]``.
            real: True on real sites ``[M, N]``.
            elements: Number of elements.
            representation: One of `lattice.REPRESENTATIONS`.
            floor: Least standard deviation.
            ridge: Weight, in crystals, that draws every w_e towards the mean.
        """
        if representation not in REPRESENTATIONS:
            raise unknown("lattice representation", representation, REPRESENTATIONS)
        raw = REPRESENTATIONS[representation].encode(matrix.double(), real.sum(1))
        shares = _shares(labels, real, elements).double()
        size = raw[:, :3].mean(1)
        mean = size.mean()
        normal = shares.mT @ shares + ridge * torch.eye(elements, dtype=torch.float64)
        scales = mean + torch.linalg.solve(normal, shares.mT @ (size - mean))
        rest = raw - _first(shares @ scales)
        std = rest.std(0, correction=0).clamp(min=floor)
        standard = Standardised(representation, tuple(rest.mean(0).tolist()), tuple(std.tolist()))
        return cls(standard, tuple(scales.tolist()))

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Cells:
        """Make again what `config` described."""
        return cls(Standardised.from_config(config), tuple(config["scales"]))

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        return {**self.standard.config(), "scales": list(self.scales)}

    def encode(self, matrix: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        """Return the six numbers ``[B, 6]`` of lattices ``[B, 3, 3]`` that hold these elements."""
        std = matrix.new_tensor(self.standard.std)
        numbers = self.standard.encode(matrix, real.sum(1))
        return numbers - _first(self._size(labels, real, matrix)) / std

    def decode(self, numbers: Tensor, labels: Tensor, real: Tensor) -> Tensor:
        """Return lattice matrices ``[B, 3, 3]``, up to rotation; `labels` may be probabilities ``[B, N, K]``."""
        std = numbers.new_tensor(self.standard.std)
        numbers = numbers + _first(self._size(labels, real, numbers)) / std
        return self.standard.decode(numbers, real.sum(1))

    def _size(self, labels: Tensor, real: Tensor, like: Tensor) -> Tensor:
        scales = like.new_tensor(self.scales)
        return _shares(labels, real, len(scales)).to(like.dtype) @ scales


def _shares(labels: Tensor, real: Tensor, elements: int) -> Tensor:
    """Shares of the elements among the sites, ``[B, K]``, from labels ``[B, N]`` or probabilities ``[B, N, K]``."""
    if labels.is_floating_point():
        return (labels * real.unsqueeze(-1)).sum(1) / real.sum(1, keepdim=True).clamp_min(1)
    counts = torch.zeros(len(labels), elements, device=labels.device)
    counts.scatter_add_(1, torch.where(real, labels, 0), real.to(counts.dtype))
    return counts / real.sum(1, keepdim=True).clamp_min(1)


def _first(size: Tensor) -> Tensor:
    """A number for the first three of six, ``[B, 6]``."""
    return torch.cat((size.unsqueeze(-1).expand(-1, 3), size.new_zeros(len(size), 3)), -1)


__all__ = ["Cells"]
