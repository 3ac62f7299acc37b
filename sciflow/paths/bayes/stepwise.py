r"""von Mises Bayesian flow with finitely many observations: the law of CrysBFN, exactly, for any number of steps.

The belief vM(m, c), kept as c (cos m, sin m), takes N observations y_i ~ vM(x_1, alpha_i), each of which adds
alpha_i (cos y_i, sin y_i). The accuracies are those of `entropic`: a belief that points at the truth loses entropy
evenly. The state at time t is the sum of the first round(t N) observations, drawn as one (see `sums`).

A step of a sampler from t to s is one observation whose accuracy is computed for these two times, so that
any grid will do and N is no property of a trained network: it only says which law training shows, and which law
`Renewal` draws from. ``dataclasses.replace(path, steps=n)`` is the same flow in n steps.

Reference: Wu et al., A periodic Bayesian flow for material generation, arXiv:2502.02016, section 4 and appendix. Their
code fixes N, searches the accuracies on a Monte Carlo mean, draws all N observations for every training sample, and
takes the squared angle in place of twice 1 - cos in the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ...errors import expected
from ...shapes import expand
from ...spaces import Circle, Space
from ...streams import Streams
from ..base import Ends, Path
from .additive import TINY
from .entropic import concentration, observation
from .sums import accuracies, sum_law
from .von_mises import draw, mean_length


@dataclass(frozen=True)
class Knot:
    """One time of the flow.

    Args:
        t: Time.
        beta: Concentration that a belief has there if every observation points at the truth.
    """

    t: float
    beta: float


@lru_cache(maxsize=4096)
@torch.inference_mode(False)
def _accuracy(beta: float, later: float) -> float:
    pair = torch.tensor([beta, later], dtype=torch.float64)
    return float(observation(pair[0], pair[1]))


@lru_cache(maxsize=4096)
@torch.inference_mode(False)
def _beta(t: float, beta_1: float) -> float:
    return float(concentration(torch.tensor(t, dtype=torch.float64), beta_1))


@dataclass(frozen=True)
class VonMisesSteps(Path):
    """von Mises Bayesian flow on `Circle` in N steps; data are unit vectors ``[B, ..., 2]``.

    Args:
        steps: Number N of steps of the law that `corrupt` and `renew` draw from.
        beta_1: Concentration of the belief at t = 1.
        weighted: Whether the loss is CrysBFN's, N alpha A(alpha) (1 - cos) for each angle; else 1 - cos.
    """

    steps: int = 1000
    beta_1: float = 1000.0
    weighted: bool = True

    continuous = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise expected("steps of VonMisesSteps", self.steps, "at least 1")
        if not self.beta_1 > 0:
            raise expected("beta_1 of VonMisesSteps", self.beta_1, "a positive number")

    def misfit(self, space: Space) -> str:
        return "" if isinstance(space, Circle) else "beliefs about angles live on a circle"

    def lacks(self, space: Space, need: str) -> str:
        if need not in ("posterior", "renewal"):
            return "its law is no Gaussian one; path 'von-mises-bayes' is its limit of many steps"
        return self.misfit(space)

    def refuses(self, space: Space, kind: str) -> str:
        return "" if kind == "data" else "it has no noise end; set kind = 'data'"

    def at(self, t: float) -> Knot:
        return Knot(t, _beta(t, self.beta_1))

    def weight(self, t: Tensor) -> Tensor:
        """Return N alpha A(alpha) of the step that starts at (or, for other times, contains) `t`, ``[B]``."""
        alpha = accuracies(self.steps, self.beta_1).to(t.device)
        alpha = alpha[self._count(t).clamp(max=self.steps - 1)]
        return (self.steps * alpha * mean_length(alpha)).to(t.dtype)

    def _count(self, t: Tensor) -> Tensor:
        return (t * self.steps).round().long()

    def prior(
        self,
        space: Space,
        shape: Sequence[int],
        streams: Streams,
        mask: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        return space.base(shape, streams, mask, dtype) * TINY

    def corrupt(
        self,
        space: Space,
        x1: Tensor,
        t: Tensor,
        streams: Streams,
        mask: Tensor | None,
        x0: Tensor | None = None,
    ) -> tuple[Tensor, Ends]:
        if x0 is not None:
            raise expected("noise end of VonMisesSteps", "a tensor", "none: it has no noise end")
        return self._drawn(space, x1, self._count(t), streams, mask), Ends(x1)

    def _drawn(
        self, space: Space, x1: Tensor, count: Tensor, streams: Streams, mask: Tensor | None
    ) -> Tensor:
        law = sum_law(self.steps, self.beta_1)
        y = law.draw(count, tuple(x1.shape[1:-1]), streams).to(x1.dtype)
        return space.project(turned(y, x1), mask)

    def renew(
        self, space: Space, ends: Ends, then: Knot, streams: Streams, mask: Tensor | None
    ) -> Tensor:
        assert isinstance(space, Circle)
        x1 = space.nearest(ends.x1, None)
        count = torch.full((len(x1),), round(then.t * self.steps), device=x1.device)
        return self._drawn(space, x1, count, streams, mask)

    def posterior(
        self,
        space: Space,
        x_t: Tensor,
        ends: Ends,
        now: Knot,
        then: Knot,
        streams: Streams,
        mask: Tensor | None,
    ) -> Tensor:
        assert isinstance(space, Circle)
        alpha = _accuracy(now.beta, then.beta)
        angle = draw(torch.full_like(x_t[..., 0], alpha), streams)
        y = alpha * torch.stack((angle.cos(), angle.sin()), dim=-1).to(x_t.dtype)
        return space.project(x_t + turned(y, space.nearest(ends.x1, None)), mask)

    def error(self, kind: str, prediction: Tensor, ends: Ends, t: Tensor) -> Tensor:
        """Return the loss of each coordinate of the plane; its mean over the two is that of the angle."""
        # |u - x|^2 / 2 is 1 - cos for unit vectors, and least at the mean vector for all.
        error = (prediction - ends.x1) ** 2
        return error * expand(self.weight(t).to(error.dtype), error) if self.weighted else error

    def clean(self, space: Space, ends: Ends, mask: Tensor | None) -> Tensor:
        assert isinstance(space, Circle)
        return space.nearest(ends.x1, mask)

    def evidence(self, x_t: Tensor, t: Tensor, classes: int) -> Tensor:
        raise expected("component on VonMisesSteps", "classes", "angles: they have no logits")


def turned(y: Tensor, by: Tensor) -> Tensor:
    """Return vectors ``[..., 2]`` turned by the angles of the unit vectors `by`."""
    (c, s), (p, q) = y.unbind(-1), by.unbind(-1)
    return torch.stack((c * p - s * q, c * q + s * p), dim=-1)


__all__ = ["Knot", "VonMisesSteps", "turned"]
