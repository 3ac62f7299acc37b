r"""Solvers of the reversed diffusion, dx = [a'/a x + g^2 score] dt + g dw.

Two discretisations; both have weak order 1 and return the believed data from the last step, so
that no noise is left. Where no signal is left at the start (a = 0: linear and cosine paths at
t = 0) the diffusion g is unbounded; the state knows nothing of the data there, and the first step
keeps its noise instead of drawing it anew, which has the same law.

Reference: Song et al., arXiv:2011.13456, equation 6 and appendix E (reverse diffusion sampler).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..paths.gaussian import Coefficients
from ..state import State
from ..streams import Streams
from ..system import System
from .affine import Affine, exponential, move
from .base import Predict, Solver, Step


class ReversedDiffusion(Solver):
    """Abstract: a solver whose step on every component is affine, with noise."""

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "score"

    @abstractmethod
    def weights(self, now: Coefficients, then: Coefficients, length: float) -> Affine:
        """Weights of one step.

        Args:
            now: Coefficients at t, with a > 0.
            then: Coefficients at s.
            length: s - t.
        """

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the step."""
        steps = []
        for step in super().plan(system, knots):
            if not step.last:
                pairs = {name: (step.now[name], step.then[name]) for name in system}
                weights = {
                    name: self.weights(now, then, step.s - step.t)
                    if now.a > 0
                    else exponential(now, then)
                    for name, (now, then) in pairs.items()
                }
                step = replace(step, extra=weights)
            steps.append(step)
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
        fields = {name: c.clean(ends[name], state.mask(name)) for name, c in system.items()}
        return state.replace(**fields), carry


@dataclass(frozen=True)
class EulerMaruyama(ReversedDiffusion):
    """Euler-Maruyama: drift and diffusion as they are at the start of the step; weak order 1."""

    def weights(self, now: Coefficients, then: Coefficients, length: float) -> Affine:
        """The drift in terms of the ends is a' x_1 + (2 s' - s a' / a) x_0."""
        drift = float(2 * now.ds - now.s * now.da / now.a)
        noise = math.sqrt(length * float(now.diffusion))
        return Affine(1.0, length * float(now.da), length * drift, noise)


@dataclass(frozen=True)
class ReverseDiffusion(ReversedDiffusion):
    """Reverse diffusion: discretised as the forward process between two knots is; weak order 1.

    Forward, x_t = r x_s + sqrt(v) z with r = a_t / a_s and v = s_t^2 - r^2 s_s^2; backward,
    x_s = (2 - r) x_t + v score + sqrt(v) z.
    """

    def weights(self, now: Coefficients, then: Coefficients, length: float) -> Affine:
        """As in the class."""
        r = float(now.a / then.a)
        v = max(float(now.s) ** 2 - (r * float(then.s)) ** 2, 0.0)
        return Affine(2 - r, 0.0, -v / float(now.s), math.sqrt(v))
