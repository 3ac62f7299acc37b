r"""Explicit Runge-Kutta integration of dy/dt = f(y, t) for named tensors, every sample with a step of its own.

An adaptive step is chosen for each sample from its own error, so no sample depends on its batch mates; those that have
arrived leave the batch. Autograd may look through an integration: step sizes are treated as constants.

Reference: Dormand and Prince, J. Comput. Appl. Math. 6 (1980) 19; Hairer, Norsett, Wanner, Solving ordinary
differential equations I, section II.4 (step size control, first step).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .errors import SciflowError, expected, unknown
from .shapes import expand

Fields = dict[str, Tensor]
Slope = Callable[[Mapping[str, Tensor], Tensor, Tensor | None], Fields]
"""f(y, t, rows): y of the samples `rows` (None: all) at times t ``[B]``, one call of the network."""


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method: y + h sum_i b_i k_i, k_i = f(y + h sum_j a_ij k_j, t + c_i h).

    Args:
        c: Places of the stages.
        a: Weights of earlier stages in each stage.
        b: Weights of the stages.
        error: Weights of the stages in the error estimate, where there is one.
        order: Order of convergence.
    """

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    error: tuple[float, ...] = ()
    order: int = 1


TABLEAUS: dict[str, Tableau] = {
    "euler": Tableau((0,), ((),), (1,)),
    "midpoint": Tableau((0, 1 / 2), ((), (1 / 2,)), (0, 1), order=2),
    "heun": Tableau((0, 1), ((), (1,)), (1 / 2, 1 / 2), order=2),
    "rk4": Tableau(
        (0, 1 / 2, 1 / 2, 1),
        ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
        order=4,
    ),
    "dopri5": Tableau(
        (0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1),
        (
            (),
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
        ),
        (35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0),
        (
            71 / 57600,
            0,
            -71 / 16695,
            71 / 1920,
            -17253 / 339200,
            22 / 525,
            -1 / 40,
        ),
        order=5,
    ),
}


@dataclass(frozen=True)
class Adaptive:
    """Dormand and Prince's method of order 5 with error control.

    Args:
        relative: Error allowed in a step, relative to the size of the element.
        absolute: Error allowed beside it.
        calls: Largest number of calls of the network for a sample.
    """

    relative: float = 1e-5
    absolute: float = 1e-5
    calls: int = 20_000

    tableau: ClassVar[Tableau] = TABLEAUS["dopri5"]

    def __post_init__(self) -> None:
        for name in ("relative", "absolute"):
            if not getattr(self, name) > 0:
                raise expected(f"{name} tolerance", getattr(self, name), "a positive number")


@dataclass(frozen=True)
class Fixed:
    """A Runge-Kutta method with equal steps in t.

    Args:
        scheme: ``"euler"``, ``"midpoint"``, ``"heun"``, ``"rk4"`` or ``"dopri5"``.
        steps: Number of steps.
    """

    scheme: str = "rk4"
    steps: int = 50

    def __post_init__(self) -> None:
        if self.scheme not in TABLEAUS:
            raise unknown("Runge-Kutta scheme", self.scheme, TABLEAUS)
        if self.steps < 1:
            raise expected("steps", self.steps, "at least 1")

    @property
    def tableau(self) -> Tableau:
        """Its coefficients."""
        return TABLEAUS[self.scheme]


@dataclass(frozen=True)
class Integrated:
    """Result of an integration.

    Args:
        y: Fields at the end.
        calls: Network calls of each sample, int64 ``[B]``.
    """

    y: Fields
    calls: Tensor


Kept = Callable[[Sequence[float], Tensor], None]
"""Called for each step that is kept: weights of its stages, and h ``[b]`` (0 for a sample that repeats its step)."""


