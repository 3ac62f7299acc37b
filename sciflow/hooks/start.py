r"""Analytic start: the first steps in closed form, as if the data were one Gaussian.

While noise dominates, the score of any data is that of a Gaussian with their mean mu and covariance sum_k lambda_k u_k
u_k^T, whose probability flow is known:

    x_t = a_t mu + sum_k psi_k(t) c_k u_k,    psi_k(t) = sqrt((s_t^2 + lambda_k a_t^2) / (s_0^2 + lambda_k a_0^2)),

with c_k the coordinates of x_0 - a_0 mu. One jump replaces all steps down to a noise level, without a network call, and
the solver goes on from there; on Gaussian data the jump is exact.

Reference: Wang, Vastola, The unreasonable effectiveness of Gaussian score approximation for diffusion models and its
applications, arXiv:2412.09726 (analytical teleportation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import SciflowError, expected
from ..paths.gaussian import GaussianPath
from ..shapes import expand
from ..solvers.base import Predict, Solver, Step
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .base import Hook
from .wrapper import Wrapper


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of the data of one component.

    Args:
        mean: mu, of the shape of one sample.
        variances: lambda, ``[R]``; directions beyond the R given have variance 0.
        directions: u, orthonormal rows ``[R, D]``, D the number of elements of a sample; None means one variance for
            each element.
    """

    mean: Tensor
    variances: Tensor
    directions: Tensor | None = None

    @classmethod
    def of(cls, data: Tensor, rank: int | None = None) -> Moments:
        """Measure the moments of data.

        Args:
            data: Samples ``[n, ...]``, at least two.
            rank: How many directions to keep; None keeps all that the data show.
        """
        if len(data) < 2:
            raise expected("data for moments", len(data), "at least two samples")
        mean = data.mean(0)
        off = (data - mean).flatten(1)
        _, singular, directions = torch.linalg.svd(off, full_matrices=False)
        kept = slice(0, rank)
        return cls(mean, (singular**2 / len(data))[kept], directions[kept])

    @classmethod
    def known(cls, mean: Tensor, covariance: Tensor) -> Moments:
        """Take the moments as they are: a mean of any shape, and the covariance ``[D, D]`` of its elements."""
        variances, vectors = torch.linalg.eigh(covariance)
        return cls(mean, variances.clamp_min(0), vectors.T)

    @property
    def scale(self) -> float:
        """Root mean square of the data."""
        return math.sqrt(
            float(self.variances.sum() + self.mean.square().sum()) / self.mean.numel()
        )

    def flow(self, x: Tensor, now: Any, then: Any) -> Tensor:
        """Follow the probability flow of the Gaussian.

        Args:
            x: State ``[B, ...]`` at the first time.
            now: Coefficients there.
            then: Coefficients at the second time.
        """
        mean, variances = self.mean.to(x), self.variances.to(x)

        def growth(variance: Tensor) -> Tensor:
            end, start = (c.s**2 + variance * c.a**2 for c in (then, now))
            return (end / start).sqrt()

        off = (x - now.a * mean).flatten(1)
        if self.directions is None:
            moved = off * growth(variances.flatten())
        else:
            directions = self.directions.to(x)
            rest = growth(torch.zeros_like(variances[:1]))
            along = off @ directions.T
            moved = off * rest + (along * (growth(variances) - rest)) @ directions
        return then.a * mean + moved.view_as(x)


@dataclass(frozen=True)
class GaussianStart(Hook):
    """Skip the first steps in closed form.

    Args:
        moments: Mean and covariance of the data of every component.
        level: Noise s / a down to which it jumps, in units of the root mean square of the data: 3.7 hardly changes
            any sample, 2.2 little, 1.1 visibly.
    """

    moments: Mapping[str, Moments]
    level: float = 3.7

    def __post_init__(self) -> None:
        if not self.level > 0:
            raise expected("level of the Gaussian start", self.level, "a positive number")

    def solver(self, solver: Solver) -> Solver:
        """Put the jump before the steps of the solver."""
        return _Jumping(solver, self)

    def covers(self, component: Component, name: str, t: float) -> bool:
        """Whether noise dominates component `name` at `t`."""
        assert isinstance(component.path, GaussianPath)
        c = component.path.at(t)
        return float(c.s) >= self.level * self.moments[name].scale * float(c.a)


@dataclass(frozen=True)
class _Jumping(Wrapper):
    """The jump, then the steps that are left.

    Args:
        inner: Solver of the steps that are left.
        hook: The Gaussian start.
    """

    hook: GaussianStart

    def check(self, system: System) -> None:
        """Refuse a system whose components are not all Gaussian paths with moments."""
        self.inner.check(system)
        for name, component in system.items():
            if name not in self.hook.moments:
                raise expected(
                    "moments of the Gaussian start",
                    sorted(self.hook.moments),
                    f"those of every component, {name!r} too",
                    "give them, since all components move together",
                )
            path = component.path
            reason = path.lacks(component.space, "exponential")
            if component.source or not isinstance(path, GaussianPath):
                reason = "it is no Gaussian path from noise to data"
            if reason:
                raise SciflowError(
                    f"Gaussian start: got component {name!r} on path {type(path).__name__}, expected one whose flow "
                    f"is known in closed form for Gaussian data: {reason}; leave the hook out"
                )

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Replace the steps at whose end noise still dominates."""
        skipped, most = 0, len(knots) - 1 - getattr(self, "least", 1)
        while skipped < most and all(
            self.hook.covers(c, name, knots[skipped + 1]) for name, c in system.items()
        ):
            skipped += 1
        rest = self.inner.plan(system, knots[skipped:])
        if not skipped:
            return rest
        now = {name: c.path.at(knots[0]) for name, c in system.items()}
        return [Step(knots[0], knots[skipped], now, rest[0].now, last=False, extra=self), *rest]

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Jump, or step."""
        if step.extra is not self:
            return self.inner.step(system, predict, state, step, carry, streams)
        fields = {}
        for name, component in system.items():
            mask, centre = state.mask(name), system.centre(name, state)
            moments = self.hook.moments[name]
            if moments.mean.shape != state[name].shape[1:]:
                raise expected(
                    f"mean of component {name!r}",
                    tuple(moments.mean.shape),
                    f"the shape of a sample, {tuple(state[name].shape[1:])}",
                )
            if mask is not None and not bool(expand(mask, state[name]).all()):
                raise SciflowError(
                    f"Gaussian start: got padding in component {name!r}, expected samples of one size; leave the "
                    "hook out"
                )
            if isinstance(centre, Tensor):
                raise SciflowError(
                    f"Gaussian start: got component {name!r} with a centre of its own for each sample, expected one "
                    "law for all; leave the hook out"
                )
            shifted = Moments(moments.mean - centre, moments.variances, moments.directions)
            x = shifted.flow(state[name] - centre, step.now[name], step.then[name])
            fields[name] = component.space.project(x + centre, mask)
        return state.replace(**fields), carry
