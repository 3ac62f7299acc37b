r"""Ancestral sampling: draw x_s from q(x_s | x_t, x_1) with the believed data; for every path.

On a Gaussian path this is DDPM's posterior with the predicted mean; on a jump path the exact one-element posterior,
marginalised over the predicted class probabilities. The last step returns the believed data itself (for classes the
most likely one), so no noise is left whatever the path.

Reference: Ho, Jain, Abbeel, Denoising diffusion probabilistic models, arXiv:2006.11239, equation 7; Austin et al.,
arXiv:2107.03006, equation 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..state import State
from ..streams import Streams
from ..system import System
from .base import Predict, Solver, Step


@dataclass(frozen=True)
class Ancestral(Solver):
    """Ancestral sampling; one network call per step, weak order 1, any path."""

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "posterior"

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
        fields = {}
        for name, component in system.items():
            mask = state.mask(name)
            if step.last:
                fields[name] = component.clean(ends[name], mask)
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
