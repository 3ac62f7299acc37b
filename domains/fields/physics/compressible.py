r"""Compressible Navier-Stokes equations of an ideal gas in one dimension, shocks included.

.. math::
    \rho_t + (\rho v)_x = 0, \quad (\rho v)_t + (\rho v^2 + p)_x = (\mu v_x)_x, \quad
    E_t + ((E + p) v)_x = (\mu v v_x)_x, \quad E = \frac{p}{\gamma - 1} + \frac 1 2 \rho v^2,

with mu = 4/3 of the shear viscosity plus the bulk viscosity; no heat is conducted. Finite volumes of second order:
linear reconstruction of (density, velocity, pressure) with the monotonised central limiter, HLLC fluxes, the
strong-stability-preserving Runge-Kutta method of second order. Every trajectory has its own time step, so it does not
depend on its batch. Order of convergence: 2 where the solution is smooth, 1 in the mean at shocks (tests, against exact
Riemann solutions).

Law of the data: PDEBench's ``1D_shocks``: density, velocity and pressure each have two values and one jump of their
own, so that up to three waves start. The authors draw the velocity as the exponential of a uniform number in
(-1/2, 1/2), which makes it positive; that is kept. Their viscosity is eta times the density; at their 1e-8 it makes no
difference.

Reference: Toro, Riemann solvers and numerical methods for fluid dynamics (2009), sections 10.4 (HLLC) and 14.4 (limited
slopes); Takamoto et al., PDEBench, NeurIPS 2022, appendix D.6 (law).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown
from sciflow.streams import Streams

from .base import Equation, Variable
from .cells import centres, coarsen

NAMES = ("density", "velocity", "pressure")
BOUNDARIES = ("outflow", "periodic", "wall")


@dataclass(frozen=True)
class Compressible(Equation):
    """Compressible Navier-Stokes with PDEBench's law of shocks.

    Args:
        points: Cells that are saved.
        frames: Saved intervals; the initial state is saved too.
        horizon: Length of the time.
        length: Length of the interval.
        origin: Where it starts.
        gamma: Ratio of specific heats.
        shear: Shear viscosity.
        bulk: Bulk viscosity.
        boundary: One of `BOUNDARIES`; outflow continues the last cell.
        resolution: Cells of the solver, a multiple of `points`.
        courant: Courant number of the time step, below 1.
        floor: Least pressure.
    """

    name: ClassVar[str] = "compressible"

    points: int = 128
    frames: int = 32
    horizon: float = 0.4
    length: float = 2.0
    origin: float = -1.0
    gamma: float = 5 / 3
    shear: float = 1e-8
    bulk: float = 1e-8
    boundary: str = "outflow"
    resolution: int = 256
    courant: float = 0.4
    floor: float = 1e-4

    def __post_init__(self) -> None:
        if self.boundary not in BOUNDARIES:
            raise unknown("compressible: boundary", self.boundary, BOUNDARIES)
        if self.points < 4 or self.resolution % self.points:
            raise expected(
                "compressible: resolution",
                self.resolution,
                f"a multiple of the {self.points} points",
            )
        if not 0 < self.courant < 1 or self.gamma <= 1 or min(self.shear, self.bulk) < 0:
            raise expected(
                "compressible: courant, gamma, shear, bulk",
                (self.courant, self.gamma, self.shear, self.bulk),
                "0 < courant < 1, gamma > 1, viscosities of 0 or more",
            )
        if min(self.horizon, self.length, self.floor) <= 0 or self.frames < 1:
            raise expected(
                "compressible: horizon, length, floor, frames",
                (self.horizon, self.length, self.floor, self.frames),
                "positive numbers",
            )

    @property
    def given(self) -> dict[str, Variable]:
        return {f"{name}0": Variable(("x",), f"initial {name}") for name in NAMES}

    @property
    def fields(self) -> dict[str, Variable]:
        return {name: Variable(("time", "x"), name) for name in NAMES}

    def coordinates(self) -> dict[str, Tensor]:
        every = self.horizon / self.frames
        return {
            "time": torch.arange(self.frames + 1, dtype=torch.float64) * every,
            "x": centres(self.points, self.length, self.origin),
        }

    def draw(self, streams: Streams, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Draw ``density0, velocity0, pressure0`` ``[B, resolution]``."""
        x = centres(self.resolution).to(streams.index.device)
        draw = streams.uniform((3, 3), torch.float64)
        low = torch.tensor([1.0, math.exp(-0.5), 10.0], dtype=torch.float64, device=x.device)
        high = torch.tensor([10.0, math.exp(0.5), 100.0], dtype=torch.float64, device=x.device)
        sides = low[:, None] * (high / low)[:, None] ** draw[..., :2]
        jump = 0.25 + 0.5 * draw[..., 2:]
        w = torch.where(x < jump, sides[..., :1], sides[..., 1:]).to(dtype)
        return {f"{name}0": w[:, k] for k, name in enumerate(NAMES)}

    def solve(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return density, velocity and pressure ``[B, frames + 1, points]``; differentiable.

        Saved are the means of the conserved quantities over the cells, as density, velocity and pressure.

        Args:
            given: The three initial fields ``[B, n]`` with n dividing `resolution`; coarse cells are copied, since
                interpolation would smear the jumps.

        Raises:
            SciflowError: A shape is wrong, a density or pressure is not positive, or the solution breaks down.
        """
        w = torch.stack([self._fine(self._take(given, f"{n}0", None), n) for n in NAMES], dim=1)
        if not bool((w[:, 0] > 0).all() and (w[:, 2] > 0).all()):
            raise SciflowError(
                "compressible: got a density0 or pressure0 that is not positive, expected positive values"
            )
        u = self._conserved(w)
        saved = [u]
        for frame in range(1, self.frames + 1):
            u = self._advance(u, self.horizon / self.frames, frame)
            saved.append(u)
        out = self._primitive(coarsen(torch.stack(saved, dim=2), self.points))
        return {name: out[:, k] for k, name in enumerate(NAMES)}

    def _fine(self, values: Tensor, name: str) -> Tensor:
        if self.resolution % values.shape[-1]:
            raise expected(
                f"compressible: cells of {name}0",
                values.shape[-1],
                f"a divisor of {self.resolution}",
            )
        return values.repeat_interleave(self.resolution // values.shape[-1], dim=-1)

    # -- time --------------------------------------------------------------------------------------------------------

    def _advance(self, u: Tensor, interval: float, frame: int) -> Tensor:
        """One saved interval; u is ``[B, 3, resolution]``."""
        left = u.new_full((len(u),), interval)
        dx = self.length / self.resolution
        viscosity = 4 / 3 * self.shear + self.bulk
        for _ in range(100 * self.resolution):
            with torch.no_grad():
                w = self._primitive(u.detach())
                sound = (self.gamma * w[:, 2] / w[:, 0]).sqrt()
                rate = ((w[:, 1].abs() + sound) / dx).amax(-1)
                rate = rate + 2 * viscosity / (w[:, 0].amin(-1) * dx**2)
                step = torch.minimum(self.courant / rate, left)
                if not bool(step.isfinite().all() and (w[:, 0] > 0).all()):
                    break
                left = left - step
            dt = step[:, None, None]
            once = u + dt * self._rate(u)
            u = 0.5 * (u + once + dt * self._rate(once))
            if not bool((left > 0).any()):
                return u
        time = frame * interval
        raise SciflowError(
            f"compressible: the solution breaks down before time {time:.3g} (vacuum or values that are not finite), "
            f"expected positive density and pressure; lower the courant number ({self.courant:g}) or refine the grid"
        )

    # -- space -------------------------------------------------------------------------------------------------------

    def _conserved(self, w: Tensor) -> Tensor:
        density, velocity, pressure = w.unbind(1)
        energy = pressure / (self.gamma - 1) + 0.5 * density * velocity**2
        return torch.stack((density, density * velocity, energy), dim=1)

    def _primitive(self, u: Tensor) -> Tensor:
        density, momentum, energy = u.unbind(1)
        pressure = (self.gamma - 1) * (energy - 0.5 * momentum**2 / density)
        return torch.stack((density, momentum / density, pressure.clamp(min=self.floor)), dim=1)

    def _ghosts(self, w: Tensor) -> Tensor:
        if self.boundary == "periodic":
            return torch.cat((w[..., -2:], w, w[..., :2]), dim=-1)
        if self.boundary == "outflow":
            first, last = w[..., :1], w[..., -1:]
            return torch.cat((first, first, w, last, last), dim=-1)
        mirror = w.new_tensor([1.0, -1.0, 1.0])[:, None]
        return torch.cat((mirror * w[..., :2].flip(-1), w, mirror * w[..., -2:].flip(-1)), dim=-1)

    def _rate(self, u: Tensor) -> Tensor:
        """Time derivative of the conserved quantities."""
        w = self._ghosts(self._primitive(u))
        step = w[..., 1:] - w[..., :-1]
        a, b = step[..., :-1], step[..., 1:]
        # Monotonised central: the central slope, at most twice the one-sided ones, none at extrema.
        most = 2 * torch.minimum(a.abs(), b.abs())
        slope = torch.where(a * b > 0, torch.sign(a) * torch.minimum(0.5 * (a + b).abs(), most), 0)
        inner = w[..., 1:-1]
        from_left = (inner + 0.5 * slope)[..., :-1]
        from_right = (inner - 0.5 * slope)[..., 1:]
        flux = self._hllc(from_left, from_right)
        dx = self.length / self.resolution
        viscosity = 4 / 3 * self.shear + self.bulk
        if viscosity > 0:
            v = w[:, 1, 1:-1]
            stress = viscosity / dx * (v[:, 1:] - v[:, :-1])
            work = stress * 0.5 * (v[:, 1:] + v[:, :-1])
            flux = flux - torch.stack((torch.zeros_like(stress), stress, work), dim=1)
        return (flux[..., :-1] - flux[..., 1:]) / dx

    def _hllc(self, left: Tensor, right: Tensor) -> Tensor:
        """Flux between two states ``[B, 3, faces]`` (Toro, section 10.4)."""
        (rl, vl, pl), (rr, vr, pr) = left.unbind(1), right.unbind(1)
        cl, cr = (self.gamma * pl / rl).sqrt(), (self.gamma * pr / rr).sqrt()
        # Roe's mean speeds bound the waves (Einfeldt); v and c are his averages.
        share = rl.sqrt() / (rl.sqrt() + rr.sqrt())
        v = share * vl + (1 - share) * vr
        heat = share * cl**2 + (1 - share) * cr**2
        c = (heat + 0.5 * (self.gamma - 1) * share * (1 - share) * (vr - vl) ** 2).sqrt()
        sl, sr = torch.minimum(vl - cl, v - c), torch.maximum(vr + cr, v + c)
        ml, mr = rl * (sl - vl), rr * (sr - vr)
        middle = (pr - pl + ml * vl - mr * vr) / (ml - mr)
        to_right = middle >= 0
        r, vel, p = (torch.where(to_right, a, b) for a, b in ((rl, rr), (vl, vr), (pl, pr)))
        s, m = torch.where(to_right, sl, sr), torch.where(to_right, ml, mr)
        energy = p / (self.gamma - 1) + 0.5 * r * vel**2
        flux = torch.stack((r * vel, r * vel**2 + p, (energy + p) * vel), dim=1)
        density = m / (s - middle)
        star = density * (energy / r + (middle - vel) * (middle + p / m))
        jump = torch.stack((density - r, density * middle - r * vel, star - energy), dim=1)
        # Beyond the fastest waves the state itself flows.
        inside = torch.where(to_right, sl < 0, sr > 0).unsqueeze(1)
        return flux + torch.where(inside, s.unsqueeze(1) * jump, 0)
