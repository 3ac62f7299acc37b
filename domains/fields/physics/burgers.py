r"""Viscous Burgers equation with a force, in one dimension.

.. math:: u_t + u u_x = \nu u_{xx} + f(t, x), \qquad x \in [0, L],

between walls (u = 0) or periodic. In space the energy-conserving central flux (u_l^2 + u_l u_r + u_r^2) / 6 of second
order on cell centres; in time the strong-stability-preserving Runge-Kutta method of second order with s stages, whose
stages are Euler steps of dt / (s - 1) and whose stability region holds the disk of s - 1 of them: for a spectrum as
round as that of advection with diffusion it needs half the evaluations of a third-order method. Order of convergence:
2 in dx and dt together (tests, against Cole-Hopf).

Law of the data: WDNO (Hu et al., ICLR 2025), appendix, after DiffPhyCon: two Gaussians at the start, eight Gaussians in
space and time as force. It holds the force constant over each saved interval, which is the control's resolution too.

Reference: Tadmor, The numerical viscosity of entropy stable schemes, Math. Comp. 49 (1987), for the flux; Gottlieb,
Ketcheson, Shu, Strong stability preserving Runge-Kutta and multistep time discretizations (2011), section 6.3.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sciflow.errors import SciflowError, expected, unknown
from sciflow.streams import Streams

from .base import Equation, Variable
from .cells import centres, coarsen, refine

_STAGES = 5
_SAFETY = 0.95
_PECLET = 2.0
_LANES = 16  # batches are padded to whole vector registers, so that a trajectory keeps its bits in any batch


@dataclass(frozen=True)
class Burgers(Equation):
    """Burgers equation with WDNO's law of data.

    Args:
        points: Cells that are saved.
        frames: Saved intervals; the initial state is saved too.
        horizon: Length of the time.
        length: Length L of the interval.
        origin: Where the interval starts.
        viscosity: The viscosity.
        boundary: ``"wall"`` (u = 0 at both ends) or ``"periodic"``.
        resolution: Cells of the solver, a multiple of `points`.
        speed: Largest speed the time step is made for.
    """

    name: ClassVar[str] = "burgers"

    points: int = 64
    frames: int = 32
    horizon: float = 8.0
    length: float = 1.0
    origin: float = 0.0
    viscosity: float = 0.01
    boundary: str = "wall"
    resolution: int = 256
    speed: float = 5.0

    def __post_init__(self) -> None:
        if self.boundary not in ("wall", "periodic"):
            raise unknown("burgers: boundary", self.boundary, ("wall", "periodic"))
        if self.points < 4 or self.resolution % self.points:
            raise expected(
                "burgers: resolution", self.resolution, f"a multiple of the {self.points} points"
            )
        if min(self.viscosity, self.horizon, self.length, self.speed) <= 0 or self.frames < 1:
            raise expected(
                "burgers: viscosity, horizon, length, speed, frames",
                (self.viscosity, self.horizon, self.length, self.speed, self.frames),
                "positive numbers",
            )

    @property
    def given(self) -> dict[str, Variable]:
        return {
            "u0": Variable(("x",), "initial velocity"),
            "f": Variable(("interval", "x"), "force, constant over each saved interval"),
        }

    @property
    def fields(self) -> dict[str, Variable]:
        return {"u": Variable(("time", "x"), "velocity")}

    def coordinates(self) -> dict[str, Tensor]:
        every = self.horizon / self.frames
        return {
            "time": torch.arange(self.frames + 1, dtype=torch.float64) * every,
            "interval": centres(self.frames, self.horizon),
            "x": centres(self.points, self.length, self.origin),
        }

    @property
    def steps(self) -> int:
        """Time steps per saved interval."""
        dx = self.length / self.resolution
        euler = _SAFETY * min(dx * dx / (2 * self.viscosity), dx / self.speed)
        return math.ceil(self.horizon / self.frames / ((_STAGES - 1) * euler))

    # -- law of the data -----------------------------------------------------------------------------------------

    def draw(self, streams: Streams, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Draw ``u0`` ``[B, resolution]`` on the solver's grid and ``f`` ``[B, frames, points]``.

        Reference: WDNO, appendix; lengths and times are shares of the interval and the horizon.
        """
        device = streams.index.device
        start = streams.uniform((2, 3), torch.float64)
        x = centres(self.resolution).to(device)
        sign = torch.tensor([2.0, -2.0], dtype=torch.float64, device=device)
        height = sign * start[..., 0]
        place = torch.tensor([0.2, 0.6], dtype=torch.float64, device=device) + 0.2 * start[..., 1]
        u0 = (height[..., None] * _bell(x, place, 0.05 + 0.1 * start[..., 2])).sum(1)

        force = streams.uniform((8, 6), torch.float64)
        kept = (force[..., 5] < 0.5).double()
        kept[:, 0] = 1.0
        # Twice as high, since only a part of each bell lies within the horizon.
        height = 2.0 * kept * (3.0 * force[..., 0] - 1.5)
        in_time = _bell(centres(self.frames).to(device), force[..., 1], 0.1 + 0.3 * force[..., 2])
        in_space = _bell(centres(self.points).to(device), force[..., 3], 0.1 + 0.3 * force[..., 4])
        f = torch.einsum("bk,bkt,bkx->btx", height, in_time, in_space)
        return {"u0": u0.to(dtype), "f": f.to(dtype)}

    # -- solver --------------------------------------------------------------------------------------------------

    def solve(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``u`` ``[B, frames + 1, points]``, means over the saved cells.

        Args:
            given: ``u0`` ``[B, points or more]`` and ``f`` ``[B, frames, points or more]``; coarse ones are
                interpolated by cubics. Differentiable in both.

        Raises:
            SciflowError: A shape is wrong, or a speed leaves the range of the time step or of the grid.
        """
        f = self._take(given, "f", self.frames, None)
        return {"u": self._march(given, lambda k, u: f[:, k])[0]}

    def steer(self, u0: Tensor, policy: Callable[[int, Tensor], Tensor]) -> dict[str, Tensor]:
        """Solve under a feedback: the force of each interval follows from the state at its start.

        Args:
            u0: Initial state ``[B, points or more]``.
            policy: Number of the interval and state ``[B, points]`` to force ``[B, points or more]``.

        Returns:
            ``u`` ``[B, frames + 1, points]`` and ``f`` ``[B, frames, ...]``.

        Raises:
            SciflowError: As `solve`.
        """
        u, forces = self._march({"u0": u0}, policy)
        return {"u": u, "f": torch.stack(forces, dim=1)}

    def _march(
        self, given: Mapping[str, Tensor], policy: Callable[[int, Tensor], Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        periodic = self.boundary == "periodic"
        u = refine(self._take(given, "u0", None), self.resolution, periodic)
        count = u.shape[0]
        spare = -count % _LANES
        # Cells first: then neighbours are shifts of one contiguous array.
        u = _padded(u, spare).mT.contiguous()
        saved, forces = [u], []
        for k in range(self.frames):
            force = policy(k, coarsen(u.mT[:count], self.points))
            forces.append(force)
            fine = _padded(refine(force, self.resolution, periodic), spare).mT.contiguous()
            if torch.is_grad_enabled() and (u.requires_grad or fine.requires_grad):
                # Thousands of steps: the backward pass solves each interval again instead of keeping them all.
                u = checkpoint(self._advance, u, fine, use_reentrant=False)
            else:
                u = self._advance(u, fine)
            self._check(u, (k + 1) * self.horizon / self.frames)
            saved.append(u)
        out = torch.stack(saved).permute(2, 0, 1)[:count]
        return coarsen(out, self.points), forces

    def _advance(self, u: Tensor, f: Tensor) -> Tensor:
        """One saved interval: u and f are ``[resolution, B]``."""
        dx = self.length / self.resolution
        h = self.horizon / self.frames / self.steps / (_STAGES - 1)
        spread, transport = h * self.viscosity / dx**2, h / (6 * dx)
        f = f * h
        if torch.is_grad_enabled() and (u.requires_grad or f.requires_grad):
            for _ in range(self.steps):
                old = u
                for _ in range(_STAGES):
                    left, right = self._neighbours(u)
                    both = left + right
                    flux = (right - left) * (both + u)
                    u = f + (1 - 2 * spread) * u + spread * both - transport * flux
                u = torch.lerp(old, u, 1 - 1 / _STAGES)
            return u

        # The same in place, with a ghost cell beyond each end.
        whole = u.new_empty(u.shape[0] + 2, u.shape[1])
        inner, left, right = whole[1:-1], whole[:-2], whole[2:]
        inner.copy_(u)
        near, slope, old = torch.empty_like(u), torch.empty_like(u), torch.empty_like(u)
        ends, beside = whole[:: u.shape[0] + 1], inner[:: u.shape[0] - 1]
        periodic = self.boundary == "periodic"
        for _ in range(self.steps):
            old.copy_(inner)
            for _ in range(_STAGES):
                if periodic:
                    ends.copy_(beside.flip(0))
                else:
                    torch.neg(beside, out=ends)
                torch.add(left, right, out=near)
                torch.sub(right, left, out=slope)
                near.add_(inner)
                torch.add(f, inner, alpha=1 - 3 * spread, out=inner)
                inner.add_(near, alpha=spread).addcmul_(slope, near, value=-transport)
            inner.lerp_(old, 1 / _STAGES)
        return inner.clone()

    def _neighbours(self, u: Tensor) -> tuple[Tensor, Tensor]:
        if self.boundary == "periodic":
            return u.roll(1, 0), u.roll(-1, 0)
        return torch.cat((-u[:1], u[:-1])), torch.cat((u[1:], -u[-1:]))

    def _check(self, u: Tensor, time: float) -> None:
        """Refuse what the time step or the grid cannot carry."""
        largest = float(u.detach().abs().max().nan_to_num(math.inf))
        dx = self.length / self.resolution
        euler = self.horizon / self.frames / self.steps / (_STAGES - 1)
        if not largest * euler <= dx:
            raise SciflowError(
                f"burgers: got |u| = {largest:.3g} by time {time:.3g}, expected at most {dx / euler:.3g} for this "
                f"time step (CFL); weaken the force or the start, or set a larger speed (now {self.speed:g})"
            )
        if largest * dx > _PECLET * self.viscosity:
            cells = math.ceil(largest * self.length / (_PECLET * self.viscosity))
            raise SciflowError(
                f"burgers: got |u| = {largest:.3g} at time {time:.3g}, expected at most "
                f"{_PECLET * self.viscosity / dx:.3g} on {self.resolution} cells (shocks are narrower than a cell); "
                f"use a resolution of at least {cells}"
            )


def _padded(values: Tensor, spare: int) -> Tensor:
    """Add rows of zeros to the batch."""
    if not spare:
        return values
    return torch.cat((values, values.new_zeros(spare, *values.shape[1:])))


def _bell(x: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    """Gaussians ``[..., len(x)]`` of height 1."""
    return torch.exp(-0.5 * ((x - centre[..., None]) / width[..., None]) ** 2)
