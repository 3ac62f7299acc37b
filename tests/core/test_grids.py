"""Time grids: from 0 to 1, strictly increasing, where they say they are dense; bad ones are refused."""

from __future__ import annotations

import pytest
import torch

from sciflow import Component, SciflowError, System
from sciflow.grids import GRIDS, Grid, Karras, LogSNR, Power, Uniform, make
from sciflow.paths import EDM, VE, VP, Cosine, GaussianPath, Linear, SubVP, marginal
from sciflow.spaces import Categorical, Euclidean

PATHS = [VP(), VP(0.1, 1.0), SubVP(), VE(), VE(0.1, 1.0), EDM(), Cosine(), Linear()]
JUMPS = System({"labels": Component(Categorical(2), marginal((0.3, 0.7)), "logits")})


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("grid", [Uniform(), Power(3.0), LogSNR(), Karras()], ids=repr)
def test_knots_go_from_0_to_1_without_turning(grid: Grid, path: GaussianPath) -> None:
    system = System({"x": Component(Euclidean(), path)})
    for steps in (1, 2, 3, 4, 7, 50, 1000):
        knots = grid.knots(steps, system)
        assert len(knots) == steps + 1
        assert knots[0] == 0.0 and knots[-1] == 1.0
        assert all(a < b for a, b in zip(knots, knots[1:], strict=False))


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_log_snr_grid_is_even_in_log_snr(path: GaussianPath) -> None:
    system = System({"y": Component(Euclidean(), Linear()), "x": Component(Euclidean(), path)})
    knots = LogSNR("x").knots(20, system)
    levels = path.log_snr(torch.tensor(knots, dtype=torch.float64))
    steps = levels.diff()[levels.diff().isfinite()]
    assert len(steps) >= 18
    assert torch.allclose(steps, steps[:1].expand_as(steps), rtol=1e-6)


def test_the_grid_of_karras_is_theirs_on_every_path() -> None:
    for path in (
        EDM(0.0, 80.0),
        Linear(),
        Cosine(),
    ):  # no noise is left, two of them have no signal at first
        system = System({"x": Component(Euclidean(), path)})
        knots = Karras().knots(18 + (path.at(0.0).a == 0), system)
        levels = (-path.log_snr(torch.tensor(knots, dtype=torch.float64)) / 2).exp()
        inner = levels[levels.isfinite()]
        i = torch.arange(18, dtype=torch.float64) / 17
        wanted = (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
        assert torch.allclose(inner, torch.cat([wanted, wanted.new_zeros(1)]), rtol=1e-9)
    even = System({"x": Component(Euclidean(), EDM(0.002, 80.0))})
    assert Karras().knots(10, even) == pytest.approx(Uniform().knots(10, even))
    with pytest.raises(SciflowError, match="0 < sigma_min < sigma_max"):
        Karras(sigma_min=2.0, sigma_max=1.0)


def test_a_power_grid_is_dense_near_the_data() -> None:
    knots = Power(2.0).knots(10, JUMPS)
    assert 1 - knots[-2] == pytest.approx(0.01)
    assert Power(1.0).knots(7, JUMPS) == pytest.approx(Uniform().knots(7, JUMPS))


@pytest.mark.parametrize("steps", [0, -3])
@pytest.mark.parametrize("name", list(GRIDS))
def test_no_steps_are_refused(name: str, steps: int) -> None:
    system = System({"x": Component(Euclidean(), VP())})
    with pytest.raises(SciflowError, match=rf"steps: got {steps}, expected at least 1"):
        make(name).knots(steps, system)


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(SciflowError, match="'labels' on path Jump.*use grid 'power'"):
        LogSNR().knots(5, JUMPS)
    with pytest.raises(SciflowError, match="did you mean 'labels'"):
        LogSNR("label").knots(5, JUMPS)
    with pytest.raises(SciflowError, match="did you mean 'uniform'"):
        make("unifrom")
    with pytest.raises(SciflowError, match="option of grid power.*did you mean 'power'"):
        make({"name": "power", "powr": 2})
    with pytest.raises(SciflowError, match="positive"):
        make({"name": "power", "power": 0})
