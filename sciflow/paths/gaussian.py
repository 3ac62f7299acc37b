r"""Gaussian paths: x_t = a(t) x_1 + s(t) x_0 with x_0 standard noise of the space.

Each path is its two coefficients and their derivatives in closed form. In the house's time (t = 0 noise, t = 1 data)
the reversed diffusion with these marginals is

    dx = [a'/a x + g^2 score] dt + g dw,     g^2 = 2 s^2 (a'/a - s'/s) = s^2 d/dt log(a^2 / s^2),

and the probability-flow velocity is a' x_1 + s' x_0 with both ends replaced by their expectations.

On a torus two of them mean something. With a + s = 1 and x_0 uniform, x_t runs along the geodesic from x_0 to x_1. With
a = 1 the law of x_t is a wrapped normal; its noise end is the expected one over all images of x_1 (see `wrapped`).

Reference: Song et al., Score-based generative modeling through stochastic differential equations, arXiv:2011.13456,
equations 10-13 and appendix B (VP, subVP, VE), there with t = 1 noise; Karras et al., arXiv:2206.00364, equation 5 and
table 1 (EDM); Lipman et al., arXiv:2210.02747 (linear); Luo et al., arXiv:2301.11699, equations 5-6 (OU);
Chen, Lipman, arXiv:2302.03660 (geodesics).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import expected
from ..shapes import expand
from ..spaces import Categorical, Space, Torus
from ..streams import Streams
from .base import Ends, Path
from .wrapped import pull


@dataclass(frozen=True)
class Coefficients:
    """Coefficients of x_t = a x_1 + s x_0 + gamma z and their derivatives with respect to t.

    Floats (one time, on the host) or tensors (one time per sample), all of the same kind. Only paths between two data
    sets have a latent noise z.
    """

    a: Tensor | float
    s: Tensor | float
    da: Tensor | float
    ds: Tensor | float
    gamma: Tensor | float = 0.0
    dgamma: Tensor | float = 0.0
    data: float = 1.0
    """Standard deviation of the data that prediction kind ``edm`` counts on."""

    @property
    def diffusion(self) -> Tensor | float:
        """Squared diffusion coefficient g^2 = 2 s (s a'/a - s')."""
        return 2 * self.s * (self.s * self.da / self.a - self.ds)


class GaussianPath(Path):
    """Abstract Gaussian path; a subclass gives `coefficients`, `log_snr` and `time`."""

    continuous = True

    @abstractmethod
    def coefficients(self, t: Tensor) -> Coefficients:
        """Coefficients at times `t` (any shape, floating point)."""

    @abstractmethod
    def time(self, log_snr: Tensor) -> Tensor:
        """Inverse of `log_snr`: the time at which the log signal-to-noise ratio has the given value."""

    @property
    def prior_scale(self) -> float:
        """Standard deviation of the state from which generation starts."""
        return 1.0

    def log_snr(self, t: Tensor) -> Tensor:
        """Log signal-to-noise ratio log(a^2 / s^2)."""
        c = self.coefficients(t)
        return 2 * (torch.as_tensor(c.a).log() - torch.as_tensor(c.s).log())

    def misfit(self, space: Space) -> str:
        if isinstance(space, Categorical):
            return "labels do not move continuously"
        if isinstance(space, Torus):
            a = [self.at(t).a for t in (0.25, 0.5)]
            s = [self.at(t).s for t in (0.25, 0.5)]
            if a != [1.0, 1.0] and any(abs(p + q - 1) > 1e-9 for p, q in zip(a, s, strict=True)):
                return (
                    "x_t = a x_1 + s x_0 means something on a torus only where a = 1 or a + s = 1"
                )
            if a == [1.0, 1.0] and self.prior_scale < space.period / 2:
                return (
                    f"noise of {self.prior_scale:g} does not fill the period {space.period:g}, and generation starts "
                    f"from the uniform law; set sigma_max >= {space.period / 2:g}"
                )
        return ""

    def refuses(self, space: Space, kind: str) -> str:
        if not isinstance(space, Torus) or kind in ("data", "velocity"):
            return ""
        if kind in ("noise", "score"):
            return "the noise end is a point" if self._from_uniform(space) else ""
        return "it changes when x_t and x_1 move by a period"

    def lacks(self, space: Space, need: str) -> str:
        if self._from_uniform(space) and need in ("score", "posterior"):
            return "its noise end is uniform on the torus, which has no Gaussian score"
        return self.misfit(space)

    def at(self, t: float) -> Coefficients:
        c = self.coefficients(torch.tensor(t, dtype=torch.float64))
        return Coefficients(*(float(v) for v in (c.a, c.s, c.da, c.ds)), data=c.data)

    def table(self, times: Sequence[float]) -> list[Coefficients]:
        if type(self).at is not GaussianPath.at:
            return super().table(times)
        t = torch.tensor(times, dtype=torch.float64)
        c = self.coefficients(t)
        columns = [torch.as_tensor(v).expand_as(t).tolist() for v in (c.a, c.s, c.da, c.ds)]
        return [Coefficients(*row, data=c.data) for row in zip(*columns, strict=True)]

    def prior(
        self,
        space: Space,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        if isinstance(space, Torus):
            return space.base(shape, streams, mask, dtype)
        return self.noise(space, shape, streams, mask, dtype) * self.prior_scale

    def noise(
        self,
        space: Space,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """Draw x_0, ``[B, *shape]``: the standard noise of the space."""
        return space.noise(shape, streams, mask, dtype)

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
            x0 = self._noise_end(space, x1, streams, mask)
        x_t = expand(torch.as_tensor(c.a), x1) * x1 + expand(torch.as_tensor(c.s), x0) * x0
        if not isinstance(space, Torus):
            return x_t, Ends(x1, x0)
        wrapped = space.project(x_t, mask)
        if self._from_uniform(space):  # the ends move by whole periods with x_t
            shift = wrapped - x_t
            return wrapped, Ends(x1 + shift, x0 + shift)
        s = expand(torch.as_tensor(c.s), x1)
        off = pull(space.difference(wrapped, x1), s, space.period)
        return wrapped, Ends(wrapped - off, off / s.clamp_min(torch.finfo(off.dtype).tiny))

    def _from_uniform(self, space: Space) -> bool:
        """Whether x_0 is a point of a torus, with a uniform law, and no tangent vector."""
        return isinstance(space, Torus) and float(self.at(0.0).a) != 1

    def _noise_end(
        self, space: Space, x1: Tensor, streams: Streams, mask: Tensor | None
    ) -> Tensor:
        if self._from_uniform(space):
            return space.lift(space.base(x1.shape[1:], streams, mask, x1.dtype), x1)
        return self.noise(space, x1.shape[1:], streams, mask, x1.dtype)

    def renew(
        self,
        space: Space,
        ends: Ends,
        then: Coefficients,
        streams: Streams,
        mask: Tensor | None,
    ) -> Tensor:
        noise = self._noise_end(space, ends.x1, streams, mask)
        return space.project(then.a * ends.x1 + then.s * noise, mask)

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
        # x_t = r x_s + sqrt(v) z is the step of the forward process from s (clean side) to t.
        r = now.a / then.a
        v = now.s**2 - (r * then.s) ** 2
        mean = (r * then.s**2 / now.s**2) * x_t + (then.a * v / now.s**2) * ends.x1
        if then.s > 0:
            scale = math.sqrt(max(v, 0.0)) * then.s / now.s
            mean = mean + scale * space.noise(x_t.shape[1:], streams, mask, x_t.dtype)
        return space.project(mean, mask)  # the believed data need not lie in the space

    def clean(self, space: Space, ends: Ends, mask: Tensor | None) -> Tensor:
        return space.project(ends.x1, mask)

    def evidence(self, x_t: Tensor, t: Tensor, classes: int) -> Tensor:
        c = self.coefficients(t)
        ratio = torch.as_tensor(c.a) / torch.as_tensor(c.s).clamp_min(1e-3) ** 2
        # -|x - a e_k|^2 / (2 s^2), without the terms that do not depend on k.
        return (expand(ratio, x_t) * x_t).clamp(-50, 50)


@dataclass(frozen=True)
class VP(GaussianPath):
    """Variance preserving: a^2 + s^2 = 1, a = exp(-u^2 (b1 - b0) / 4 - u b0 / 2) with u = 1 - t.

    Args:
        beta_min: Noise rate b0 at the data end.
        beta_max: Noise rate b1 at the noise end. With b1 = 1 (GDSS) signal is left at t = 0: a(0) = .76.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def log_a(self, u: Tensor) -> Tensor:
        """Log of a at u = 1 - t."""
        return -(u**2) * (self.beta_max - self.beta_min) / 4 - u * self.beta_min / 2

    def beta(self, u: Tensor) -> Tensor:
        """Noise rate at u = 1 - t."""
        return self.beta_min + u * (self.beta_max - self.beta_min)

    def coefficients(self, t: Tensor) -> Coefficients:
        u = 1 - t
        log_a, beta = self.log_a(u), self.beta(u)
        a, s = log_a.exp(), (-torch.expm1(2 * log_a)).sqrt()
        return Coefficients(a, s, a * beta / 2, -(a**2) * beta / (2 * s))

    def time(self, log_snr: Tensor) -> Tensor:
        return self._time_of_log_a(0.5 * F.logsigmoid(log_snr))

    def _time_of_log_a(self, log_a: Tensor) -> Tensor:
        half = self.beta_min / 2
        root = (half**2 - (self.beta_max - self.beta_min) * log_a).sqrt()
        return 1 + 2 * log_a / (half + root)


