r"""Categorical Bayesian flow: beliefs about labels.

Observations of a label k are y ~ N(b e_k, b I) with b = K beta_1 t^2, so that under a uniform prior the belief is
softmax(y), and updating it is adding to y. (In the paper y has mean b (e_k - 1 / K): the constant makes no difference
to the softmax.) The schedule lets the entropy of the belief fall at an even pace.

A network of kind ``logits`` gives the law of the data; with ``Component(marginal=...)`` it starts from the belief
itself, since `evidence` is y. A step draws the class that it adds evidence for from the believed probabilities: for one
element under a perfect network both the update and the fresh draw then have the exact law on any grid. With
``soft=True`` the mean of the classes stands in its place, as in CrysBFN.

Reference: Graves et al., Bayesian flow networks, arXiv:2308.07037, equations 171-189; Wu et al., A periodic Bayesian
flow for material generation, arXiv:2502.02016 (soft).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import expected
from ...spaces import Simplex, Space
from ...streams import Streams
from ..base import Ends
from .additive import AdditiveBayes


@dataclass(frozen=True)
class CategoricalBayes(AdditiveBayes):
    """Categorical Bayesian flow on `Simplex`; data are labels ``[B, ...]`` or one-hot ``[B, ..., K]``.

    Args:
        classes: Number of classes K.
        beta_1: Accuracy rate: b(1) = K beta_1. None gives b(1) = 17 + 4 log K, where the belief names the right class
            with probability .999 for K from 2 to 1000.
        soft: Whether steps add evidence for the believed mean of the classes instead of one drawn class.
        form: See `additive`.
    """

    classes: int
    beta_1: float | None = None
    soft: bool = False
    form: str = "natural"

    straight = True

    def __post_init__(self) -> None:
        self._validate()
        if self.classes < 2:
            raise expected("classes of CategoricalBayes", self.classes, "at least 2")
        if self.beta_1 is not None and not self.beta_1 > 0:
            raise expected("beta_1 of CategoricalBayes", self.beta_1, "a positive number")

    @property
    def final(self) -> float:
        """Accuracy b at t = 1."""
        if self.beta_1 is None:
            return 17 + 4 * math.log(self.classes)
        return self.classes * self.beta_1

    def root(self, t: Tensor) -> tuple[Tensor, Tensor]:
        slope = math.sqrt(self.final)
        return slope * t, torch.full_like(t, slope)

    def time_of(self, accuracy: Tensor) -> Tensor:
        return (accuracy / self.final).sqrt()

    def misfit(self, space: Space) -> str:
        if not isinstance(space, Simplex):
            return "beliefs about labels live on a simplex"
        if space.classes != self.classes:
            return f"the simplex has {space.classes} classes, the path {self.classes}"
        return ""

    def belief(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the believed probabilities softmax(y) ``[B, ..., K]`` of a state: what BFN networks are shown.

        Args:
            x: State ``[B, ..., K]``.
            t: Times ``[B]``.
        """
        return self.natural(x, t).softmax(-1)

    def corrupt(
        self,
        space: Space,
        x1: Tensor,
        t: Tensor,
        streams: Streams,
        mask: Tensor | None,
        x0: Tensor | None = None,
    ) -> tuple[Tensor, Ends]:
        if not x1.is_floating_point():
            x1 = F.one_hot(x1, self.classes).to(t.dtype)
        x_t, ends = super().corrupt(space, x1, t, streams, mask, x0)
        return space.project(x_t, mask), ends  # a padded label is no zero vector

    def renew(
        self, space: Space, ends: Ends, then: Any, streams: Streams, mask: Tensor | None
    ) -> Tensor:
        return super().renew(space, self._seen(ends, streams), then, streams, mask)

    def posterior(
        self,
        space: Space,
        x_t: Tensor,
        ends: Ends,
        now: Any,
        then: Any,
        streams: Streams,
        mask: Tensor | None,
    ) -> Tensor:
        return super().posterior(space, x_t, self._seen(ends, streams), now, then, streams, mask)

    def _seen(self, ends: Ends, streams: Streams) -> Ends:
        if self.soft:
            return ends
        label = streams.categorical(ends.x1.clamp_min(0))
        return Ends(F.one_hot(label, self.classes).to(ends.x1.dtype))

    def clean(self, space: Space, ends: Ends, mask: Tensor | None) -> Tensor:
        corner = F.one_hot(ends.x1.argmax(-1), self.classes).to(ends.x1.dtype)
        return space.project(corner, mask)

    def evidence(self, x_t: Tensor, t: Tensor, classes: int) -> Tensor:
        return self.natural(x_t, t)
