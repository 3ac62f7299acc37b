r"""Linear advection on a periodic interval, solved exactly.

.. math:: u_t + c\,u_x = 0, \qquad u(t, x) = u_0(x - c t)

by a shift in the phase of every Fourier coefficient of the state on the solver's grid: exact for whatever that grid
holds, at any time, without a step.

Law of the data: PDEBench (`waves`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciflow.errors import expected
from sciflow.streams import Streams

from .base import Equation, Variable
from .cells import centres, coarsen, refine
from .waves import random_waves


@dataclass(frozen=True)
class Advection(Equation):
    """Advection with PDEBench's law of data.

    Args:
        points: Cells that are saved.
        frames: Saved intervals; the initial state is saved too.
        horizon: Length of the time.
        length: Period L.
        slowest: Least speed drawn.
        fastest: Largest speed drawn; the same as the least for one speed.
        resolution: Cells of the solver, a multiple of `points`.
    """

    name: ClassVar[str] = "advection"

    points: int = 64
    frames: int = 32
    horizon: float = 2.0
    length: float = 1.0
    slowest: float = 0.4
    fastest: float = 0.4
    resolution: int = 1024

    def __post_init__(self) -> None:
        if self.points < 4 or self.resolution % self.points:
            raise expected(
                "advection: resolution", self.resolution, f"a multiple of the {self.points} points"
            )
        if min(self.horizon, self.length) <= 0 or self.frames < 1 or self.fastest < self.slowest:
            raise expected(
                "advection: horizon, length, frames, slowest, fastest",
                (self.horizon, self.length, self.frames, self.slowest, self.fastest),
                "positive numbers, and speeds in order",
            )

    @property
    def given(self) -> dict[str, Variable]:
        return {"u0": Variable(("x",), "initial state"), "speed": Variable((), "speed")}

    @property
    def fields(self) -> dict[str, Variable]:
        return {"u": Variable(("time", "x"), "state")}

    def coordinates(self) -> dict[str, Tensor]:
        every = self.horizon / self.frames
        return {
            "time": torch.arange(self.frames + 1, dtype=torch.float64) * every,
            "x": centres(self.points, self.length),
        }

    def draw(self, streams: Streams, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Draw ``u0`` ``[B, resolution]`` and ``speed`` ``[B]``."""
        x = centres(self.resolution).to(streams.index.device)
        u0 = random_waves(streams, x)
        share = streams.uniform((), torch.float64)
        speed = self.slowest + (self.fastest - self.slowest) * share
        return {"u0": u0.to(dtype), "speed": speed.to(dtype)}

    def solve(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``u`` ``[B, frames + 1, points]``, means over the saved cells; differentiable."""
        u0 = refine(self._take(given, "u0", None), self.resolution, periodic=True)
        speed = self._take(given, "speed")
        time = self.coordinates()["time"].to(u0)
        wave = torch.arange(self.resolution // 2 + 1, device=u0.device, dtype=u0.dtype)
        # Whole periods are taken off first: in single precision a long way would cost its last digits.
        way = (speed[:, None] * time / self.length).frac()[..., None]
        shift = torch.polar(torch.ones_like(way * wave), -2 * math.pi * way * wave)
        u = torch.fft.irfft(torch.fft.rfft(u0)[:, None] * shift, self.resolution)
        return {"u": coarsen(u, self.points)}
