r"""Stochastic interpolants: x_t = a(t) x_1 + s(t) x_0 + gamma(t) z, between two data sets or from noise.

Two-sided, x_0 is a sample of the other data set (`Component.source`), coupled or not, and the latent noise z ~ N(0, I)
smooths the law on the way. The network says two things of every element, in a new last dimension:

    b(x, t) = E[a' x_1 + s' x_0 + gamma' z | x_t = x],      eta(x, t) = E[z | x_t = x],

the first for the flow dx = b dt, the second for the score -eta / gamma, with which every diffusion

    dX = (b + eps score) dt + sqrt(2 eps) dW,      eps(t) >= 0,

has the same law as the flow at every time (see `sciflow.solvers.sde.EulerMaruyama`). With prediction kind ``data`` or
``noise`` the first is E[x_1 | x] or E[x_0 | x] instead, and b follows: where gamma' is unbounded these targets are
not, which is worth more than averaging over z and -z. Without latent noise (gamma ``none``) there is one value, and no
score.

| gamma | gamma(t) |
|---|---|
| none | 0 |
| brownian | sqrt(c t (1 - t)) |
| parabola | c t (1 - t) |
| sine | c sin(pi t)^2 |

gamma vanishes at the ends, where its derivative may be infinite; both are taken no nearer to them than t = 1e-5.

One-sided, x_0 is normal, so s x_0 + gamma z is one noise of variance s^2 + gamma^2 and the path is Gaussian.

Reference: Albergo, Boffi, Vanden-Eijnden, Stochastic interpolants: a unifying framework for flows and diffusions,
arXiv:2303.08797, definition 2.1, equations 2.10-2.14, 2.33 and section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import expected, unknown
from ..shapes import expand
from ..spaces import Categorical, Space, Torus
from ..streams import Streams
from .base import Ends, Path
from .gaussian import Coefficients, Cosine, GaussianPath, Linear

BASES: dict[str, GaussianPath] = {"linear": Linear(), "cosine": Cosine()}
"""Coefficients (a, s) that go from (0, 1) to (1, 0)."""
GAMMAS = ("none", "brownian", "parabola", "sine")
_EDGE = 1e-5
_KINDS = ("data", "noise", "velocity")


def _base(name: str) -> GaussianPath:
    if name not in BASES:
        raise unknown("base of an interpolant", name, BASES)
    return BASES[name]


def _times(value: Tensor | float, x: Tensor) -> Tensor:
    return x * (expand(value, x) if isinstance(value, Tensor) else value)


@dataclass(frozen=True)
class OneSided(GaussianPath):
    """One-sided interpolant with latent noise: a of the base, s^2 = (s of the base)^2 + scale t (1 - t).

    Args:
        base: Name of its coefficients: one of `BASES`.
        scale: Variance c of the latent noise, >= 0; with 0 the path is the base.
    """

    base: str = "linear"
    scale: float = 1.0

    def __post_init__(self) -> None:
        _base(self.base)
        if not 0 <= self.scale < math.inf:
            raise expected("scale of path one-sided", self.scale, "a number >= 0")

    def coefficients(self, t: Tensor) -> Coefficients:
        c = _base(self.base).coefficients(t)
        s = (c.s**2 + self.scale * t * (1 - t)) ** 0.5
        return Coefficients(c.a, s, c.da, (c.s * c.ds + self.scale * (0.5 - t)) / s)

    def time(self, log_snr: Tensor) -> Tensor:
        if self.base == "linear":  # (1 - t)^2 + c t (1 - t) = q t^2
            q = (-log_snr).exp()
            return 2 / (2 - self.scale + (self.scale**2 + 4 * q).sqrt())
        low, high = torch.zeros_like(log_snr), torch.ones_like(log_snr)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.log_snr(middle) < log_snr
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high


@dataclass(frozen=True)
class Interpolant(Path):
    """Two-sided interpolant between the condition `Component.source` and the data.

    Args:
        base: Name of the coefficients (a, s): one of `BASES`.
        gamma: Name of the latent noise: one of `GAMMAS`.
        scale: Its constant c, > 0.
    """

    continuous = True

    base: str = "linear"
    gamma: str = "brownian"
    scale: float = 1.0

    def __post_init__(self) -> None:
        _base(self.base)
        if self.gamma not in GAMMAS:
            raise unknown("gamma of path interpolant", self.gamma, GAMMAS)
        if not 0 < self.scale < math.inf:
            raise expected("scale of path interpolant", self.scale, "a positive number")

    @property
    def heads(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Values that the network predicts for each element: b, and eta where there is latent noise."""
        return 1 if self.gamma == "none" else 2

    def misfit(self, space: Space) -> str:
        if isinstance(space, Categorical):
            return "labels do not move continuously"
        if isinstance(space, Torus) and self.base != "linear":
            return "on a torus only the linear one runs along geodesics; set base = 'linear'"
        return ""

    def refuses(self, space: Space, kind: str) -> str:
        kinds = ("velocity",) if isinstance(space, Torus) else _KINDS
        if kind not in kinds:
            return f"the path between two data sets knows {', '.join(kinds)}"
        return ""

    def lacks(self, space: Space, need: str) -> str:
        if need in ("posterior", "exponential"):
            return "the way between two data sets is no diffusion of the data, with a linear part and a posterior"
        if need == "score" and self.heads == 1:
            return "without latent noise there is no score; set gamma = 'brownian'"
        return self.misfit(space)

    def coefficients(self, t: Tensor) -> Coefficients:
        """Coefficients at times `t` (any shape, floating point)."""
        c = _base(self.base).coefficients(t)
        return Coefficients(c.a, c.s, c.da, c.ds, *self._latent(t))

    def _latent(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return gamma and its derivative."""
        t = t.clamp(_EDGE, 1 - _EDGE)
        if self.gamma == "none":
            return torch.zeros_like(t), torch.zeros_like(t)
        if self.gamma == "brownian":
            gamma = (self.scale * t * (1 - t)).sqrt()
            return gamma, self.scale * (0.5 - t) / gamma
        if self.gamma == "parabola":
            return self.scale * t * (1 - t), self.scale * (1 - 2 * t)
        sine, double = (math.pi * t).sin(), (2 * math.pi * t).sin()
        return self.scale * sine**2, self.scale * math.pi * double

    def at(self, t: float) -> Coefficients:
        c = self.coefficients(torch.tensor(t, dtype=torch.float64))
        return Coefficients(*(float(v) for v in (c.a, c.s, c.da, c.ds, c.gamma, c.dgamma)))

    def prior(
        self,
        space: Space,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Draw x_0 where no other data set is given: the law of the space that knows nothing."""
        return space.base(shape, streams, mask, dtype)

    def corrupt(
        self,
        space: Space,
        x1: Tensor,
        t: Tensor,
        streams: Streams,
        mask: Tensor | None,
        x0: Tensor | None = None,
    ) -> tuple[Tensor, Ends]:
        c = self.coefficients(t)
        if x0 is None:
            x0 = space.base(x1.shape[1:], streams, mask, x1.dtype)
        x0 = space.lift(x0, x1)
        z = space.noise(x1.shape[1:], streams, mask, x1.dtype)
        x_t = _times(c.a, x1) + _times(c.s, x0) + _times(c.gamma, z)
        point = space.project(x_t, mask)
        if isinstance(space, Torus):  # the ends move by whole periods with x_t
            return point, Ends(x1 + (point - x_t), x0 + (point - x_t), z)
        return point, Ends(x1, x0, z)

    def _split(self, prediction: Tensor, x_t: Tensor) -> tuple[Tensor, Tensor | None]:
        if self.heads == 1:
            return prediction, None
        if prediction.shape != (*x_t.shape, 2):
            raise expected(
                "prediction for path interpolant",
                tuple(prediction.shape),
                f"{(*x_t.shape, 2)}: velocity and latent noise of every element in a new last dimension",
            )
        return prediction[..., 0], prediction[..., 1]

    def believe(self, kind: str, prediction: Tensor, x_t: Tensor, t: Tensor) -> Ends:
        """Return x_1, x_0 and z from (b, eta), or from (x_1, eta) or (x_0, eta)."""
        c = self.coefficients(t)
        said, z = self._split(prediction, x_t)
        rest = x_t if z is None else x_t - _times(c.gamma, z)
        if kind == "data":
            return Ends(said, _times(1 / c.s, rest - _times(c.a, said)), z)
        if kind == "noise":
            return Ends(_times(1 / c.a, rest - _times(c.s, said)), said, z)
        b = said if z is None else said - _times(c.dgamma, z)
        wronskian = c.a * c.ds - c.s * c.da  # never 0
        x1 = _times(c.ds / wronskian, rest) - _times(c.s / wronskian, b)
        x0 = _times(c.a / wronskian, b) - _times(c.da / wronskian, rest)
        return Ends(x1, x0, z)

    def combine(self, kind: str, c: Coefficients, ends: Ends) -> Tensor:
        """Return the ends said as a prediction of `kind`: what a perfect network gives, ``[B, ..., heads]``."""
        assert ends.x0 is not None
        said = {"data": ends.x1, "noise": ends.x0}.get(kind)
        if said is None:
            said = _times(c.da, ends.x1) + _times(c.ds, ends.x0)
            if self.heads == 2 and ends.z is not None:
                said = said + _times(c.dgamma, ends.z)
        return said if self.heads == 1 or ends.z is None else torch.stack([said, ends.z], -1)

    def error(self, kind: str, prediction: Tensor, ends: Ends, t: Tensor) -> Tensor:
        """Return the squared error of each element, summed over what is said of it."""
        error = (prediction - self.combine(kind, self.coefficients(t), ends)) ** 2
        return error if self.heads == 1 else error.sum(-1)

    def posterior(
        self,
        space: Space,
        x_t: Tensor,
        ends: Ends,
        now: Coefficients,
        then: Coefficients,
        streams: Streams,
        mask: Tensor | None,
    ) -> Tensor:
        """There is none.

        Raises:
            SciflowError: Always; a solver that checks its system never asks (see `lacks`).
        """
        reason = self.lacks(space, "posterior")
        raise expected(f"posterior of path {type(self).__name__}", reason, "a path that has one")

    def renew(
        self,
        space: Space,
        ends: Ends,
        then: Coefficients,
        streams: Streams,
        mask: Tensor | None,
    ) -> Tensor:
        """Draw x_s given both believed ends, with new latent noise."""
        assert ends.x0 is not None
        z = space.noise(ends.x1.shape[1:], streams, mask, ends.x1.dtype)
        return space.project(then.a * ends.x1 + then.s * ends.x0 + then.gamma * z, mask)

    def clean(self, space: Space, ends: Ends, mask: Tensor | None) -> Tensor:
        return space.project(ends.x1, mask)

    def evidence(self, x_t: Tensor, t: Tensor, classes: int) -> Tensor:
        """Nothing is known of a class by itself: the other data set may have any law."""
        return torch.zeros(*x_t.shape[:-1], classes, dtype=x_t.dtype, device=x_t.device)
