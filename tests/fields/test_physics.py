"""Advection, Kuramoto-Sivashinsky, compressible flow: orders of convergence, exact and published solutions, laws."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sciflow.domains.fields.physics import EQUATIONS, Advection, Compressible, KuramotoSivashinsky
from sciflow.domains.fields.physics.exact import riemann
from sciflow.errors import SciflowError
from sciflow.streams import Streams

DOUBLE = torch.float64
SMALL = {
    "advection": {"points": 16, "frames": 3, "resolution": 32},
    "compressible": {"points": 16, "frames": 2, "resolution": 32, "horizon": 0.05},
    "kuramoto": {"points": 16, "frames": 2, "resolution": 32, "horizon": 1.0},
}


def orders(errors: list[float]) -> list[float]:
    return [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]


@pytest.mark.parametrize("name", SMALL)
def test_a_trajectory_does_not_depend_on_its_batch(name: str) -> None:
    equation = EQUATIONS[name](**SMALL[name])
    many = equation.simulate(1, 5, dtype=DOUBLE)
    part = equation.simulate(1, 2, start=3, batch=1, dtype=DOUBLE)
    sizes = {key: len(value) for key, value in equation.coordinates().items()}
    for key, value in part.items():
        assert torch.allclose(value, many[key][3:], rtol=1e-10, atol=1e-12), key
        assert value.isfinite().all()
    for key, variable in equation.fields.items():
        assert list(many[key].shape[1:]) == [sizes[dim] for dim in variable.dims]
    assert (
        type(equation)(**{k: v for k, v in equation.config().items() if k != "equation"})
        == equation
    )


# -- advection --------------------------------------------------------------------------------------------------------


def test_advection_is_exact_at_any_time_and_for_each_speed() -> None:
    equation = Advection(points=64, frames=5, resolution=64, horizon=3.7)
    x, time = equation.coordinates()["x"], equation.coordinates()["time"]
    speed = torch.tensor([0.3, -7.0], dtype=DOUBLE)

    def wave(y: torch.Tensor) -> torch.Tensor:
        return (2 * math.pi * y).sin() + 0.3 * (2 * math.pi * 5 * y).cos()

    u = equation.solve({"u0": wave(x).expand(2, 64), "speed": speed})["u"]
    assert torch.allclose(u, wave(x - speed[:, None, None] * time[:, None]), atol=1e-12)


def test_advection_keeps_what_the_law_draws() -> None:
    out = Advection(slowest=0.1, fastest=4.0, resolution=256).simulate(0, 200, dtype=DOUBLE)
    assert 0.1 <= out["speed"].min() < 0.5 and 3.5 < out["speed"].max() <= 4.0
    assert torch.allclose(out["u"].mean(-1), out["u"][:, :1].mean(-1).expand(-1, 33), atol=1e-12)
    calm = (out["u0"][:, 0].abs() < 1e-6).double().mean()  # outside of the window
    assert 0.4 < calm < 0.65


# -- Kuramoto-Sivashinsky ---------------------------------------------------------------------------------------------


def test_kuramoto_fourth_order_in_time() -> None:
    def final(steps: int) -> torch.Tensor:
        equation = KuramotoSivashinsky(64, 1, 1.0, 32.0, resolution=64, steps=steps)
        x = equation.coordinates()["x"] * 2 * math.pi / 32
        return equation.solve({"u0": (x.cos() * (1 + x.sin()))[None]})["u"][0, -1]

    best = final(1024)
    errors = [float((final(n) - best).abs().max()) for n in (64, 128, 256)]
    assert min(orders(errors)) > 3.6, (errors, orders(errors))


def test_kuramoto_spectral_in_space_and_linear_growth_exact() -> None:
    def final(points: int) -> torch.Tensor:
        equation = KuramotoSivashinsky(32, 1, 5.0, 22.0, resolution=points, steps=200)
        x = equation.coordinates()["x"] * 2 * math.pi / 22
        fine = torch.arange(points, dtype=DOUBLE).add(0.5) * 2 * math.pi / points
        del x
        return equation.solve({"u0": fine.cos()[None]})["u"][0, -1]

    assert (final(64) - final(256)).abs().max() < 5e-2  # means over coarser cells differ
    tiny = KuramotoSivashinsky(64, 1, 1.0, 20.0, resolution=64)
    x = tiny.coordinates()["x"]
    k = 2 * math.pi * 2 / 20
    u = tiny.solve({"u0": 1e-9 * (k * x).sin()[None]})["u"][0]
    assert torch.allclose(u[1], u[0] * math.exp(k**2 - k**4), rtol=1e-6, atol=1e-18)


@pytest.mark.data
def test_kuramoto_published_solution(data_dir: Path) -> None:
    """From -sin(pi x); its coefficients are 5 / pi, 5 / (3 pi^2) and 5 / (27 pi^4)."""
    from scipy.io import loadmat

    reference = loadmat(data_dir / "fields" / "pde" / "raissi_KS.mat")
    law = {
        "transport": 5 / math.pi,
        "growth": 5 / (3 * math.pi**2),
        "damping": 5 / (27 * math.pi**4),
    }
    equation = KuramotoSivashinsky(256, 4, 1.0, 2.0, -1.0, **law, resolution=256, steps=250)
    x = equation.coordinates()["x"]
    u = equation.solve({"u0": -(math.pi * x).sin()[None]})["u"][0]
    for frame in (1, 2, 3, 4):
        theirs = np.interp(x.numpy(), reference["x"].ravel(), reference["uu"][:, 50 * frame])
        assert np.abs(u[frame].numpy() - theirs).max() < 2e-2, frame


# -- compressible flow ------------------------------------------------------------------------------------------------


def test_compressible_second_order_on_a_smooth_wave() -> None:
    errors = []
    for n in (32, 64, 128):
        equation = Compressible(
            n, 1, 0.5, 1.0, 0.0, boundary="periodic", resolution=n, shear=0, bulk=0
        )
        x = equation.coordinates()["x"]
        # Means over the cells of 1 + 0.2 sin, carried along by a constant flow.
        density = 1 + 0.2 * (2 * math.pi * x).sin() * math.sin(math.pi / n) / (math.pi / n)
        one = torch.ones_like(x)
        given = {"density0": density[None], "velocity0": one[None], "pressure0": one[None]}
        out = equation.solve(given)["density"][0, -1]
        errors.append(float((out - density.roll(n // 2)).abs().mean()))
    assert min(orders(errors)) > 1.8, (errors, orders(errors))


def test_compressible_sod() -> None:
    errors = []
    for n in (64, 128, 256):
        equation = Compressible(n, 1, 0.2, 1.0, -0.5, gamma=1.4, resolution=n, shear=0, bulk=0)
        x = equation.coordinates()["x"]
        left = x < 0
        given = {
            "density0": torch.where(left, 1.0, 0.125).double()[None],
            "velocity0": torch.zeros_like(x)[None],
            "pressure0": torch.where(left, 1.0, 0.1).double()[None],
        }
        out = equation.solve(given)
        exact = riemann(x, 0.2, (1, 0, 1), (0.125, 0, 0.1))
        mine = torch.stack([out[name][0, -1] for name in ("density", "velocity", "pressure")])
        errors.append(float((mine - exact).abs().mean()))
        total = out["density"].sum(-1)
        assert torch.allclose(total, total[:, :1].expand_as(total))  # nothing has reached the ends
    assert errors[-1] < 6e-3
    assert min(orders(errors)) > 0.75, (errors, orders(errors))


def test_riemann_has_sods_published_values() -> None:
    """Toro 2009, table 4.3, test 1: p* = 0.30313, u* = 0.92745, densities 0.42632 and 0.26557."""
    x = torch.tensor([0.1, 0.3], dtype=DOUBLE)
    density, velocity, pressure = riemann(x, 0.2, (1, 0, 1), (0.125, 0, 0.1))
    assert density.tolist() == pytest.approx([0.42632, 0.26557], abs=1e-5)
    assert velocity.tolist() == pytest.approx([0.92745] * 2, abs=1e-5)
    assert pressure.tolist() == pytest.approx([0.30313] * 2, abs=1e-5)
    flipped = riemann(-x, 0.2, (0.125, 0, 0.1), (1, 0, 1))
    assert torch.allclose(flipped, torch.stack((density, -velocity, pressure)), atol=1e-9)


def test_compressible_walls_keep_mass_and_energy_and_viscosity_damps() -> None:
    equation = Compressible(32, 2, 1.0, boundary="wall", resolution=32, shear=0.05)
    x = equation.coordinates()["x"]
    given = {
        "density0": (1 + 0.3 * (math.pi * x).cos())[None],
        "velocity0": (math.pi * x).sin()[None],
        "pressure0": torch.ones_like(x)[None],
    }
    out = equation.solve(given)
    energy = out["pressure"] / (5 / 3 - 1) + 0.5 * out["density"] * out["velocity"] ** 2
    for total in (out["density"].sum(-1), energy.sum(-1)):
        assert torch.allclose(total, total[:, :1].expand_as(total), rtol=1e-10)
    free = Compressible(32, 2, 1.0, boundary="wall", resolution=32, shear=0, bulk=0).solve(given)
    assert out["velocity"][:, -1].abs().max() < free["velocity"][:, -1].abs().max()


def test_compressible_law_and_errors() -> None:
    drawn = Compressible().draw(Streams.range(0, 0, 2000), DOUBLE)
    assert drawn["density0"].min() >= 1 and drawn["density0"].max() <= 10
    assert drawn["pressure0"].min() >= 10 and drawn["pressure0"].max() <= 100
    assert drawn["velocity0"].min() > 0.6 and drawn["velocity0"].max() < 1.65
    assert drawn["pressure0"].log10().mean() == pytest.approx(1.5, abs=0.03)
    changes = {k: (v.diff(dim=-1) != 0).sum(-1) for k, v in drawn.items()}
    assert all((c == 1).all() for c in changes.values())
    bad = {k: v[:1] for k, v in drawn.items()} | {"pressure0": -drawn["pressure0"][:1]}
    with pytest.raises(SciflowError, match="not positive"):
        Compressible().solve(bad)
    with pytest.raises(SciflowError, match="0 < courant < 1"):
        Compressible(courant=2.0)
    with pytest.raises(SciflowError, match="runs away.*steps above 1"):
        u0 = 40 * torch.randn(1, 64, dtype=DOUBLE)
        KuramotoSivashinsky(64, 32, 64.0, 64.0, resolution=64, steps=1).solve({"u0": u0})
