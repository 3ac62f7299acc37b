r"""UniPC: a multistep predictor, and a corrector that costs no network call.

At each knot the believed data D of the predicted state come anyway; they let the step that led there be done again with
one more value, and the corrected state is what moves on. Both use the same start, so the correction of the predicted
state x is a sum of believed data alone,

    x <- x + a_t sum_j (W'_j - W_j) D_j,

with W' the weights of the polynomial through all values (degree p for order p) and W those of the predictor (degree
p - 1). Nothing but believed data is carried, and what a hook does to the state between two steps is kept. With two
unknowns or more the weights follow from the polynomial; with one, UniPC puts rho = 1 / 2 and is left with a choice of
B(h): h (``bh1``) or e^h - 1 with h -> -h (``bh2``).

Reference: Zhao et al., UniPC: a unified predictor-corrector framework for fast sampling of diffusion models,
arXiv:2302.04867, algorithms 5 to 8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..errors import expected, unknown
from ..paths.base import Ends
from ..prediction import data_of
from ..state import State
from ..streams import Streams
from ..system import System
from .affine import Blend, blend, exponential
from .base import Predict, Solver, Step
from .exponential import MOST, finite_past
from .quadrature import level, weights

VARIANTS = ("bh1", "bh2")


def _scale(variant: str, h: float) -> float:
    return h if variant == "bh1" else -math.expm1(-h)


def predictor(past: Sequence[float], h: float, order: int, variant: str) -> list[float]:
    """Return what the data at the last knots count in the predictor, newest first; they sum to 1 - e^{-h}.

    Args:
        past: l at this knot and before, newest first.
        h: Length of the step in l.
        order: Order p to reach; lowered on a grid whose steps grow too fast.
        variant: One of `VARIANTS`.
    """
    mean = -math.expm1(-h)
    if order >= 3 and len(past) >= 3:
        shares = weights(1.0, h, [v - past[0] for v in past[:3]])
        if sum(abs(v) for v in shares) <= MOST[2] * mean:
            return shares
    if order >= 2 and len(past) >= 2:
        slope = min(_scale(variant, h) / 2 * h / (past[0] - past[1]), mean * (MOST[1] - 1) / 2)
        return [mean + slope, -slope]
    return [mean]


def corrector(past: Sequence[float], h: float, count: int, variant: str) -> list[float]:
    """Return what the data count in the corrector: at the end of the step, then at its start and before.

    Args:
        past: l at the start of the step and before, newest first.
        h: Length of the step in l.
        count: Number of values that the predictor used.
        variant: One of `VARIANTS`.
    """
    mean = -math.expm1(-h)
    if count == 1:
        slope = _scale(variant, h) / 2
        return [slope, mean - slope]
    return weights(1.0, h, [h, *(v - past[0] for v in past[:count])])


@dataclass(frozen=True)
class UniPC(Solver):
    """UniPC: one network call per step, order p + 1 in the corrected states; p is promised.

    Args:
        order: p, 2 or 3; see `DPMSolverPP` on grids.
        variant: ``"bh1"`` or ``"bh2"``; see this module.
    """

    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "exponential"

    order: int = 2  # type: ignore[assignment]
    variant: str = "bh2"

    def __post_init__(self) -> None:
        if self.order not in (2, 3):
            raise expected("order of solver UniPC", self.order, "2 or 3")
        if self.variant not in VARIANTS:
            raise unknown("variant of solver UniPC", self.variant, VARIANTS)
        object.__setattr__(self, "least", self.order)

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the state and of all believed data, the correction included."""
        steps = super().plan(system, knots)
        planned: list[Step] = []
        before: dict[str, Sequence[float]] = dict.fromkeys(system, ())
        for i, step in enumerate(steps):
            moves = {}
            for name in system:
                now, then = step.now[name], step.then[name]
                past = finite_past(steps, i, name, self.order)
                plain, end = exponential(now, then), level(then)
                own, shares = plain.x, [plain.x1]
                if past and not math.isinf(end):
                    h = end - past[0]
                    counts = predictor(past, h, self.order, self.variant)
                    shares = [float(then.a) * w for w in counts]
                corrected = self._with_correction(own, shares, before[name])
                moves[name] = Blend(own, tuple((w, 0.0, 0.0) for w in corrected), centre=0.0)
                before[name] = self._correction(past, end, float(then.a), shares)
                moves[name] = replace(moves[name], centre=1 - own - sum(shares))
            planned.append(replace(step, extra=moves))
        return planned

    @staticmethod
    def _with_correction(
        own: float, shares: Sequence[float], correction: Sequence[float]
    ) -> list[float]:
        """Weights of a step from the corrected state, said of the state as it is."""
        count = max(len(shares), len(correction)) if own else len(shares)
        old = [*correction, *[0.0] * (count - len(correction))]
        new = [*shares, *[0.0] * (count - len(shares))]
        return [n + own * o for n, o in zip(new, old, strict=False)]

    def _correction(
        self, past: Sequence[float], end: float, a: float, shares: Sequence[float]
    ) -> tuple[float, ...]:
        """Weights of the correction of the state at the end of a step, newest data first."""
        if not past or math.isinf(end):
            return ()
        h = end - past[0]
        better = corrector(past, h, len(shares), self.variant)
        rest = [a * w - p for w, p in zip(better[1:], shares, strict=True)]
        return (a * better[0], *rest)

    def start(self) -> Any:
        """Nothing is remembered yet."""
        return ()

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Correct and move at once; the carry is the believed data of the last knots, newest first."""
        believed = {name: data_of(end) for name, end in predict(state, step.t).items()}
        beliefs: tuple[Mapping[str, Ends], ...] = (believed, *carry)
        return blend(system, state, beliefs, step.extra, streams), beliefs[: self.order]