def integrate(
    slope: Slope,
    y: Mapping[str, Tensor],
    start: float,
    stop: float,
    method: Adaptive | Fixed | None = None,
    *,
    sizes: Mapping[str, Tensor] | None = None,
    kept: Kept | None = None,
) -> Integrated:
    """Integrate from `start` to `stop`, in either direction.

    Args:
        slope: Right-hand side.
        y: Fields ``[B, ...]`` at `start`.
        start: First time.
        stop: Last time.
        method: The method; None is `Adaptive` with its default tolerance.
        sizes: Number of real elements of each field, ``[B]``, for error norms; those not named count all.
        kept: What accumulates integrals along the way; with it no stage of a step is taken over to the next.

    Raises:
        SciflowError: The tolerance cannot be met.
    """
    method = method or Adaptive()
    if isinstance(method, Fixed):
        return _fixed(slope, dict(y), start, stop, method, kept)
    return _Run(slope, dict(y), start, stop, method, sizes or {}, kept).result()


def _moved(y: Fields, h: Tensor, weights: Sequence[float], slopes: Sequence[Fields]) -> Fields:
    moved = {}
    for name, value in y.items():
        sum_: Tensor | None = None
        for weight, k in zip(weights, slopes, strict=False):
            if weight:
                part = k[name] * weight
                sum_ = part if sum_ is None else sum_ + part
        moved[name] = value if sum_ is None else value + expand(h.to(value.dtype), value) * sum_
    return moved


def _dtype(y: Fields) -> torch.dtype:
    return next(iter(y.values())).dtype


def _fixed(
    slope: Slope, y: Fields, start: float, stop: float, method: Fixed, kept: Kept | None
) -> Integrated:
    first = next(iter(y.values()))
    tableau, batch = method.tableau, first.shape[0]
    length = (stop - start) / method.steps
    h = torch.full((batch,), length, dtype=torch.float64, device=first.device)
    for i in range(method.steps):
        slopes: list[Fields] = []
        for c, a in zip(tableau.c, tableau.a, strict=True):
            # The end of the last step is `stop` itself, whatever rounding says.
            last = i == method.steps - 1 and c == 1
            t = torch.full_like(h, stop if last else start + (i + c) * length).to(first.dtype)
            slopes.append(slope(_moved(y, h, a, slopes), t, None))
        y = _moved(y, h, tableau.b, slopes)
        if kept is not None:
            kept(tableau.b, h)
    calls = method.steps * len(tableau.c)
    return Integrated(y, torch.full((batch,), calls, device=first.device))


