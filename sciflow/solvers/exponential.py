r"""Exponential integrators of data prediction: exact in the linear part of the flow (see `quadrature`).

DPM-Solver++ replaces the believed data D by a polynomial in l = log(a / s). Multistep, it goes through the values at
this and the last knots: one network call per step. Singlestep, through values at stages within the step. Each component
has its own l; all take every stage together.

Reference: Song, Meng, Ermon, Denoising diffusion implicit models, arXiv:2010.02502, equation 12 (DDIM, eta by equation
16); Lu et al., DPM-Solver++: fast solver for guided sampling of diffusion probabilistic models, arXiv:2211.01095,
algorithms 1 and 2; Gonzalez et al., arXiv:2305.14267 (diffusions).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..errors import expected
from ..paths.gaussian import Coefficients
from ..prediction import data_of
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .affine import Affine, Blend, blend, exponential, move
from .base import Predict, Solver, Step
from .quadrature import level, weights
from .singlestep import DPMSolverPPSingle

MOST = (1.0, 3.0, 7.0)
"""How much errors of the values may grow in a step of order 1, 2, 3: as on an even grid with long steps."""

ORDERS = (1, 2, 3)


def chosen_order(solver: str, order: object) -> int:
    """Return an order if it is one of `ORDERS`.

    Raises:
        SciflowError: It is not.
    """
    if order not in ORDERS:
        raise expected(f"order of solver {solver}", order, "1, 2 or 3")
    return int(order)  # type: ignore[call-overload]


def extrapolated(levels: Sequence[float], then: float, rate: float, order: int) -> list[float]:
    """Return what the data at this knot and the last ones count in a multistep step, newest first.

    The order is the highest that the grid bears: with steps that grow too fast a polynomial runs away, so where the
    weights would let errors grow more than by `MOST`, the order is lowered; at order 2 the slope is shortened.

    Args:
        levels: l at this knot and at those before it, newest first; finite.
        then: l at the end of the step; finite.
        rate: Rate of the kernel (see `quadrature`).
        order: The order to reach.
    """
    h = then - levels[0]
    mean = -math.expm1(-rate * h)
    if order >= 3 and len(levels) >= 3:
        shares = weights(rate, h, [v - levels[0] for v in levels[:3]])
        if sum(abs(v) for v in shares) <= MOST[2] * mean:
            return shares
    if order >= 2 and len(levels) >= 2:
        # The value of the line in the middle of the step, as in the paper.
        w = min(h / (2 * (levels[0] - levels[1])), (MOST[1] - 1) / 2)
        return [mean * (1 + w), -mean * w]
    return [mean]


def finite_past(steps: Sequence[Step], i: int, name: str, count: int) -> list[float]:
    """Return l of a component at knot i and before, newest first: `count` at most, up to the first infinite one."""
    past = []
    for step in reversed(steps[max(0, i + 1 - count) : i + 1]):
        value = level(step.now[name])
        if math.isinf(value):
            break
        past.append(value)
    return past


def multistep(
    now: Coefficients, then: Coefficients, past: Sequence[float], order: int, eta: float
) -> Blend:
    """Return the weights of one multistep step of one component.

    Args:
        now: Coefficients at the start.
        then: Coefficients at the end.
        past: See `finite_past`.
        order: Order to reach.
        eta: Share of the reversed diffusion's noise; 0 is the flow.
    """
    end = level(then)
    if not past or math.isinf(end):
        plain = exponential(now, then)
        return Blend(plain.x, plain.ends)
    h, more = end - past[0], eta**2
    shares = extrapolated(past, end, 1 + more, order)
    ratio = float(then.s) / float(now.s) * math.exp(-more * h)
    noise = float(then.s) * math.sqrt(-math.expm1(-2 * more * h)) if more else 0.0
    return Blend(ratio, tuple((float(then.a) * w, 0.0, 0.0) for w in shares), noise)


class Multistep(Solver):
    """Abstract: one network call per step, which remembers the believed data of the last knots.

    A subclass is a dataclass with an `order`. The first steps are of a lower order, since there are no values before
    them; so is the last where no noise is left at t = 1: it returns the believed data.
    """

    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "exponential"

    @abstractmethod
    def weights(self, system: System, steps: Sequence[Step], i: int) -> Mapping[str, Blend]:
        """Weights of step i."""

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the step."""
        steps = super().plan(system, knots)
        return [
            replace(step, extra=self.weights(system, steps, i)) for i, step in enumerate(steps)
        ]

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
        """Move with the extrapolated data; the carry is the believed data of the last knots, newest first."""
        believed = {name: data_of(end) for name, end in predict(state, step.t).items()}
        beliefs = (believed, *carry)
        moved = blend(system, state, beliefs, step.extra, streams)
        return moved, beliefs[: int(self.order) - 1]