@dataclass(frozen=True)
class OU(VP):
    """Ornstein-Uhlenbeck process around zero: a as in `VP`, s^2 = std^2 (1 - a^2).

    With a component's `centre` it falls back to that value instead (mean-reverting diffusion):
    dx = (beta / 2) (centre - x) du + sqrt(beta) std dw in u = 1 - t. A constant rate is beta_min = beta_max.

    Args:
        std: Standard deviation of the noise end, > 0.
    """

    std: float = 1.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise expected("std of path ou", self.std, "a positive number")

    @property
    def prior_scale(self) -> float:
        return self.std

    def coefficients(self, t: Tensor) -> Coefficients:
        c = super().coefficients(t)
        return Coefficients(c.a, c.s * self.std, c.da, c.ds * self.std)

    def time(self, log_snr: Tensor) -> Tensor:
        return super().time(log_snr + 2 * math.log(self.std))


@dataclass(frozen=True)
class SubVP(VP):
    """Sub-variance preserving: a as in `VP`, s = 1 - a^2."""

    def coefficients(self, t: Tensor) -> Coefficients:
        u = 1 - t
        log_a, beta = self.log_a(u), self.beta(u)
        a, s = log_a.exp(), -torch.expm1(2 * log_a)
        return Coefficients(a, s, a * beta / 2, -(a**2) * beta)

    def time(self, log_snr: Tensor) -> Tensor:
        # a / s = q with s = 1 - a^2 is q a^2 + a - q = 0.
        inverse = (-log_snr / 2).exp()
        a = 2 / (inverse + (inverse**2 + 4).sqrt())
        return self._time_of_log_a(a.log())


