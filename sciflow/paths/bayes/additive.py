r"""Additive Bayesian flows: the state is a belief, and every observation adds to it.

Data x_1 are seen through noise, y = b x_1 + sqrt(b) x_0, and all observations together have accuracy b. Two in a row
with accuracies b and d are one with b + d: their y add up. So y is the natural parameter of the belief, the exact
Bayesian update is an addition,

    y_s = y_t + (b_s - b_t) x_1 + sqrt(b_s - b_t) z,

and the law of y given x_1 is Gaussian for every t: an additive Bayesian flow is a `GaussianPath`. Its posterior step
(see `GaussianPath.posterior`) is this very update, and b is the signal-to-noise ratio a^2 / s^2. Three forms
of the state differ by a factor that depends on t alone:

| form | state | a | s |
|---|---|---|---|
| natural | y | b | sqrt(b) |
| mean | y / (1 + b), the mean belief under the prior N(0, I) | b / (1 + b) | sqrt(b) / (1 + b) |
| whitened | y / sqrt(b (1 + b)) | sqrt(b / (1 + b)) | 1 / sqrt(1 + b) |

In the first two forms nothing is known at t = 0 and the state is zero. So that its direction and its noise end exist
there, s is raised by 1e-6, far below what any step can tell. At t = 1 a belief is left, of accuracy b(1); the last step
of a sampler ends in the believed data instead, so that `at` says a = 1 and s = 0 there.

Ordinary differential equations ask for two things. Where b grows like t at t = 0, its root has no slope there and the
velocity no bound: with ``ease`` e > 0 the schedule is that of t^2 (1 + e) / (t + e) instead of t, which differs for
times below e and lets sqrt(b) start straight. And a state that starts from zero has a velocity like x / t there, which
costs every method its order: the whitened form is theirs.

Reference: Graves, Srivastava, Atkinson, Gomez, Bayesian flow networks, arXiv:2308.07037, sections 3 to 6; Xue et al.,
Unifying Bayesian flow networks and diffusion models through stochastic differential equations, arXiv:2404.15766.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from ...errors import expected, unknown
from ...shapes import expand
from ...spaces import Space
from ..gaussian import Coefficients, GaussianPath

TINY = 1e-6
"""Noise that is left in the state at t = 0."""


FORMS = ("natural", "mean", "whitened")


class AdditiveBayes(GaussianPath):
    """Abstract additive Bayesian flow; a subclass is a frozen dataclass with `form` and gives `root` and `time_of`."""

    form: str
    """One of `FORMS`."""
    straight: bool
    """True where sqrt(b) has a slope at t = 0, so that velocities stay bounded."""

    @abstractmethod
    def root(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(b) and its derivative at times `t` (any shape, floating point)."""

    @abstractmethod
    def time_of(self, accuracy: Tensor) -> Tensor:
        """Return the time at which the accuracy b has the given value: the inverse of `accuracy`."""

    def accuracy(self, t: Tensor) -> Tensor:
        """Return b at times `t`."""
        return self.root(t)[0] ** 2

    def weight(self, t: Tensor, steps: int | None = None) -> Tensor:
        r"""Return the weight w of the bound on the log-likelihood, sum over the components of w |x_1 - prediction|^2.

        In continuous time w = b'(t) / 2. With n steps, of which one starts at t, it is (n / 2) (b(t + 1/n) - b(t)):
        n times the Kullback-Leibler divergence between the observation that the step adds and the believed one.

        Args:
            t: Times ``[B]``; with `steps`, those at which a step starts, at most 1 - 1 / steps.
            steps: Number n of steps; None is continuous time.

        Returns:
            Weights ``[B]``, in nats per unit of squared error.

        Reference: arXiv:2308.07037, equations 95 and 101 (Gaussian), 189 (categorical).
        """
        if steps is None:
            r, dr = self.root(t)
            return r * dr
        if steps < 1:
            raise expected("steps of the loss", steps, "at least 1")
        later = (t + 1 / steps).clamp(max=1)
        return steps / 2 * (self.accuracy(later) - self.accuracy(t))

    def coefficients(self, t: Tensor) -> Coefficients:
        r, dr = self.root(t)
        if self.form == "natural":
            return Coefficients(r * r, r + TINY, 2 * r * dr, dr)
        q = 1 + r * r
        if self.form == "mean":
            ds = dr * (1 - r * r - 2 * r * TINY) / q**2
            return Coefficients(r * r / q, (r + TINY) / q, 2 * r * dr / q**2, ds)
        return Coefficients(r * q**-0.5, q**-0.5, dr * q**-1.5, -r * dr * q**-1.5)

    def at(self, t: float) -> Coefficients:
        c = super().at(t)
        return replace(c, a=1.0, s=0.0) if t == 1 else c

    @property
    def prior_scale(self) -> float:
        return float(self.at(0.0).s)

    def time(self, log_snr: Tensor) -> Tensor:
        return self.time_of(log_snr.exp())

    def lacks(self, space: Space, need: str) -> str:
        reason = super().lacks(space, need)
        if reason or need != "velocity":
            return reason
        remedies = [] if self.form == "whitened" else ["form = 'whitened'"]
        remedies += [] if self.straight else ["ease = 0.05"]
        if not remedies:
            return ""
        why = (
            "its state starts from zero, with a velocity like x / t"
            if self.straight
            else "its belief grows like sqrt(t) from nothing, with an unbounded velocity"
        )
        return f"{why}; set {' and '.join(remedies)}, or take an exponential or stochastic solver"

    def natural(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the natural parameter y of a state of any form.

        Args:
            x_t: State ``[B, ...]``.
            t: Times ``[B]``.
        """
        if self.form == "natural":
            return x_t
        b = self.accuracy(t)
        factor = 1 + b if self.form == "mean" else (b * (1 + b)).sqrt()
        return x_t * expand(factor, x_t).to(x_t.dtype)

    def _validate(self) -> None:
        name = type(self).__name__
        if self.form not in FORMS:
            raise unknown(f"form of {name}", self.form, FORMS)


class EasedBayes(AdditiveBayes):
    """Abstract flow whose accuracy grows like t at t = 0, unless it is eased; a subclass gives `rise` and `time_at`."""

    ease: float
    """e, see the module."""

    @abstractmethod
    def rise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return the accuracy and its derivative for ``ease = 0``."""

    @abstractmethod
    def time_at(self, accuracy: Tensor) -> Tensor:
        """Return the inverse of `rise`."""

    @property
    def straight(self) -> bool:  # type: ignore[override]
        """Whether sqrt(b) has a slope at t = 0."""
        return self.ease > 0

    def root(self, t: Tensor) -> tuple[Tensor, Tensor]:
        if not self.ease:
            b, db = self.rise(t)
            r = b.clamp_min(0).sqrt()
            return r, db / (2 * r.clamp_min(TINY))
        # With q = sqrt(time of the schedule): dr/dt = b' q' (q / r).
        slope = ((1 + self.ease) / (t + self.ease)).sqrt()
        q = t * slope
        b, db = self.rise(q * q)
        r = b.clamp_min(0).sqrt()
        over = torch.where(r > TINY, q / r.clamp_min(TINY), db.rsqrt())
        return r, db * slope * (1 - t / (2 * (t + self.ease))) * over

    def time_of(self, accuracy: Tensor) -> Tensor:
        s = self.time_at(accuracy)
        e = self.ease
        return (s + (s * s + 4 * e * (1 + e) * s).sqrt()) / (2 * (1 + e))

    def _validate(self) -> None:
        super()._validate()
        if not 0 <= self.ease <= 1:
            raise expected(f"ease of {type(self).__name__}", self.ease, "a number from 0 to 1")


__all__ = ["FORMS", "TINY", "AdditiveBayes", "EasedBayes"]
