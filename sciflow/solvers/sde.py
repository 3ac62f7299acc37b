r"""Solvers of the reversed diffusion, dx = [a'/a x + g^2 score] dt + g dw.

Two discretisations; both have weak order 1 and return the believed data from the last step, so
that no noise is left. Where no signal is left at the start (a = 0: linear and cosine paths at
t = 0) the diffusion g is unbounded; the state knows nothing of the data there, and the first step
keeps its noise instead of drawing it anew, which has the same law.

It is one of a family: with the velocity b of the flow, every

    dx = (b + eps score) dt + sqrt(2 eps) dw,    eps(t) >= 0,

has the same marginals; eps = g^2 / 2 gives the reversed diffusion, eps = 0 the flow. A step of length h is unstable
once eps h exceeds the variance of the narrowest feature of the law, and no feature of x_t is narrower than its noise,
s or gamma. So a given eps is held below `STIFF` times that variance divided by h: the law stays what it is, since it
does not depend on eps, and large steps do not explode.

Reference: Song et al., arXiv:2011.13456, equation 6 and appendix E (reverse diffusion sampler); Albergo, Boffi,
Vanden-Eijnden, arXiv:2303.08797, equation 2.33 and corollary 2.18 (any eps).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..errors import expected
from ..paths.gaussian import Coefficients, GaussianPath
from ..paths.interpolant import Interpolant
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .affine import Affine, apply, exponential, move, velocity
from .base import Predict, Solver, Step

STIFF = 0.25
"""Most that eps h may be of the variance of the noise: the variance of a feature as narrow is then 8/7 of the true."""


class ReversedDiffusion(Solver):
    """Abstract: a solver whose step on every component is affine, with noise."""

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "score"

    @abstractmethod
    def weights(
        self, component: Component, now: Coefficients, then: Coefficients, length: float
    ) -> Affine:
        """Weights of one step that is not the last.

        Args:
            component: The component.
            now: Coefficients at t.
            then: Coefficients at s.
            length: s - t.
        """

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the step."""
        steps = []
        for step in super().plan(system, knots):
            length = step.s - step.t
            if step.last:  # between two data sets the last bit of the way is the flow's
                weights = {
                    name: velocity(step.now[name], length)
                    for name, c in system.items()
                    if isinstance(c.path, Interpolant)
                }
            else:
                weights = {
                    name: self.weights(c, step.now[name], step.then[name], length)
                    for name, c in system.items()
                }
            steps.append(replace(step, extra=weights))
        return steps

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Move every component; the last step returns the believed data."""
        ends = predict(state, step.t)
        if not step.last:
            return move(system, state, ends, step.extra, streams), carry
        fields = {}
        for name, c in system.items():
            if name in step.extra:
                w, mask = step.extra[name], state.mask(name)
                fields[name] = apply(c, state[name], ends[name], w, streams, mask)
            else:
                fields[name] = c.clean(ends[name], state.mask(name))
        return state.replace(**fields), carry


@dataclass(frozen=True)
class EulerMaruyama(ReversedDiffusion):
    """Euler-Maruyama: drift and diffusion as they are at the start of the step; weak order 1.

    Args:
        epsilon: The diffusion eps of this module, a number >= 0, or ``"path"``: g^2 / 2 on a Gaussian path, and
            gamma^2 between two data sets, which forgets the latent noise at rate 1.
    """

    epsilon: float | str = "path"

    def __post_init__(self) -> None:
        if self.epsilon == "path":
            return
        if isinstance(self.epsilon, str) or not 0 <= self.epsilon < math.inf:
            raise expected(
                "epsilon of solver euler-maruyama", self.epsilon, "a number >= 0, or 'path'"
            )

    def weights(
        self, component: Component, now: Coefficients, then: Coefficients, length: float
    ) -> Affine:
        """The drift in terms of the ends is a' x_1 + (s' - eps / s) x_0, or with eps / gamma on z."""
        flow = velocity(now, length)
        if isinstance(component.path, GaussianPath):
            scale = float(now.s)
            if self.epsilon == "path":
                if now.a == 0:
                    return exponential(now, then)
                strength = length * float(now.diffusion) / 2
            else:
                strength = min(length * float(self.epsilon), STIFF * scale**2)
            drift = replace(flow, x0=flow.x0 - strength / scale)
        else:
            scale = float(now.gamma)
            epsilon = scale**2 if self.epsilon == "path" else float(self.epsilon)
            strength = min(length * epsilon, STIFF * scale**2)
            drift = replace(flow, z=flow.z - strength / scale)
        return replace(drift, noise=math.sqrt(2 * strength))


@dataclass(frozen=True)
class ReverseDiffusion(ReversedDiffusion):
    """Reverse diffusion: discretised as the forward process between two knots is; weak order 1.

    Forward, x_t = r x_s + sqrt(v) z with r = a_t / a_s and v = s_t^2 - r^2 s_s^2; backward,
    x_s = (2 - r) x_t + v score + sqrt(v) z.
    """

    def lacks(self, component: Component) -> str:
        """As for every solver; the forward process must have a linear part besides."""
        path, space = component.path, component.space
        return super().lacks(component) or path.lacks(space, "exponential")

    def weights(
        self, component: Component, now: Coefficients, then: Coefficients, length: float
    ) -> Affine:
        """As in the class."""
        if now.a == 0:
            return exponential(now, then)
        r = float(now.a / then.a)
        v = max(float(now.s) ** 2 - (r * float(then.s)) ** 2, 0.0)
        return Affine(2 - r, 0.0, -v / float(now.s), math.sqrt(v))