@dataclass(frozen=True)
class VE(GaussianPath):
    """Variance exploding: a = 1, s = sigma_min (sigma_max / sigma_min)^(1 - t); noise sigma_min is left at t = 1.

    Args:
        sigma_min: Noise at the data end, > 0.
        sigma_max: Noise at the noise end; generation starts from N(0, sigma_max^2).
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    @property
    def prior_scale(self) -> float:
        return self.sigma_max

    def coefficients(self, t: Tensor) -> Coefficients:
        rate = math.log(self.sigma_max / self.sigma_min)
        s = self.sigma_min * ((1 - t) * rate).exp()
        return Coefficients(torch.ones_like(t), s, torch.zeros_like(t), -rate * s)

    def time(self, log_snr: Tensor) -> Tensor:
        rate = math.log(self.sigma_max / self.sigma_min)
        return 1 - (-log_snr / 2 - math.log(self.sigma_min)) / rate


@dataclass(frozen=True)
class EDM(GaussianPath):
    """Karras et al.: a = 1, s = (sigma_max^(1/rho) (1 - t) + sigma_min^(1/rho) t)^rho.

    Even steps in t are their grid, and with prediction kind ``edm`` the plain squared error is their weighted one.

    Args:
        sigma_min: Noise left at the data end, >= 0.
        sigma_max: Noise at the noise end; generation starts from N(0, sigma_max^2).
        rho: How much denser the steps are near the data, >= 1.
        sigma_data: Standard deviation of the data, for prediction kind ``edm`` (see `sciflow.suggest`).
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    rho: float = 7.0
    sigma_data: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.sigma_min < self.sigma_max:
            raise expected(
                "noise of path edm", (self.sigma_min, self.sigma_max), "0 <= sigma_min < sigma_max"
            )
        if self.rho < 1 or self.sigma_data <= 0:
            raise expected(
                "rho and sigma_data of path edm",
                (self.rho, self.sigma_data),
                "rho >= 1 and sigma_data > 0",
            )

    @property
    def prior_scale(self) -> float:
        return self.sigma_max

    @property
    def _roots(self) -> tuple[float, float]:
        return self.sigma_max ** (1 / self.rho), self.sigma_min ** (1 / self.rho)

    def coefficients(self, t: Tensor) -> Coefficients:
        first, last = self._roots
        root = first * (1 - t) + last * t
        ds = self.rho * (last - first) * root ** (self.rho - 1)
        one = torch.ones_like(t)
        return Coefficients(one, root**self.rho, 0 * one, ds, data=self.sigma_data)

    def time(self, log_snr: Tensor) -> Tensor:
        first, last = self._roots
        return ((-log_snr / (2 * self.rho)).exp() - first) / (last - first)


@dataclass(frozen=True)
class Cosine(GaussianPath):
    """Trigonometric: a = sin(pi t / 2), s = cos(pi t / 2)."""

    def coefficients(self, t: Tensor) -> Coefficients:
        half = math.pi / 2
        # cos(x) as sin(pi/2 - x): exactly zero at the data end.
        a, s = (half * t).sin(), (half * (1 - t)).sin()
        return Coefficients(a, s, half * s, -half * a)

    def time(self, log_snr: Tensor) -> Tensor:
        return (log_snr / 2).exp().atan() * 2 / math.pi


@dataclass(frozen=True)
class Linear(GaussianPath):
    """Linear (rectified flow, conditional optimal transport): a = t, s = 1 - t."""

    def coefficients(self, t: Tensor) -> Coefficients:
        one = torch.ones_like(t)
        return Coefficients(t, 1 - t, one, -one)

    def time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(log_snr / 2)