class _Run:
    """One adaptive integration; the samples on their way are `rows`."""

    def __init__(
        self,
        slope: Slope,
        y: Fields,
        start: float,
        stop: float,
        method: Adaptive,
        sizes: Mapping[str, Tensor],
        kept: Kept | None,
    ) -> None:
        self.slope, self.method, self.stop, self.kept = slope, method, stop, kept
        dtype = _dtype(y)
        if method.relative < 10 * torch.finfo(dtype).eps:
            raise expected(
                "relative tolerance",
                method.relative,
                f"at least {10 * torch.finfo(dtype).eps:.1g} in {str(dtype)[6:]}",
                "loosen it, or use float64",
            )
        first = next(iter(y.values()))
        self.span = stop - start
        self.done = {n: [] for n in y}
        self.order: list[Tensor] = []
        self.y = y
        self.sizes = {
            n: sizes.get(n, torch.full((len(v),), v[0].numel(), device=v.device)).clamp_min(1)
            for n, v in y.items()
        }
        self.rows = torch.arange(first.shape[0], device=first.device)
        self.whole = True
        self.t = torch.full((len(self.rows),), start, dtype=torch.float64, device=first.device)
        self.calls = torch.zeros_like(self.rows)
        self.ended_calls: list[Tensor] = []

    def f(self, y: Fields, t: Tensor) -> Fields:
        self.calls = self.calls + 1
        return self.slope(y, t.to(_dtype(y)), None if self.whole else self.rows)

    def norm(self, error: Fields, *of: Fields) -> Tensor:
        """Largest root mean square over the fields, in units of the tolerance, ``[b]``."""
        worst = torch.zeros_like(self.t)
        for name, e in error.items():
            size = torch.stack([y[name].detach().abs() for y in of]).amax(0)
            ratio = e.detach() / (self.method.absolute + self.method.relative * size)
            mean = ratio.double().square().flatten(1).sum(1) / self.sizes[name]
            worst = torch.maximum(worst, mean.sqrt())
        return worst

    def first_step(self, k: Fields) -> Tensor:
        speed = self.norm(k, self.y)
        distance = self.norm(self.y, self.y)
        h = 0.01 * distance / speed.clamp_min(1e-30)
        return h.clamp(1e-6 * abs(self.span), 0.05 * abs(self.span))

    def result(self) -> Integrated:
        tableau = self.method.tableau
        sign = 1.0 if self.span > 0 else -1.0
        k: Fields | None = self.f(self.y, self.t)
        h = self.first_step(k)
        while len(self.rows):
            if k is None:
                k = self.f(self.y, self.t)
            left = (self.stop - self.t).abs()
            final = h >= left
            h = torch.minimum(h, left)
            slopes, y = [k], self.y
            for c, a in zip(tableau.c[1:], tableau.a[1:], strict=True):
                y = _moved(self.y, sign * h, a, slopes)
                t = torch.where(final & (c == 1), self.stop, self.t + sign * c * h)
                slopes.append(self.f(y, t))
            zero = {n: torch.zeros_like(v) for n, v in y.items()}
            ratio = self.norm(_moved(zero, h, tableau.error, slopes), self.y, y)
            good = ratio <= 1
            if self.kept is not None:
                self.kept(tableau.b, torch.where(good, sign * h, 0.0))
            # Not a number, where the field is, counts as a large error.
            factor = (0.9 * ratio.clamp_min(1e-10) ** -0.2).nan_to_num(0.2).clamp(0.2, 10.0)
            self.t = torch.where(good, torch.where(final, self.stop, self.t + sign * h), self.t)
            arrived = good & final
            k = slopes[-1]
            if bool(good.all()):
                self.y = y
            else:
                self.y = {n: torch.where(expand(good, v), v, self.y[n]) for n, v in y.items()}
                k = {n: torch.where(expand(good, v), v, slopes[0][n]) for n, v in k.items()}
            if self.kept is not None:
                k = None
            h = h * torch.where(good, factor, factor.clamp_max(0.9))
            self._give_up(h, arrived, ratio)
            if bool(arrived.any()):
                h, k = self._leave(arrived, h, k)
        order = torch.cat(self.order).argsort()
        fields = {n: torch.cat(parts)[order] for n, parts in self.done.items()}
        return Integrated(fields, torch.cat(self.ended_calls)[order])

    def _leave(self, arrived: Tensor, h: Tensor, k: Fields | None) -> tuple[Tensor, Fields | None]:
        for n, v in self.y.items():
            self.done[n].append(v[arrived])
        self.order.append(self.rows[arrived])
        self.ended_calls.append(self.calls[arrived])
        on = ~arrived
        self.whole = False
        self.y = {n: v[on] for n, v in self.y.items()}
        self.sizes = {n: v[on] for n, v in self.sizes.items()}
        self.rows, self.t, self.calls = self.rows[on], self.t[on], self.calls[on]
        return h[on], None if k is None else {n: v[on] for n, v in k.items()}

    def _give_up(self, h: Tensor, arrived: Tensor, ratio: Tensor) -> None:
        stuck = ~arrived & ((~(h >= 1e-12 * abs(self.span))) | (self.calls > self.method.calls))
        if bool(stuck.any()):
            i = int(stuck.nonzero()[0, 0])
            raise SciflowError(
                f"adaptive steps: got to t = {float(self.t[i]):.6g} of {self.stop:g} in {int(self.calls[i])} calls "
                f"(last error {float(ratio[i]):.3g} times the tolerance {self.method.relative:g}), expected to arrive; "
                "loosen the tolerance, use float64, or look for jumps in the network"
            )
