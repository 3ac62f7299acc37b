r"""Incompressible Navier-Stokes equations in two dimensions with smoke, obstacles and control.

.. math::
    v_t + (v \cdot \nabla) v = -\nabla p + \nu \Delta v + \beta s\,e_y + c(t, x), \qquad \nabla \cdot v = 0, \qquad
    s_t + \nabla \cdot (v s) = 0

in a square box of cells, closed by walls or periodic, with rectangular obstacles. The control c is a force, constant
over each saved interval. On the staggered grid: central fluxes of second order that conserve momentum and energy for
the velocity, limited linear reconstruction with upwinding for the smoke, the strong-stability-preserving Runge-Kutta
method of third order, with an exact projection after every stage. Order of convergence: 2 (tests, against Taylor-Green
vortices, periodic and between slipping walls). Obstacles hold the velocity at rest on and inside their faces.

``kinematic=True`` is WDNO's system: the control is a velocity, written over the flow in the outer eighth of the box
eight times per saved interval and then projected; the flow neither advects itself nor feels viscosity.

Law of the data, after WDNO's: a square of smoke at a random place of the lower half, obstacles around the middle with
seven openings, and a control in the outer eighth of the box that points along four random directions in turn, with a
random speed of each trajectory and noise in every interval. Lengths are shares of the box; the authors' unit of speed
is cells per frame.

Reference: Harlow, Welch, Phys. Fluids 8 (1965); Sanderse, Koren, Accuracy analysis of explicit Runge-Kutta methods
applied to the incompressible Navier-Stokes equations, J. Comput. Phys. 231 (2012); WDNO (Hu et al., ICLR 2025),
appendix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown
from sciflow.streams import Streams

from .base import Equation, Variable
from .cells import centres
from .projection import Projection

BUCKETS = (
    (0.14, 0.14, 0.17, 0.42),
    (0.14, 0.58, 0.17, 0.86),
    (0.14, 0.14, 0.34, 0.17),
    (0.50, 0.14, 0.66, 0.17),
    (0.82, 0.14, 0.86, 0.17),
    (0.14, 0.83, 0.34, 0.86),
    (0.50, 0.83, 0.66, 0.86),
    (0.82, 0.83, 0.86, 0.86),
    (0.83, 0.14, 0.86, 0.24),
    (0.83, 0.40, 0.86, 0.60),
    (0.83, 0.76, 0.86, 0.86),
)
"""Bars around the middle of the box that leave seven openings: one below, two on each side, two above. Rectangles
(y0, x0, y1, x1) in shares of the box, y upward."""

_OVERWRITES = 8
_EDGE = 1 / 8
_State = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Incompressible(Equation):
    """Smoke in a box, with a law of data after WDNO's.

    Args:
        points: Cells per axis that are saved.
        frames: Saved intervals; the initial state is saved too.
        horizon: Length of the time.
        length: Side of the box.
        viscosity: Kinematic viscosity.
        buoyancy: Upward acceleration of smoke of density 1.
        boundary: ``"wall"`` or ``"periodic"``.
        slip: Whether the flow slips along walls.
        obstacles: Rectangles (y0, x0, y1, x1) in shares of the box.
        kinematic: WDNO's system, without self-advection.
        resolution: Cells per axis of the solver, a multiple of `points`.
        speed: Largest sum of the two components' sizes that the time step is made for; None for that of the law.
    """

    name: ClassVar[str] = "smoke"

    points: int = 64
    frames: int = 32
    horizon: float = 1.0
    length: float = 1.0
    viscosity: float = 5e-3
    buoyancy: float = 0.0
    boundary: str = "wall"
    slip: bool = False
    obstacles: tuple[tuple[float, float, float, float], ...] = BUCKETS
    kinematic: bool = False
    resolution: int = 64
    speed: float | None = None

    def __post_init__(self) -> None:
        # From a configuration rectangles come as lists.
        object.__setattr__(self, "obstacles", tuple(tuple(r) for r in self.obstacles))
        if self.boundary not in ("wall", "periodic"):
            raise unknown("smoke: boundary", self.boundary, ("wall", "periodic"))
        if self.points < 4 or self.resolution % self.points:
            raise expected(
                "smoke: resolution", self.resolution, f"a multiple of the {self.points} points"
            )
        if (
            min(self.horizon, self.length, self.largest) <= 0
            or self.frames < 1
            or self.viscosity < 0
        ):
            raise expected(
                "smoke: horizon, length, speed, frames, viscosity",
                (self.horizon, self.length, self.largest, self.frames, self.viscosity),
                "positive numbers; the viscosity may be 0",
            )
        for r in self.obstacles:
            if len(r) != 4 or not (0 <= r[0] < r[2] <= 1 and 0 <= r[1] < r[3] <= 1):
                raise expected(
                    "smoke: obstacle", r, "(y0, x0, y1, x1) with 0 <= y0 < y1 <= 1, likewise x"
                )

    @property
    def given(self) -> dict[str, Variable]:
        plane, course = ("y", "x"), ("interval", "y", "x")
        kind = "velocity" if self.kinematic else "force"
        return {
            "smoke0": Variable(plane, "initial density of the smoke"),
            "vx0": Variable(plane, "initial velocity to the right"),
            "vy0": Variable(plane, "initial velocity upward"),
            "cx": Variable(course, f"control to the right: a {kind}"),
            "cy": Variable(course, f"control upward: a {kind}"),
        }

    @property
    def fields(self) -> dict[str, Variable]:
        dims = ("time", "y", "x")
        return {
            "smoke": Variable(dims, "density of the smoke"),
            "vx": Variable(dims, "velocity to the right"),
            "vy": Variable(dims, "velocity upward"),
        }

    def coordinates(self) -> dict[str, Tensor]:
        every = self.horizon / self.frames
        return {
            "time": torch.arange(self.frames + 1, dtype=torch.float64) * every,
            "interval": centres(self.frames, self.horizon),
            "y": centres(self.points, self.length),
            "x": centres(self.points, self.length),
        }

    @property
    def largest(self) -> float:
        """Speed that the time step is made for."""
        if self.speed is not None:
            return self.speed
        # In the law of the data the written velocities squeeze through the openings; a force builds up more slowly.
        return (50.0 if self.kinematic else 12.0) * self.length / max(self.horizon, 1e-12)

    @property
    def steps(self) -> int:
        """Time steps per saved interval."""
        h = self.length / self.resolution
        step = 0.7 * h / self.largest
        if self.viscosity > 0 and not self.kinematic:
            step = min(step, 0.25 * h * h / self.viscosity)
        count = math.ceil(self.horizon / self.frames / step)
        return _OVERWRITES * math.ceil(count / _OVERWRITES) if self.kinematic else count

    def solid(self, cells: int) -> Tensor:
        """Obstacles on a grid, bool ``[cells, cells]``: the cells whose centres they cover."""
        place = centres(cells)
        out = torch.zeros(cells, cells, dtype=torch.bool)
        for y0, x0, y1, x1 in self.obstacles:
            out |= ((place >= y0) & (place < y1))[:, None] & ((place >= x0) & (place < x1))
        return out

    def edge(self, cells: int) -> Tensor:
        """Where the control acts: the outer eighth of the box, bool ``[cells, cells]``."""
        place = centres(cells)
        inside = (place > _EDGE) & (place < 1 - _EDGE)
        return ~(inside[:, None] & inside)

    def escaped(self, smoke: Tensor) -> Tensor:
        """Share of the smoke in the outer eighth of the box, ``[...]`` for smoke ``[..., n, n]``."""
        outside = self.edge(smoke.shape[-1]).to(smoke)
        total = smoke.sum((-2, -1))
        return (smoke * outside).sum((-2, -1)) / total.clamp(min=torch.finfo(smoke.dtype).tiny)

    # -- law of the data -----------------------------------------------------------------------------------------

    def draw(self, streams: Streams, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """Draw smoke and control on the saved grid; the air is at rest."""
        device = streams.index.device
        count, n = len(streams), self.points
        x = centres(n).to(device)
        start = streams.uniform((2,), torch.float64)
        # A square of side 11 / 127 with its centre in the lower half of the room inside the bars.
        middle_y, middle_x = 0.25 + 0.2 * start[:, :1], 0.25 + 0.5 * start[:, 1:]
        side = 11 / 127
        in_y, in_x = (x - middle_y).abs() < side / 2, (x - middle_x).abs() < side / 2
        smoke = (in_y[:, :, None] & in_x[:, None, :]).double()
        course = streams.uniform((5,), torch.float64)
        segment = (torch.arange(self.frames, device=device) * 4) // self.frames
        angle = 2 * math.pi * course[:, segment]
        # 2 to 5 cells of 127 per frame, 256 frames in the horizon.
        strength = (2 + 3 * course[:, 4:]) * (256 / 127) * self.length / self.horizon
        noise = streams.normal((self.frames, 2, 2), torch.float64)
        way = strength[..., None] * torch.stack((angle.cos(), angle.sin()), dim=-1)
        unit = 256 / 127 * self.length / self.horizon
        way = way + 0.1 * way.abs() * noise[..., 0] + 0.1 * unit * noise[..., 1]
        if not self.kinematic:
            # As a force: what would reach that velocity in a third of the horizon.
            way = way * (3 / self.horizon)
        control = way[..., None, None] * self.edge(n).to(device)
        rest = torch.zeros(count, n, n, dtype=dtype, device=device)
        return {
            "smoke0": smoke.to(dtype),
            "vx0": rest,
            "vy0": rest.clone(),
            "cx": control[:, :, 0].to(dtype),
            "cy": control[:, :, 1].to(dtype),
        }

    # -- solver --------------------------------------------------------------------------------------------------

    def solve(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return smoke and velocity at the centres, ``[B, frames + 1, points, points]``; differentiable.

        Args:
            given: Fields on `points` or more cells per axis; coarse ones are copied into the solver's cells. Smoke in
                obstacles is removed.

        Raises:
            SciflowError: A shape is wrong, or a speed leaves the range of the time step.
        """
        smoke = self._fine(self._take(given, "smoke0", None, None), "smoke0")
        vx, vy = (self._fine(self._take(given, k, None, None), k) for k in ("vx0", "vy0"))
        cx, cy = (self._take(given, k, self.frames, None, None) for k in ("cx", "cy"))
        project = self._projection()
        room = (~self.solid(self.resolution)).to(smoke)
        state: _State = (*project(*self._to_faces(vx, vy)), smoke * room)
        saved = [self._saved(state)]
        move = self._overwritten if self.kinematic else self._forced
        for k in range(self.frames):
            control = self._to_faces(self._fine(cx[:, k], "cx"), self._fine(cy[:, k], "cy"))
            state = move(state, control, project)
            self._check(state, (k + 1) * self.horizon / self.frames)
            saved.append(self._saved(state))
        out = torch.stack(saved, dim=2)
        return {name: out[:, k] for k, name in enumerate(("vx", "vy", "smoke"))}

    def _projection(self) -> Projection:
        return _projection(
            self.obstacles, self.resolution, self.length, self.boundary == "periodic"
        )

    def _forced(self, state: _State, force: tuple[Tensor, Tensor], project: Projection) -> _State:
        """One saved interval of the Navier-Stokes equations."""
        dt = self.horizon / self.frames / self.steps

        def rate(now: _State) -> _State:
            return self._rate(now, force)

        for _ in range(self.steps):
            state = _third_order(state, dt, rate, project)
        return state

    def _overwritten(
        self, state: _State, velocity: tuple[Tensor, Tensor], project: Projection
    ) -> _State:
        """One saved interval of WDNO's system."""
        edge = self._to_faces(*(2 * [self.edge(self.resolution).to(state[0])[None]]))
        dt = self.horizon / self.frames / self.steps

        def rate(now: _State) -> _State:
            return torch.zeros_like(now[0]), torch.zeros_like(now[1]), self._transport(now)

        def keep(vx: Tensor, vy: Tensor) -> tuple[Tensor, Tensor]:
            return vx, vy

        for _ in range(_OVERWRITES):
            vx, vy, smoke = state
            vx = torch.where(edge[0] > 0.75, velocity[0], vx)
            vy = torch.where(edge[1] > 0.75, velocity[1], vy)
            state = (*project(vx, vy), smoke)
            for _ in range(self.steps // _OVERWRITES):
                state = _third_order(state, dt, rate, keep)
        return state

    # -- space ---------------------------------------------------------------------------------------------------

    def _rate(self, state: _State, force: tuple[Tensor, Tensor]) -> _State:
        vx, vy, smoke = state
        h = self.length / self.resolution
        sign = 1.0 if self.slip else -1.0
        # Velocities at the corners, each averaged across the faces that meet there.
        wide_x, wide_y = self._pad(vx, -2, sign), self._pad(vy, -1, sign)
        at_x = 0.5 * (wide_x[..., 1:, :] + wide_x[..., :-1, :])
        at_y = 0.5 * (wide_y[..., 1:] + wide_y[..., :-1])
        corner = at_x * at_y
        xx = (0.5 * (vx[..., 1:] + vx[..., :-1])).square()
        yy = (0.5 * (vy[..., 1:, :] + vy[..., :-1, :])).square()
        ax = self._pad(xx, -1, 1.0).diff(dim=-1) + corner.diff(dim=-2)
        ay = self._pad(yy, -2, 1.0).diff(dim=-2) + corner.diff(dim=-1)
        spread = self.viscosity / h**2
        lx = self._pad_face(vx, -1).diff(n=2, dim=-1) + wide_x.diff(n=2, dim=-2)
        ly = self._pad_face(vy, -2).diff(n=2, dim=-2) + wide_y.diff(n=2, dim=-1)
        rx, ry = spread * lx - ax / h + force[0], spread * ly - ay / h + force[1]
        if self.buoyancy:
            lift = self._pad(smoke, -2, 1.0)
            ry = ry + 0.5 * self.buoyancy * (lift[..., 1:, :] + lift[..., :-1, :])
        return rx, ry, self._transport(state)

    def _transport(self, state: _State) -> Tensor:
        """Rate of the smoke: limited linear reconstruction, upwind."""
        vx, vy, smoke = state
        h = self.length / self.resolution
        return (
            -(self._upwind(smoke, vx, -1).diff(dim=-1) + self._upwind(smoke, vy, -2).diff(dim=-2))
            / h
        )

    def _upwind(self, smoke: Tensor, speed: Tensor, dim: int) -> Tensor:
        n = smoke.shape[dim]
        wide = self._pad(self._pad(smoke, dim, 1.0, 2), dim, 1.0, 0)
        step = wide.diff(dim=dim)
        a, b = step.narrow(dim, 0, n + 2), step.narrow(dim, 1, n + 2)
        most = 2 * torch.minimum(a.abs(), b.abs())
        slope = torch.where(a * b > 0, a.sign() * torch.minimum(0.5 * (a + b).abs(), most), 0)
        inner = wide.narrow(dim, 1, n + 2)
        left = (inner + 0.5 * slope).narrow(dim, 0, n + 1)
        right = (inner - 0.5 * slope).narrow(dim, 1, n + 1)
        return speed.clamp(min=0) * left + speed.clamp(max=0) * right

    def _pad(self, a: Tensor, dim: int, sign: float, width: int = 1) -> Tensor:
        """Add ghosts beyond both ends of an axis of cells: wrapped, or mirrored with a sign."""
        if not width:
            return a
        first, last = a.narrow(dim, 0, width), a.narrow(dim, a.shape[dim] - width, width)
        if self.boundary == "periodic":
            return torch.cat((last, a, first), dim)
        return torch.cat((sign * first.flip(dim), a, sign * last.flip(dim)), dim)

    def _pad_face(self, a: Tensor, dim: int) -> Tensor:
        """The same for an axis of faces, whose ends lie on the boundary."""
        n = a.shape[dim]
        first, last = a.narrow(dim, 1, 1), a.narrow(dim, n - 2, 1)
        if self.boundary == "periodic":
            return torch.cat((last, a, first), dim)
        return torch.cat((-first, a, -last), dim)

    def _to_faces(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Means of the two cells beside each face."""
        wide_x, wide_y = self._pad(x, -1, 1.0), self._pad(y, -2, 1.0)
        return (
            0.5 * (wide_x[..., 1:] + wide_x[..., :-1]),
            0.5 * (wide_y[..., 1:, :] + wide_y[..., :-1, :]),
        )

    def _fine(self, values: Tensor, name: str) -> Tensor:
        rows, columns = values.shape[-2:]
        if rows != columns or self.resolution % rows:
            raise expected(
                f"smoke: cells of {name}",
                [rows, columns],
                f"[n, n] with n a divisor of {self.resolution}",
            )
        factor = self.resolution // rows
        return values.repeat_interleave(factor, -1).repeat_interleave(factor, -2)

    def _saved(self, state: _State) -> Tensor:
        """vx, vy, smoke at the saved cells ``[B, 3, points, points]``."""
        vx, vy, smoke = state
        middle_x = 0.5 * (vx[..., 1:] + vx[..., :-1])
        middle_y = 0.5 * (vy[..., 1:, :] + vy[..., :-1, :])
        both = torch.stack((middle_x, middle_y, smoke), dim=1)
        n = self.points
        return both.unflatten(-1, (n, -1)).unflatten(-3, (n, -1)).mean((-3, -1))

    def _check(self, state: _State, time: float) -> None:
        largest = float(sum(v.detach().abs().max() for v in state[:2]))
        if not largest <= 1.4 * self.largest:
            raise SciflowError(
                f"smoke: got the speed {largest:.3g} at time {time:.3g}, expected at most {1.4 * self.largest:.3g} for "
                f"this time step (CFL); weaken the control, or set a larger speed (now {self.largest:g})"
            )


@lru_cache(maxsize=16)
def _projection(
    obstacles: tuple[tuple[float, float, float, float], ...],
    cells: int,
    length: float,
    periodic: bool,
) -> Projection:
    """Made once for each geometry."""
    place = Incompressible(cells, obstacles=obstacles, resolution=cells)
    return Projection(place.solid(cells), length / cells, periodic)


def _third_order(
    state: _State,
    dt: float,
    rate: Callable[[_State], _State],
    project: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> _State:
    """One step of the strong-stability-preserving Runge-Kutta method of third order, projected after each stage."""
    now = state
    for share in (1.0, 0.25, 2 / 3):
        change = rate(now)
        vx, vy, smoke = (
            (1 - share) * old + share * (new + dt * d)
            for old, new, d in zip(state, now, change, strict=True)
        )
        now = (*project(vx, vy), smoke)
    return now
