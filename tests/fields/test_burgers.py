"""Burgers: its order of convergence, exact and published solutions, the law of the data, what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sciflow.domains.fields.physics import Burgers, cells
from sciflow.domains.fields.physics.exact import cole_hopf
from sciflow.errors import SciflowError
from sciflow.streams import Streams

DOUBLE = torch.float64


def free(equation: Burgers, u0: torch.Tensor) -> torch.Tensor:
    """Solution without force."""
    f = torch.zeros(len(u0), equation.frames, equation.points, dtype=u0.dtype)
    return equation.solve({"u0": u0, "f": f})["u"]


@pytest.mark.parametrize("boundary", ["wall", "periodic"])
def test_second_order_against_cole_hopf(boundary: str) -> None:
    errors = []
    for n in (64, 128, 256):
        equation = Burgers(n, 1, 0.4, viscosity=0.02, resolution=n, speed=1.5, boundary=boundary)
        x = equation.coordinates()["x"]
        u = free(equation, (2 * math.pi * x).sin()[None])[0, -1]
        errors.append(float((u - cole_hopf(x, 0.4, 0.02, 1.0, 2 * math.pi)).abs().max()))
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]
    assert min(orders) > 1.85, (errors, orders)
    assert errors[-1] < 2e-3


def test_a_force_that_holds_a_state_holds_it() -> None:
    errors = []
    for n in (32, 64):
        equation = Burgers(n, 2, 1.0, viscosity=0.1, resolution=n)
        x = equation.coordinates()["x"]
        u = (math.pi * x).sin()
        f = math.pi * u * (math.pi * x).cos() + 0.1 * math.pi**2 * u
        out = equation.solve({"u0": u[None], "f": f.expand(1, 2, n)})["u"]
        errors.append(float((out[0, -1] - u).abs().max()))
    assert errors[1] < 1e-3
    assert math.log2(errors[0] / errors[1]) > 1.85


@pytest.mark.data
def test_published_solution_with_a_shock(data_dir: Path) -> None:
    from scipy.io import loadmat

    reference = loadmat(data_dir / "fields" / "pde" / "raissi_burgers_shock.mat")
    equation = Burgers(
        1024,
        3,
        0.99,
        length=2.0,
        origin=-1.0,
        viscosity=0.01 / math.pi,
        resolution=1024,
        speed=1.2,
    )
    x = equation.coordinates()["x"]
    u = free(equation, -(math.pi * x).sin()[None])[0]
    nodes = np.linspace(-1, 1, 256)  # the published grid holds both walls
    for frame, row in ((1, 33), (2, 66), (3, 99)):
        mine = np.interp(nodes[1:-1], x.numpy(), u[frame].numpy())
        assert np.abs(mine - reference["usol"][1:-1, row]).max() < 1e-2
        exact = cole_hopf(x, 0.33 * frame, 0.01 / math.pi, -1.0)
        assert (u[frame] - exact).abs().max() < 5e-3


@pytest.mark.data
def test_published_periodic_solutions(data_dir: Path) -> None:
    file = np.load(data_dir / "fields" / "pde" / "neuralop_burgers_test_16.npz")
    x, y = torch.tensor(file["x"][:8]), torch.tensor(file["y"][:8])
    equation = Burgers(256, 16, 1.0, viscosity=0.01, boundary="periodic", resolution=256, speed=2)
    # Its 16 samples stand at the left ends of 16 cells: interpolated by their Fourier series, read back likewise.
    fine = torch.fft.irfft(torch.fft.rfft(x) * 16, 256)
    wave = torch.arange(129, dtype=DOUBLE) * 2j * math.pi
    centred = torch.fft.irfft(torch.fft.rfft(fine) * torch.exp(wave / 512), 256)
    u = free(equation, centred)
    back = torch.fft.irfft(torch.fft.rfft(u) * torch.exp(-wave / 512), 256)[..., ::16]
    error = (back - y).norm(dim=(1, 2)) / y.norm(dim=(1, 2))
    assert error.median() < 0.05


def test_a_trajectory_is_the_same_alone_and_in_any_batch() -> None:
    equation = Burgers(16, 4, 1.0, resolution=64, viscosity=0.05)
    many = equation.simulate(3, 11, batch=11)
    parts = equation.simulate(3, 5, start=4, batch=2)
    for name, value in parts.items():
        assert torch.equal(value, many[name][4:9]), name
    assert not torch.equal(many["u"][0], many["u"][1])


def test_law_of_the_data() -> None:
    equation = Burgers()
    drawn = equation.draw(Streams.range(0, 0, 4000), DOUBLE)
    u0, f = drawn["u0"], drawn["f"]
    assert u0.shape == (4000, 256) and f.shape == (4000, 32, 64)
    assert u0.amax() <= 2 and u0.amin() >= -2
    # Heights are uniform: the largest value of the left bell alone has mean close to 1 where the right one is far.
    assert u0[:, :77].amax(1).mean() == pytest.approx(1.0, abs=0.1)
    assert f.mean().abs() < 0.06
    # Var f at the centre: (1 + 7/2) bells, height variance 4 x 0.75, mean square of a bell in time and in space.
    width, place = 0.1 + 0.3 * torch.rand(100000, dtype=DOUBLE), torch.rand(100000, dtype=DOUBLE)
    bell = torch.exp(-(((0.5 - place) / width) ** 2)).mean()
    assert f[:, 16, 32].var() == pytest.approx(float(4.5 * 3.0 * bell**2), rel=0.1)


def test_gradients_flow_to_the_force_and_both_paths_agree() -> None:
    equation = Burgers(16, 2, 0.2, resolution=32, viscosity=0.05)
    drawn = equation.draw(Streams.range(0, 0, 2), DOUBLE)
    plain = equation.solve(drawn)["u"]
    f = drawn["f"].clone().requires_grad_()
    u = equation.solve({"u0": drawn["u0"], "f": f})["u"]
    assert torch.allclose(u, plain, atol=1e-12)
    (slope,) = torch.autograd.grad(u[:, -1].square().sum(), f)
    step = torch.randn(f.shape, generator=torch.Generator().manual_seed(0), dtype=DOUBLE) * 1e-6
    ends = [
        equation.solve({"u0": drawn["u0"], "f": drawn["f"] + s})["u"][:, -1].square().sum()
        for s in (step, -step)
    ]
    assert float((ends[0] - ends[1]) / 2) == pytest.approx(float((slope * step).sum()), rel=1e-5)


def test_a_feedback_steers_and_its_force_gives_the_same_trajectory() -> None:
    equation = Burgers(16, 8, 4.0, resolution=64, viscosity=0.05)
    drawn = equation.draw(Streams.range(0, 0, 3), DOUBLE)
    target = 0.5 * (math.pi * equation.coordinates()["x"]).sin()
    free_end = free(equation, drawn["u0"])[:, -1]
    out = equation.steer(drawn["u0"], lambda k, u: 2.0 * (target - u))
    again = equation.solve({"u0": drawn["u0"], "f": out["f"]})["u"]
    assert torch.allclose(again, out["u"], atol=1e-12)
    misses = [(end - target).square().mean() for end in (out["u"][:, -1], free_end)]
    assert misses[0] < 0.2 * misses[1]


def test_coarse_controls_are_what_was_simulated() -> None:
    """The force of a trajectory, taken from the saved grid, gives the trajectory again."""
    equation = Burgers(32, 4, 1.0, resolution=128)
    out = equation.simulate(0, 2, dtype=DOUBLE)
    again = equation.solve({"u0": out["u0"], "f": out["f"]})["u"]
    assert torch.equal(again, out["u"])


@pytest.mark.parametrize("periodic", [False, True])
def test_refining_is_exact_for_cubics_and_coarsening_keeps_integrals(periodic: bool) -> None:
    x, fine = cells.centres(16), cells.centres(48)
    if periodic:
        errors = [
            (
                cells.refine((2 * math.pi * cells.centres(n)).sin(), 3 * n, True)
                - (2 * math.pi * cells.centres(3 * n)).sin()
            )
            .abs()
            .max()
            for n in (16, 32)
        ]
        assert math.log2(errors[0] / errors[1]) > 3.8
    else:
        assert torch.allclose(cells.refine(x**3 - x, 48), fine**3 - fine, atol=1e-13)
    values = torch.rand(3, 48, dtype=DOUBLE)
    assert torch.allclose(cells.coarsen(values, 16).mean(-1), values.mean(-1))


def test_what_cannot_be_solved_is_refused() -> None:
    equation = Burgers(16, 4, 1.0, resolution=64)
    good = equation.draw(Streams.range(0, 0, 1))
    with pytest.raises(SciflowError, match="CFL.*speed"):
        equation.solve(good | {"u0": 40 * good["u0"]})
    with pytest.raises(SciflowError, match="resolution of at least"):
        Burgers(16, 4, 1.0, resolution=64, viscosity=0.001).solve(good)
    with pytest.raises(SciflowError, match="add f"):
        equation.solve({"u0": good["u0"]})
    with pytest.raises(SciflowError, match=r"f: got .* expected '?\[B, 4, any\]"):
        equation.solve(good | {"f": good["f"][:, :2]})
    with pytest.raises(SciflowError, match="u0 holds values that are not finite"):
        equation.solve(good | {"u0": good["u0"] * math.nan})
    with pytest.raises(SciflowError, match="multiple of the 16 points"):
        Burgers(16, 4, resolution=40)
    with pytest.raises(SciflowError, match="did you mean 'wall'"):
        Burgers(boundary="walls")
