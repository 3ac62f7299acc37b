r"""Adams methods in the chart of the straight path, with a correction that costs no network call.

Every Gaussian path is a straight one seen through y = x / (a + s) and u = a / (a + s), which runs from noise (0) to
data (1):

    dy / du = v = E[x_1 | x_t] - E[x_0 | x_t].

Nothing is singular in it, neither where no signal is left (a = 0) nor where no noise is (s = 0), and the velocity is
smoother than the data in log-SNR. The polynomial through v at the last p knots predicts the next state (Adams,
Bashforth). There v is asked for anyway, and lets the step that led there be done again with the new value in place of
the oldest (Adams, Moulton); both start at the same state, so the correction of the predicted state y is a sum of
velocities alone,

    y <- y + sum_j (W'_j - W_j) v_j,

and is folded into the next step, as in `unipc`.

Reference: Hairer, Norsett, Wanner, Solving ordinary differential equations I, section III.1 (variable steps: III.5), in
the mode predict, evaluate, correct; the chart is that of rectified flow, Liu, Gong, Liu, arXiv:2209.03003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, ClassVar

from ..errors import expected
from ..paths.gaussian import Coefficients
from ..state import State
from ..streams import Streams
from ..system import System
from .affine import Blend, blend
from .base import Predict, Solver, Step

POINTS = (1, 2, 3, 4)


def place(c: Coefficients) -> float:
    """Return u = a / (a + s): 0 where no signal is left, 1 where no noise is."""
    return float(c.a) / (float(c.a) + float(c.s))


def integral(points: Sequence[float], start: float, end: float) -> list[float]:
    """Return what the value at each point counts in the integral of the polynomial through them.

    Args:
        points: Where the values are taken; all different.
        start: Lower end of the integral.
        end: Upper end of the integral.
    """
    h = end - start
    # In units of the step, so that the powers stay of order one.
    at = [(p - start) / h for p in points]
    result = []
    for j, own in enumerate(at):
        basis = [1.0]  # coefficients of the Lagrange polynomial, lowest power first
        for m, other in enumerate(at):
            if m != j:
                shifted = [0.0, *basis]
                basis = [
                    (s - other * b) / (own - other)
                    for s, b in zip(shifted, [*basis, 0.0], strict=True)
                ]
        result.append(h * sum(b / (k + 1) for k, b in enumerate(basis)))
    return result


@dataclass(frozen=True)
class Adams(Solver):
    """Adams' predictor and corrector: one network call per step, order 2 or 3 (1 with a single point).

    The first steps have fewer values to go by, which bounds the order by 3; a fourth point makes errors smaller.
    Knots as for a flow: grid ``uniform``, or a little denser near the data (``power`` with exponent 1.5) on the linear
    path; grid ``chart`` gives the same knots on every path.

    Args:
        points: Number of values that the polynomials go through, 1 to 4.
        correct: Whether the predicted state is corrected; without, it is the method of Adams and Bashforth, of order 2
            at most.
    """

    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "exponential"

    points: int = 3
    correct: bool = True

    def __post_init__(self) -> None:
        if self.points not in POINTS:
            raise expected("points of solver Adams", self.points, "1, 2, 3 or 4")
        object.__setattr__(self, "order", float(min(self.points, 3 if self.correct else 2)))

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the state and of all velocities, the correction included."""
        steps = super().plan(system, knots)
        moves: list[dict[str, Blend]] = [{} for _ in steps]
        for name in system:
            knots_of = [*(step.now[name] for step in steps), steps[-1].then[name]]
            at = [place(c) for c in knots_of]
            scale = [float(c.a) + float(c.s) for c in knots_of]
            correction: list[float] = []
            for i in range(len(steps)):
                known = at[max(0, i + 1 - self.points) : i + 1][::-1]
                predicted = integral(known, at[i], at[i + 1])
                shares = _sum(predicted, correction)
                ends = tuple((w * scale[i + 1], -w * scale[i + 1], 0.0) for w in shares)
                moves[i][name] = Blend(scale[i + 1] / scale[i], ends)
                if self.correct:
                    points = [at[i + 1], *known][: self.points]
                    corrected = integral(points, at[i], at[i + 1])
                    correction = _sum(corrected, [0.0, *(-w for w in predicted)])
        return [replace(step, extra=w) for step, w in zip(steps, moves, strict=True)]

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
        """Correct and move at once; the carry is the believed ends of the last knots, newest first."""
        believed = predict(state, step.t)
        moved = blend(system, state, (believed, *carry), step.extra, streams)
        return moved, (believed, *carry)[: self.points]


def _sum(one: Sequence[float], other: Sequence[float]) -> list[float]:
    return [p + q for p, q in zip_longest(one, other, fillvalue=0.0)]
