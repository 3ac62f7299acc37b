r"""Gaussian Bayesian flow: beliefs about real numbers.

With the prior N(0, I) and observations of accuracy b = sigma_1^(-2t) - 1 the belief at t is N(mu, I / (1 + b)) with

    mu = gamma x_1 + sqrt(gamma (1 - gamma)) x_0,    gamma = b / (1 + b) = 1 - sigma_1^(2t),

so that the believed standard deviation falls geometrically from 1 to sigma_1.

Reference: Graves et al., Bayesian flow networks, arXiv:2308.07037, equations 75-80.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import expected
from ...spaces import Circle, Simplex, Space
from .additive import EasedBayes


@dataclass(frozen=True)
class GaussianBayes(EasedBayes):
    """Gaussian Bayesian flow for data of about unit variance; the network predicts ``data``.

    Args:
        sigma_1: Standard deviation of the belief at t = 1, in (0, 1); default sqrt(0.001).
        form: See `additive`; ``"mean"`` is the paper's, mu.
        ease: See `additive`; 0 is the paper's, above 0 lets ordinary differential equations start.
    """

    sigma_1: float = 0.0316
    form: str = "mean"
    ease: float = 0.0

    def __post_init__(self) -> None:
        self._validate()
        if not 0 < self.sigma_1 < 1:
            raise expected("sigma_1 of GaussianBayes", self.sigma_1, "a number in (0, 1)")

    @property
    def _rate(self) -> float:
        # log(1 + b) is a line in t.
        return -2 * math.log(self.sigma_1)

    def rise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        b = torch.expm1(self._rate * t)
        return b, self._rate * (1 + b)

    def time_at(self, accuracy: Tensor) -> Tensor:
        return torch.log1p(accuracy) / self._rate

    def misfit(self, space: Space) -> str:
        if isinstance(space, Simplex | Circle):
            return "beliefs about labels and angles are not Gaussian"
        return super().misfit(space)
