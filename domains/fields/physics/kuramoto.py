r"""Kuramoto-Sivashinsky equation on a periodic interval.

.. math:: u_t + a\,u\,u_x + b\,u_{xx} + c\,u_{xxxx} = 0

The linear part grows long waves and damps short ones, the nonlinear one passes energy between them: from a length of
about 22 sqrt(c / b) on the motion is chaotic, and two trajectories that differ in the last bit part within a few
hundred units of time. In space Fourier series, products free of aliases (two thirds rule); in time the exponential
Runge-Kutta method of fourth order ETDRK4, whose coefficients are means over a circle in the complex plane. Always in
double precision inside. Order of convergence: 4 in time (tests), spectral in space.

Law of the data: sums of ten sines of long waves, as in LPSDA and PDEArena.

Reference: Kassam, Trefethen, Fourth-order time-stepping for stiff PDEs, SIAM J. Sci. Comput. 26 (2005), equations 2.5
and 2.26; Brandstetter, Welling, Worrall, Lie point symmetry data augmentation, ICML 2022, section 4 (law).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected
from sciflow.streams import Streams

from .base import Equation, Variable
from .cells import centres, coarsen, refine

_CIRCLE = 32


@dataclass(frozen=True)
class KuramotoSivashinsky(Equation):
    """Kuramoto-Sivashinsky with LPSDA's law of data.

    Args:
        points: Cells that are saved.
        frames: Saved intervals; the initial state is saved too.
        horizon: Length of the time.
        length: Period.
        origin: Where the interval starts.
        transport: a.
        growth: b.
        damping: c.
        resolution: Points of the solver, a multiple of `points`.
        steps: Time steps per saved interval.
    """

    name: ClassVar[str] = "kuramoto"

    points: int = 64
    frames: int = 32
    horizon: float = 64.0
    length: float = 64.0
    origin: float = 0.0
    transport: float = 1.0
    growth: float = 1.0
    damping: float = 1.0
    resolution: int = 128
    steps: int = 10

    def __post_init__(self) -> None:
        if self.points < 4 or self.resolution % self.points:
            raise expected(
                "kuramoto: resolution", self.resolution, f"a multiple of the {self.points} points"
            )
        if min(self.horizon, self.length, self.damping) <= 0 or min(self.frames, self.steps) < 1:
            raise expected(
                "kuramoto: horizon, length, damping, frames, steps",
                (self.horizon, self.length, self.damping, self.frames, self.steps),
                "positive numbers",
            )

    @property
    def given(self) -> dict[str, Variable]:
        return {"u0": Variable(("x",), "initial state")}

    @property
    def fields(self) -> dict[str, Variable]:
        return {"u": Variable(("time", "x"), "state")}

    def coordinates(self) -> dict[str, Tensor]:
        every = self.horizon / self.frames
        return {
            "time": torch.arange(self.frames + 1, dtype=torch.float64) * every,
            "x": centres(self.points, self.length, self.origin),
        }

    def draw(self, streams: Streams, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Draw ``u0`` ``[B, resolution]``."""
        x = centres(self.resolution).to(streams.index.device)
        draw = streams.uniform((10, 3), torch.float64)
        wave = (3 * draw[..., 1]).floor() + 1
        angle = 2 * math.pi * (wave[..., None] * x + draw[..., 2, None])
        return {"u0": ((draw[..., 0, None] - 0.5) * angle.sin()).sum(1).to(dtype)}

    def solve(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``u`` ``[B, frames + 1, points]``, means over the saved cells; differentiable.

        Raises:
            SciflowError: A shape is wrong, or the solution runs away: the time step is too long.
        """
        u0 = self._take(given, "u0", None)
        v = torch.fft.rfft(refine(u0.double(), self.resolution, periodic=True))
        wave = torch.arange(v.shape[-1], dtype=torch.float64, device=v.device)
        k = 2 * math.pi / self.length * wave
        linear = self.growth * k**2 - self.damping * k**4
        # -a u u_x = -(a / 2) (u^2)_x; the upper third of the waves would take the aliases of the square.
        kept = (wave < self.resolution / 3).double()
        slope = -0.5j * self.transport * k * kept
        e, half, q, f1, f2, f3 = self._coefficients(linear)

        def push(w: Tensor) -> Tensor:
            return slope * torch.fft.rfft(torch.fft.irfft(w, self.resolution).square())

        saved = [v]
        for frame in range(self.frames):
            for _ in range(self.steps):
                n0 = push(v)
                a = half * v + q * n0
                n1 = push(a)
                n2 = push(half * v + q * n1)
                n3 = push(half * a + q * (2 * n2 - n0))
                v = e * v + f1 * n0 + f2 * (n1 + n2) + f3 * n3
            if not v.abs().isfinite().all():
                raise SciflowError(
                    f"kuramoto: got a solution that runs away by time {(frame + 1) * self.horizon / self.frames:.3g}, "
                    f"expected a shorter step; set steps above {self.steps}"
                )
            saved.append(v)
        u = torch.fft.irfft(torch.stack(saved, dim=1), self.resolution)
        return {"u": coarsen(u, self.points).to(u0.dtype)}

    def _coefficients(self, linear: Tensor) -> tuple[Tensor, ...]:
        """Kassam, Trefethen, equation 2.5: exp(Lh), exp(Lh/2), and four means over a circle around Lh."""
        h = self.horizon / self.frames / self.steps
        angle = (
            math.pi
            * (torch.arange(_CIRCLE, dtype=torch.float64, device=linear.device) + 0.5)
            / _CIRCLE
        )
        # The half circle suffices: the values on the other half are the conjugates.
        z = h * linear[:, None] + torch.polar(torch.ones_like(angle), angle)
        e = z.exp()
        q = h * ((z / 2).exp() - 1) / z
        f1 = h * (-4 - z + e * (4 - 3 * z + z**2)) / z**3
        f2 = h * 2 * (2 + z + e * (z - 2)) / z**3
        f3 = h * (-4 - 3 * z - z**2 + e * (4 - z)) / z**3
        means = (value.mean(-1).real for value in (q, f1, f2, f3))
        return ((h * linear).exp(), (h * linear / 2).exp(), *means)
