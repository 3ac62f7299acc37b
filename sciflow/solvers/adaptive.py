r"""Dormand and Prince's method of order 5, with a step size for each sample.

Six new slopes give y_5 of order 5 and the error e = y_5 - y_4 of an embedded method of order 4. With

    r = root mean square over the elements of  e / (atol + rtol max(|x|, |y|)),

a step is accepted where r <= 1, and the next one is longer by the factor 0.9 r^{-1/5}, kept in [0.2, 5]. Each sample
has its own time, step and verdict, so that no sample depends on its batch mates: one network call serves all of them,
at one time per sample.

Between two knots the solver moves freely; knots are only where hooks and records look, so take few (one step is a
run). Where no noise is left at t = 1 it stops where s / a has fallen to `_END` times the root of rtol, and returns the
believed data from there, which costs O(s^2).

Reference: Dormand, Prince, A family of embedded Runge-Kutta formulae, J. Comp. Appl. Math. 6 (1980) 19; Hairer,
Norsett, Wanner, Solving ordinary differential equations I, section II.4 (step size, first step).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import SciflowError, expected
from ..paths.gaussian import GaussianPath
from ..shapes import expand
from ..state import State
from ..streams import Streams
from ..system import Component, System
from .affine import Affine, move
from .base import Predict, Solver, Step
from .stages import closed

_C = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
_END = 0.03
"""s / a at which the last step begins, over the root of rtol."""

Slopes = Mapping[str, Tensor]


@dataclass(frozen=True)
class Work:
    """What a run of an adaptive solver cost.

    Args:
        calls: Network calls.
        accepted: Accepted steps of each sample, int64 ``[B]``.
        rejected: Rejected steps of each sample, int64 ``[B]``.
    """

    calls: int
    accepted: Tensor
    rejected: Tensor


@dataclass(frozen=True)
class _Carry:
    h: Tensor
    work: Work


@dataclass(frozen=True)
class Dopri5(Solver):
    """Dormand-Prince, order 5: six network calls per attempted step, and two to choose the first.

    Args:
        rtol: Tolerance relative to the state, > 0.
        atol: Absolute tolerance, > 0.
        shared: One time and step for the whole batch, ruled by its worst sample: for hooks, and for paths without
            closed-form coefficients. Samples then depend on their batch mates.
        most: Network calls that it may take between two knots.
        report: Called with the `Work` of a run at its end.
    """

    order: ClassVar[float] = 5.0
    calls: ClassVar[int] = 6

    rtol: float = 1e-4
    atol: float = 1e-5
    shared: bool = False
    most: int = 10_000
    report: Callable[[Work], None] | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise expected(f"{name} of solver Dopri5", value, "a number > 0")
        if self.most < 8:
            raise expected("most of solver Dopri5", self.most, "at least 8 network calls")
        object.__setattr__(self, "own_times", not self.shared)

    def lacks(self, component: Component) -> str:
        """Times of each sample ask for coefficients at many times at once."""
        reason = super().lacks(component)
        if not reason and not self.shared and not hasattr(component.path, "coefficients"):
            return "it knows its velocity at one time for all samples only; set shared = true"
        return reason

    def plan(self, system: System, knots: Sequence[float]) -> list[Step]:
        """Add the time up to which the last step is integrated."""
        steps = super().plan(system, knots)
        last = steps[-1]
        if closed(last):
            stop = max(_before_the_end(c, _END * math.sqrt(self.rtol)) for c in system.values())
            steps[-1] = replace(last, extra=max(stop, (last.t + last.s) / 2))
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
        """Integrate to the next knot; the carry is the step size of each sample and the work so far."""
        run = _Run(self, system, predict, step)
        state, carry = run(state, carry)
        if step.extra is not None:
            ends = predict(state, step.extra)
            data = {name: Affine(0.0, 1.0) for name in system}
            state = move(system, state, ends, data, streams)
            carry = replace(carry, work=replace(carry.work, calls=carry.work.calls + 1))
        if step.last and self.report is not None:
            self.report(carry.work)
        return state, carry


def _before_the_end(component: Component, noise: float) -> float:
    """Time at which little noise is left."""
    path = component.path
    if isinstance(path, GaussianPath):
        level = torch.tensor(-2 * math.log(noise), dtype=torch.float64)
        return min(float(path.time(level)), 1 - 1e-12)
    return 1 - noise


class _Run:
    """One stretch from knot to knot."""

    def __init__(self, solver: Dopri5, system: System, predict: Predict, step: Step) -> None:
        self.solver, self.system, self.predict, self.step = solver, system, predict, step
        self.stop = step.s if step.extra is None else float(step.extra)
        self.calls = 0

    def slopes(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Velocity of every component at the times `t`: ``[B]``, or ``[1]`` where they are shared."""
        self.calls += 1
        shared = self.solver.shared
        ends = self.predict(state, float(t) if shared else t)  # type: ignore[arg-type]
        slopes = {}
        for name, component in self.system.items():
            end, x = ends[name], state[name]
            path: Any = component.path
            c = self.system.at(float(t))[name] if shared else path.coefficients(t.to(x.dtype))
            v = torch.zeros_like(x)
            for weight, value in ((c.da, end.x1), (c.ds, end.x0), (c.dgamma, end.z)):
                if value is not None:
                    w = torch.as_tensor(weight, dtype=x.dtype, device=x.device)
                    v = v + expand(w, x) * value
            slopes[name] = component.space.tangent(v, state.mask(name))
        return slopes

    def moved(
        self, state: State, h: Tensor, slopes: Sequence[Slopes], row: Sequence[float]
    ) -> State:
        """Return x + h sum_i row_i v_i."""
        fields = {}
        for name, component in self.system.items():
            x = state[name]
            v = sum(w * k[name] for w, k in zip(row, slopes, strict=True) if w)
            assert isinstance(v, Tensor)
            moved = x + expand(h.to(x.dtype), x) * v
            fields[name] = component.space.project(moved, state.mask(name))
        return state.replace(**fields)

    def size(self, state: State, other: State, vectors: Slopes) -> dict[str, Tensor]:
        """Sum of squares of vectors in units of the tolerance, of each sample and component."""
        sizes = {}
        for name, vector in vectors.items():
            space, mask = self.system[name].space, state.mask(name)
            ends = (space.project(part[name], mask).abs() for part in (state, other))
            scale = torch.maximum(*ends)
            unit = self.solver.atol + self.solver.rtol * scale
            sizes[name] = (vector / unit).square().flatten(1).sum(1).double()
        return sizes

    def norm(self, sizes: Mapping[str, Tensor], count: Tensor) -> Tensor:
        """Root mean square over all components: ``[B]``, or its maximum ``[1]`` where steps are shared."""
        norm = (sum(sizes.values(), torch.zeros_like(count)) / count).sqrt()
        return norm.amax(0, keepdim=True) if self.solver.shared else norm

    def first(self, state: State, t: Tensor, k: Slopes, count: Tensor) -> Tensor:
        """First step, from the size of the slope and of its change along a small step."""
        zero, one = self.size(state, state, dict(state)), self.size(state, state, k)
        d0, d1 = self.norm(zero, count), self.norm(one, count)
        h = torch.where((d0 > 1e-5) & (d1 > 1e-5), 0.01 * d0 / d1.clamp_min(1e-5), 1e-6)
        h = torch.minimum(h, (self.stop - t) / 2)
        ahead = self.slopes(self.moved(state, h, [k], [1.0]), t + h)
        change = {name: ahead[name] - k[name] for name in k}
        d2 = self.norm(self.size(state, state, change), count) / h
        worst = torch.maximum(d1, d2)
        new = torch.where(worst > 1e-15, (0.01 / worst.clamp_min(1e-15)) ** 0.2, h.clamp_min(1e-6))
        return torch.minimum(100 * h, new)

    def __call__(self, state: State, carry: _Carry | None) -> tuple[State, _Carry]:
        solver, device = self.solver, state.device
        batch = 1 if solver.shared else state.batch_size
        t = torch.full((batch,), self.step.t, dtype=torch.float64, device=device)
        count = sum(
            c.space.dimension(state[n], state.mask(n)).double() for n, c in self.system.items()
        )
        assert isinstance(count, Tensor)
        count = count.clamp_min(1.0)
        k = self.slopes(state, t)
        self.finite(k, t)
        if carry is None:
            none = torch.zeros(state.batch_size, dtype=torch.int64, device=device)
            carry = _Carry(self.first(state, t, k, count), Work(0, none, none))
        h, accepted, rejected = carry.h, carry.work.accepted, carry.work.rejected
        while bool((t < self.stop).any()):
            active = t < self.stop
            left = self.stop - t
            # No sliver is left over, and the last step ends on the knot.
            h_now = torch.where(h >= 0.99 * left, left, h)
            h_now = torch.where(active, h_now, 0.0)
            end = torch.where(h_now == left, self.stop, t + h_now)
            slopes: list[Slopes] = [k]
            y = state
            for c, row in zip(_C, _A, strict=True):
                y = self.moved(state, h_now, slopes, row)
                slopes.append(self.slopes(y, end if c == 1.0 else t + c * h_now))
            h_x = {n: expand(h_now.to(y[n].dtype), y[n]) for n in y}
            errors = {
                n: h_x[n] * sum(w * s[n] for w, s in zip(_E, slopes, strict=True) if w)
                for n in self.system
            }
            sizes = self.size(state, y, errors)
            r = self.norm(sizes, count)
            self.finite(errors, t)
            good = active & (r <= 1)
            self.possible(sizes, t, h_now, active & ~good)
            fields = {n: torch.where(expand(good, y[n]), y[n], state[n]) for n in self.system}
            state = state.replace(**fields)
            k = {n: torch.where(expand(good, v), slopes[-1][n], v) for n, v in k.items()}
            t = torch.where(good, end, t)
            factor = (0.9 * r.clamp_min(1e-10) ** -0.2).clamp(0.2, 5.0)
            # A step that the knot cut short says nothing against a longer one.
            longer = torch.where(
                good & (h_now < h), torch.maximum(h, h_now * factor), h_now * factor
            )
            h = torch.where(active, longer, h)
            accepted = accepted + good
            rejected = rejected + (active & ~good)
        return state, _Carry(h, Work(carry.work.calls + self.calls, accepted, rejected))

    def finite(self, vectors: Slopes, t: Tensor) -> None:
        """Refuse what is no number, by name.

        Raises:
            SciflowError: A slope or an error is not finite.
        """
        for name, vector in vectors.items():
            bad = ~vector.flatten(1).isfinite().all(1)
            if bool(bad.any()):
                i = int(bad.nonzero()[0])
                raise SciflowError(
                    f"solver Dopri5: got a velocity of component {name!r} that is not finite, in sample {i} near "
                    f"t = {float(t[i if len(t) > 1 else 0]):.6g}, expected numbers; look at the network there, or at "
                    "what hooks do to the state"
                )

    def possible(self, sizes: Mapping[str, Tensor], t: Tensor, h: Tensor, failed: Tensor) -> None:
        """Refuse a tolerance that can't be met.

        Raises:
            SciflowError: A step has become too small, or there were too many.
        """
        tiny = failed & (h < 1e-13)
        if not bool(tiny.any()) and self.calls <= self.solver.most:
            return
        i = int((tiny if bool(tiny.any()) else failed | (t < self.stop)).nonzero()[0])
        worst = max(sizes, key=lambda n: float(sizes[n][i] if len(t) > 1 else sizes[n].max()))
        raise SciflowError(
            f"solver Dopri5: got component {worst!r} of sample {i} at t = {float(t[i]):.6g} with steps of "
            f"{float(h[i]):.2g} after {self.calls} network calls, expected an error within rtol = "
            f"{self.solver.rtol:g} and atol = {self.solver.atol:g}; loosen the tolerances, compute in float64, or "
            "raise `most`"
        )
