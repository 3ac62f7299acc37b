r"""S4: symmetric splitting of the reversed diffusion, with a correction that shares its call.

The generator of dx = [a'/a x + g^2 score] dt + g dw is split in its linear part with the noise,
which is solved exactly, and the score. One step from t to s, with the middle m and the score taken
once, at the start:

    x <- x + e score + scale sqrt(2 e) z                      (correction, see `Langevin`)
    x <- (a_m / a_t) x + sqrt((a_m s_t / a_t)^2 - s_m^2) z    (half a step of the linear part)
    x <- x + (s_t^2 a_s / a_t - s_s^2 a_t / a_s) score        (the score's drift)
    x <- (a_s / a_m) x + sqrt((a_s s_m / a_m)^2 - s_s^2) z    (the other half)

The weight of the score is the integral of g^2 over the step, to second order. One call serves for what predictor
and corrector need two for.

Reference: Jo, Lee, Hwang, Score-based generative modeling of graphs via the system of stochastic
differential equations, arXiv:2202.02514, section 3.3 and appendix C. Their program takes g^2 at
the start of the step, and for VP the variance of the forward process in the halves; both agree
with the above to the order of the scheme. It returns the mean of the last half step, here the last
step returns the believed data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..paths.base import Ends
from ..paths.gaussian import Coefficients
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .affine import Affine, apply, exponential
from .base import Predict, Solver, Step
from .corrector import Langevin, scores


@dataclass(frozen=True)
class _Split:
    first: Affine
    second: Affine


def _linear(now: Coefficients, then: Coefficients) -> Affine:
    """Exact step of dx = a'/a x dt + g dw."""
    growth = float(then.a / now.a)
    variance = (growth * float(now.s)) ** 2 - float(then.s) ** 2
    return Affine(x=growth, noise=math.sqrt(max(variance, 0.0)))


def _split(now: Coefficients, middle: Coefficients, then: Coefficients) -> _Split | Affine:
    if now.a == 0:  # the diffusion is unbounded there: see `sde`
        return exponential(now, then)
    r = float(now.a / then.a)
    drift = float(now.s) ** 2 / r - float(then.s) ** 2 * r
    half = _linear(now, middle)
    # The score stands in the place of the data, so that its weight is the drift's.
    first = replace(half, x1=drift, centre=1 - half.x)
    return _Split(first, _linear(middle, then))


@dataclass(frozen=True)
class S4(Solver):
    """Splitting with a shared correction: one network call per step, weak order 1 for small snr.

    Args:
        snr: See `Langevin`; 0 leaves the correction out.
        scale: See `Langevin`.
        norm: See `Langevin`.
    """

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "score"

    snr: float = 0.16
    scale: float = 1.0
    norm: str = "path"

    def __post_init__(self) -> None:
        Langevin(self.snr, self.scale, self.norm)

    def lacks(self, component: Component) -> str:
        """As for every solver; the path must have a linear part besides."""
        path, space = component.path, component.space
        return super().lacks(component) or path.lacks(space, "exponential")

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the scalars of the splitting."""
        steps = []
        for step in super().plan(system, knots):
            if not step.last:
                middle = {name: c.path.at((step.t + step.s) / 2) for name, c in system.items()}
                splits = {
                    name: _split(step.now[name], middle[name], step.then[name]) for name in system
                }
                step = replace(step, extra=splits)
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
        """Correct and move from one prediction; the last step returns the believed data."""
        ends = predict(state, step.t)
        if step.last:
            fields = {name: c.clean(ends[name], state.mask(name)) for name, c in system.items()}
            return state.replace(**fields), carry
        score = scores(system, state, ends, step)
        langevin = Langevin(self.snr, self.scale, self.norm)
        if not langevin.idle(system, step):
            state = langevin.correct(system, state, score, step, streams)
        fields = {}
        for name, component in system.items():
            split, x, mask = step.extra[name], state[name], state.mask(name)
            centre = system.centre(name, state)
            if isinstance(split, Affine):
                fields[name] = apply(component, x, ends[name], split, streams, mask, centre)
                continue
            still = Ends(score[name])
            x = apply(component, x, still, split.first, streams, mask, centre)
            fields[name] = apply(component, x, still, split.second, streams, mask, centre)
        return state.replace(**fields), carry