@dataclass(frozen=True)
class DPMSolverPP(Multistep):
    """DPM-Solver++, multistep or singlestep, order 1 (DDIM), 2 or 3.

    Order 2 and 3 need knots at which the data hardly change any more when the last step starts: s^2 at the last inner
    knot has to fall as a power of the step. Uniform knots do that for linear and cosine paths at order 2; for VP, and
    for order 3, take grid ``log-snr``. On a grid whose steps in l grow too fast the order lowers itself.

    Args:
        order: 1, 2 or 3.
        singlestep: Values within the step in place of those before it: `order` network calls per step.
    """

    order: int = 2  # type: ignore[assignment]
    singlestep: bool = False

    def __post_init__(self) -> None:
        order = chosen_order("DPMSolverPP", self.order)
        object.__setattr__(self, "calls", order if self.singlestep else 1)
        object.__setattr__(self, "least", 1 if self.singlestep else order)

    def weights(self, system: System, steps: Sequence[Step], i: int) -> Mapping[str, Blend]:
        step = steps[i]
        return {
            name: multistep(
                step.now[name],
                step.then[name],
                finite_past(steps, i, name, self.order),
                self.order,
                0.0,
            )
            for name in system
        }

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights, or the stages."""
        if self.singlestep:
            return DPMSolverPPSingle(self.order).plan(system, knots)
        return super().plan(system, knots)

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Extrapolate, or take the stages."""
        if self.singlestep:
            single = DPMSolverPPSingle(self.order)
            return single.step(system, predict, state, step, carry, streams)
        return super().step(system, predict, state, step, carry, streams)


@dataclass(frozen=True)
class DPMSolverPP2M(DPMSolverPP):
    """DPM-Solver++ 2M: `DPMSolverPP` as most people use it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order != 2 or self.singlestep:
            raise expected(
                "options of solver dpm++2m",
                {"order": self.order, "singlestep": self.singlestep},
                "none",
                "use solver 'dpm++'",
            )


@dataclass(frozen=True)
class DPMSolverSDE(Multistep):
    """DPM-Solver++ for the reversed diffusion (2M SDE, 3M SDE): fresh noise in each step, weak order 1.

    The believed data are extrapolated as in `DPMSolverPP`, which makes the error of the drift small; the noise keeps
    the weak order at 1 in general. The last step returns the believed data. Where no signal is left at the start the
    first step keeps its noise instead of drawing it anew, which has the same law.

    Args:
        order: 1, 2 or 3: the order in the believed data.
        eta: Share of the diffusion's noise, >= 0; 0 leaves the flow.
    """

    order: int = 2  # type: ignore[assignment]
    eta: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "least", chosen_order("DPMSolverSDE", self.order))
        if not 0 <= self.eta < math.inf:
            raise expected("eta of solver DPMSolverSDE", self.eta, "a number >= 0")

    def lacks(self, component: Component) -> str:
        """Noise asks for a Gaussian noise end as well."""
        return super().lacks(component) or component.path.lacks(component.space, "score")

    def weights(self, system: System, steps: Sequence[Step], i: int) -> Mapping[str, Blend]:
        step = steps[i]
        if step.last:
            return {name: Blend(0.0, ((1.0, 0.0, 0.0),)) for name in system}
        return {
            name: multistep(
                step.now[name],
                step.then[name],
                finite_past(steps, i, name, self.order),
                self.order,
                self.eta,
            )
            for name in system
        }


@dataclass(frozen=True)
class DDIM(Solver):
    """DDIM: exact while the believed data stay as they are; one network call per step, order 1.

        x_s = a_s E[x_1] + sqrt(s_s^2 - eta^2 v) E[x_0] + eta sqrt(v) z,   v = s_s^2 (1 - (a_t s_s / (a_s s_t))^2)

    Args:
        eta: Share of the noise that is drawn anew: 0 is the flow, 1 ancestral sampling, whose last step returns the
            believed data.
    """

    order: ClassVar[float] = 1.0
    calls: ClassVar[int] = 1
    needs: ClassVar[str] = "exponential"

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise expected("eta of solver DDIM", self.eta, "a number from 0 to 1")

    def lacks(self, component: Component) -> str:
        """Fresh noise asks for a Gaussian noise end as well."""
        reason = super().lacks(component)
        return reason or (component.path.lacks(component.space, "score") if self.eta else "")

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the weights of the step."""
        steps = super().plan(system, knots)
        return [replace(step, extra=self._weights(system, step)) for step in steps]

    def _weights(self, system: System, step: Step) -> Mapping[str, Affine]:
        if step.last and self.eta:
            return {name: Affine(0.0, 1.0) for name in system}
        return {name: self._one(step.now[name], step.then[name]) for name in system}

    def _one(self, now: Coefficients, then: Coefficients) -> Affine:
        plain = exponential(now, then)
        if not self.eta:
            return plain
        r = float(now.a) * float(then.s) / (float(then.a) * float(now.s))
        noise = self.eta * float(then.s) * math.sqrt(max(1 - r**2, 0.0))
        ratio = math.sqrt(max(float(then.s) ** 2 - noise**2, 0.0)) / float(now.s)
        return Affine(ratio, float(then.a) - float(now.a) * ratio, 0.0, noise)

    def step(
        self,
        system: System,
        predict: Predict,
        state: State,
        step: Step,
        carry: Any,
        streams: Streams,
    ) -> tuple[State, Any]:
        """Move every component by its weights."""
        return move(system, state, predict(state, step.t), step.extra, streams), carry
