r"""von Mises Bayesian flow in its additive planar form: beliefs about angles.

The belief vM(m, c) has the natural parameter y = c (cos m, sin m), a vector of the plane, and an observation vM(x, d)
adds d times a unit vector to it. Many weak observations of the angle x_1, each of accuracy d, add up to

    y = b e^{i x_1} + sqrt(b) z,    z ~ N(0, I),    b = sum d^2 / 2,

and the posterior of the angle given y is vM(m, c) still, exactly. So in the limit of infinitely many steps the
von Mises flow is the additive flow of `additive` in the plane with unit vectors as data: closed form at every t, an
update that adds, no step count in the law, and the solvers of Gaussian paths. The schedule b(t) makes the mean entropy
of the belief linear in t (see `entropic`).

CrysBFN keeps the number of steps in the law instead (see `stepwise`) and draws all its observations.

Reference: Wu et al., A periodic Bayesian flow for material generation, arXiv:2502.02016, sections 3 and 4 (their
belief, update and schedule for finitely many steps); the limit is the central limit theorem.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import expected
from ...spaces import Circle, Space
from ..base import Ends
from .additive import EasedBayes
from .entropic import planar_accuracy, planar_time


@dataclass(frozen=True)
class VonMisesBayes(EasedBayes):
    """von Mises Bayesian flow on `Circle`, planar form; data are unit vectors ``[B, ..., 2]``.

    Networks of kind ``data`` predict the mean vector of the angle, a point of the unit disc: its direction is the
    guess, its length says how sure it is.

    Args:
        beta_1: Accuracy at t = 1, about the concentration of the last belief, > 0.
        form: See `additive`; ``"natural"`` is c (cos m, sin m) itself.
        ease: See `additive`; 0 makes the mean entropy linear in t, above 0 lets ordinary differential equations start.
    """

    beta_1: float = 1000.0
    form: str = "natural"
    ease: float = 0.0

    def __post_init__(self) -> None:
        self._validate()
        if not self.beta_1 > 0:
            raise expected("beta_1 of VonMisesBayes", self.beta_1, "a positive number")
        if self.form == "mean":
            raise expected("form of VonMisesBayes", self.form, "'natural' or 'whitened'")

    def rise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return planar_accuracy(t, self.beta_1)

    def time_at(self, accuracy: Tensor) -> Tensor:
        return planar_time(accuracy, self.beta_1)

    def misfit(self, space: Space) -> str:
        return "" if isinstance(space, Circle) else "beliefs about angles live on a circle"

    def clean(self, space: Space, ends: Ends, mask: Tensor | None) -> Tensor:
        assert isinstance(space, Circle)
        return space.nearest(ends.x1, mask)


def belief(y: Tensor) -> tuple[Tensor, Tensor]:
    """Return direction and length of natural parameters.

    Args:
        y: Natural parameters ``[..., 2]``: the state in natural form, else `AdditiveBayes.natural` of it.

    Returns:
        The unit vector (cos m, sin m) ``[..., 2]``, zero where y is zero, and the concentration c ``[...]``.
    """
    c = y.norm(dim=-1)
    return y / c.clamp_min(torch.finfo(y.dtype).tiny).unsqueeze(-1), c


def certainty(c: Tensor, beta_1: float = 1000.0, floor: float = 1e-3) -> Tensor:
    """Return log c as a number that runs from 0 (nothing known) to about 1 (the end of the flow).

    This is what networks are shown of the concentration (entropy conditioning), beside the direction:
    (log(c + f) - log f) / (log(beta_1 + f) - log f). Time tells less, since single beliefs differ in how sure they are.

    Args:
        c: Concentrations, any shape.
        beta_1: Accuracy of the flow at t = 1.
        floor: Concentration f below which nothing is told apart, above the 1e-6 that is left at t = 0.

    Reference: arXiv:2502.02016, section 4.3; the released code takes f = 1e-7.
    """
    return (c / floor + 1).log() / math.log(beta_1 / floor + 1)


__all__ = ["VonMisesBayes", "belief", "certainty"]
