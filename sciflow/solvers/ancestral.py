r"""Ancestral sampling: draw x_s from q(x_s | x_t, x_1) with the believed data; for every path.

On a Gaussian path this is DDPM's posterior with the predicted mean; on a jump path the exact one-element posterior,
marginalised over the predicted class probabilities. The last step returns the believed data itself (for classes the
most likely one), so no noise is left whatever the path.

Reference: Ho, Jain, Abbeel, Denoising diffusion probabilistic models, arXiv:2006.11239, equation 7; Austin et al.,
arXiv:2107.03006, equation 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..paths.gaussian import Coefficients, GaussianPath
from ..state import State
from ..streams import Streams
from ..system import System
from .affine import Affine, apply, move
from .base import Predict, Solver, Step


def _draw(now: Coefficients, then: Coefficients) -> Affine:
    """Weights of a draw of x_s given x_t and x_1, as `GaussianPath.posterior` makes it."""
    r = float(now.a) / float(then.a)
    v = float(now.s) ** 2 - (r * float(then.s)) ** 2
    noise = math.sqrt(max(v, 0.0)) * float(then.s) / float(now.s)
    share = 1 / float(now.s) ** 2
    return Affine(r * float(then.s) ** 2 * share, float(then.a) * v * share, 0.0, noise)


@dataclass(frozen=True)
class Ancestral(Solver):
    """Ancestral sampling; one network call per step, weak order 1, any path."""

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "posterior"

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the posterior's draw where it is a sum with noise: on Gaussian paths."""
        steps = super().plan(system, knots)
        gaussian = [
            n for n, c in system.items() if type(c.path).posterior is GaussianPath.posterior
        ]
        return [
            step
            if step.last
            else replace(step, extra={n: _draw(step.now[n], step.then[n]) for n in gaussian})
            for step in steps
        ]

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Move every component by its posterior; the last step returns the believed data."""
        ends = predict(state, step.t)
        if not step.last and len(step.extra) == len(system):
            return move(system, state, ends, step.extra, streams), carry
        fields = {}
        for name, component in system.items():
            mask = state.mask(name)
            if step.last:
                fields[name] = component.clean(ends[name], mask)
            elif name in (step.extra or ()):
                centre = system.centre(name, state)
                x, end, w = state[name], ends[name], step.extra[name]
                fields[name] = apply(component, x, end, w, streams, mask, centre)
            else:
                fields[name] = component.posterior(
                    state[name],
                    ends[name],
                    step.now[name],
                    step.then[name],
                    streams,
                    mask,
                    system.centre(name, state),
                )
        return state.replace(**fields), carry
