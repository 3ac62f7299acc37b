"""Incompressible flow: an exact projection, Taylor-Green vortices, smoke that is kept, WDNO's kinematic variant."""

from __future__ import annotations

import math

import pytest
import torch

from sciflow.domains.fields.physics import Incompressible
from sciflow.domains.fields.physics.projection import Projection
from sciflow.errors import SciflowError
from sciflow.streams import Streams

DOUBLE = torch.float64


def orders(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def quiet(equation: Incompressible, **changes: torch.Tensor) -> dict[str, torch.Tensor]:
    n = equation.resolution
    zero = torch.zeros(1, n, n, dtype=DOUBLE)
    control = torch.zeros(1, equation.frames, n, n, dtype=DOUBLE)
    given = {"smoke0": zero, "vx0": zero, "vy0": zero, "cx": control, "cy": control}
    return given | {k: v.expand_as(given[k]) for k, v in changes.items()}


@pytest.mark.parametrize("periodic", [False, True])
def test_projection_is_exact_around_obstacles(periodic: bool) -> None:
    solid = torch.zeros(12, 14, dtype=torch.bool)
    solid[2:4, 3:9] = True
    solid[7, 6:8] = True
    solid[5:10, 11] = True
    project = Projection(solid, 0.1, periodic)
    vx, vy = noise(3, 12, 15), noise(3, 13, 14, seed=1)
    if periodic:
        vx[..., -1], vy[..., -1, :] = vx[..., 0], vy[..., 0, :]
    px, py = project(vx, vy)
    assert project.divergence(px, py).abs().max() < 1e-11
    open_x, open_y = project.open_faces()
    assert not px[:, ~open_x].any() and not py[:, ~open_y].any()
    again = project(px, py)
    assert torch.allclose(again[0], px, atol=1e-12) and torch.allclose(again[1], py, atol=1e-12)
    # Nearest: what was taken away is orthogonal to what is left (each face counted once).
    last = -1 if periodic else None
    taken = ((vx * open_x - px) * px)[..., :last].sum() + ((vy * open_y - py) * py)[:, :last].sum()
    assert abs(float(taken)) < 1e-9
    single = project(vx.float(), vy.float())
    assert (single[0] - px).abs().max() < 1e-4


def test_projection_of_a_room_that_obstacles_close_off() -> None:
    solid = torch.zeros(10, 10, dtype=torch.bool)
    solid[3:7, 3] = solid[3:7, 6] = True
    solid[3, 3:7] = solid[6, 3:7] = True
    project = Projection(solid, 0.1)
    assert (
        project.divergence(*project(noise(1, 10, 11), noise(1, 11, 10, seed=1))).abs().max()
        < 1e-11
    )


@pytest.mark.parametrize("boundary", ["periodic", "wall"])
def test_second_order_on_taylor_green_vortices(boundary: str) -> None:
    viscosity, time, errors = 0.05, 0.4, []
    for n in (8, 16, 32):
        equation = Incompressible(
            n,
            1,
            time,
            math.pi * (2 if boundary == "periodic" else 1),
            viscosity,
            boundary=boundary,
            slip=True,
            obstacles=(),
            resolution=n,
            speed=2.0,
        )
        place = equation.coordinates()
        y, x = place["y"][:, None], place["x"]
        # Means of the two neighbours at the faces: divided out, so that the start is the vortex itself.
        half = math.cos(math.pi * (2 if boundary == "periodic" else 1) / n / 2)
        vx, vy = x.sin() * y.cos(), -x.cos() * y.sin()
        out = equation.solve(quiet(equation, vx0=vx / half, vy0=vy / half))
        decay = math.exp(-2 * viscosity * time)
        # Saved velocities are means of two faces, again by the factor `half`.
        errors.append(float((out["vx"][0, -1] / half - decay * vx).abs().max()))
        assert torch.allclose(out["vx"][0, -1].mT, -out["vy"][0, -1], atol=1e-9)
    assert min(orders(errors)) > 1.8, (errors, orders(errors))


def test_a_shear_flow_moves_smoke_to_second_order_and_keeps_it() -> None:
    errors = []
    for n in (32, 64):
        equation = Incompressible(
            n, 2, 0.5, viscosity=0.0, boundary="periodic", obstacles=(), resolution=n, speed=2.5
        )
        place = equation.coordinates()
        y, x = place["y"][:, None], place["x"]

        def smoke(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return 1 + 0.5 * (2 * math.pi * a).sin() * (2 * math.pi * b).cos()

        one = torch.ones(n, n, dtype=DOUBLE)
        out = equation.solve(quiet(equation, vx0=one, vy0=0.5 * one, smoke0=smoke(x, y)))["smoke"][
            0
        ]
        assert torch.allclose(out.sum((1, 2)), out[0].sum())
        errors.append(float((out[-1] - smoke(x - 0.5, y - 0.25)).abs().mean()))
    assert min(orders(errors)) > 1.7, (errors, orders(errors))


def test_without_viscosity_energy_is_kept() -> None:
    equation = Incompressible(
        16, 2, 0.5, viscosity=0.0, boundary="periodic", obstacles=(), resolution=16, speed=4.0
    )
    start = noise(2, 1, 16, 16)
    project = equation._projection()
    state = (*project(*equation._to_faces(*start)), torch.zeros(1, 16, 16, dtype=DOUBLE))
    zero = (torch.zeros_like(state[0]), torch.zeros_like(state[1]))
    rate = equation._rate(state, zero)
    power = (state[0] * rate[0])[..., :-1].sum() + (state[1] * rate[1])[:, :-1].sum()
    size = (state[0] * rate[0]).abs().sum()
    assert abs(float(power)) < 1e-12 * float(size)


@pytest.mark.parametrize("kinematic", [False, True])
def test_the_law_is_simulated_and_does_not_depend_on_the_batch(kinematic: bool) -> None:
    equation = Incompressible(8, 2, 0.1, kinematic=kinematic, resolution=16, speed=200.0)
    many = equation.simulate(0, 2, dtype=DOUBLE)
    alone = equation.simulate(0, 1, start=1, dtype=DOUBLE)
    for key, value in alone.items():
        assert torch.allclose(value[0], many[key][1], rtol=1e-9, atol=1e-11), key
    smoke = many["smoke"]
    assert smoke.min() > -1e-12
    assert torch.allclose(smoke.sum((2, 3)), smoke[:, :1].sum((2, 3)).expand(-1, 3))
    assert many["vx"][:, -1].abs().max() > 0.1
    assert (equation.escaped(smoke) >= 0).all() and (equation.escaped(smoke) <= 1).all()
    assert (
        Incompressible(**{k: v for k, v in equation.config().items() if k != "equation"})
        == equation
    )


def test_gradients_reach_the_control() -> None:
    equation = Incompressible(
        8, 2, 0.05, obstacles=((0.4, 0.4, 0.6, 0.6),), resolution=8, speed=10.0
    )
    drawn = {k: v.double() for k, v in equation.draw(Streams.range(0, 0, 1)).items()}
    drawn["smoke0"] = torch.rand(1, 8, 8, dtype=DOUBLE)
    cx = (0.01 * drawn["cx"]).requires_grad_()
    out = equation.solve(drawn | {"cx": cx, "cy": 0.01 * drawn["cy"]})
    (slope,) = torch.autograd.grad(equation.escaped(out["smoke"][:, -1]).sum(), cx)
    assert slope.isfinite().all() and slope.abs().max() > 0


def test_what_cannot_be_solved_is_refused() -> None:
    equation = Incompressible(8, 1, 0.1, obstacles=(), resolution=8, speed=1.0)
    fast = 50 * torch.ones(8, 8, dtype=DOUBLE)
    with pytest.raises(SciflowError, match="CFL.*larger speed"):
        equation.solve(
            quiet(
                Incompressible(8, 1, 0.1, boundary="periodic", obstacles=(), resolution=8), cx=fast
            )
            | {"vx0": noise(1, 8, 8) * 50}
        )
    with pytest.raises(SciflowError, match="divisor of 8"):
        equation.solve(quiet(equation) | {"vx0": torch.zeros(1, 5, 5)})
    with pytest.raises(SciflowError, match="obstacle"):
        Incompressible(obstacles=((0.5, 0.5, 0.2, 0.8),))
