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

Reference: Graves, Srivastava, Atkinson, Gomez, Bayesian flow networks, arXiv:2308.07037, sections 3 to 6; Xue et al.,
Unifying Bayesian flow networks and diffusion models through stochastic differential equations, arXiv:2404.15766.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

from torch import Tensor

from ...errors import expected, unknown
from ...spaces import Space
from ..gaussian import Coefficients, GaussianPath

TINY = 1e-6
"""Noise that is left in the state at t = 0."""

SMOOTH = 1e-4
"""Accuracy at t = 0 from which on the velocity of the whitened form is moderate."""

FORMS = ("natural", "mean", "whitened")


class AdditiveBayes(GaussianPath):
    """Abstract additive Bayesian flow; a subclass is a frozen dataclass with `form` and gives `root` and `time_of`."""

    form: str
    """One of `FORMS`."""
    start: float = 0.0
    """Accuracy at t = 0."""
    straight: bool = False
    """True where sqrt(b) is straight at t = 0, so that velocities stay bounded in every form."""

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
        if reason or need != "velocity" or self.straight:
            return reason
        if self.form == "whitened" and self.start >= SMOOTH:
            return ""
        return (
            "its belief grows like sqrt(t) from nothing, so its velocity is unbounded at t = 0; set form = 'whitened' "
            "and start = 1e-3, or take an exponential or stochastic solver"
        )

    def _validate(self) -> None:
        name = type(self).__name__
        if self.form not in FORMS:
            raise unknown(f"form of {name}", self.form, FORMS)
        if not self.start >= 0:
            raise expected(f"start of {name}", self.start, "an accuracy >= 0")


def rooted(b: Tensor, db: Tensor) -> tuple[Tensor, Tensor]:
    """Return sqrt(b) and its derivative from an accuracy and its own, bounded at b = 0."""
    r = b.clamp_min(0).sqrt()
    return r, db / (2 * r.clamp_min(TINY))


__all__ = ["FORMS", "SMOOTH", "TINY", "AdditiveBayes", "rooted"]
