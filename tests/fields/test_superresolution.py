"""Super-resolution: halving and interpolating are what they say, a model of one grid serves all."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sciflow.domains.fields import Fields, superresolution
from sciflow.domains.fields.layout import Layout
from sciflow.domains.fields.physics import Advection, Burgers
from sciflow.domains.fields.trajectories import to_xarray
from sciflow.errors import SciflowError
from sciflow.model import Model

SMALL = {"name": "unet", "width": 4, "multiples": [1, 2]}
EQUATION = Burgers(16, 8, 2.0, resolution=16, viscosity=0.1)


@pytest.fixture(scope="module")
def data():
    return to_xarray(EQUATION, EQUATION.simulate(0, 6))


def test_halving_keeps_frames_and_means(data) -> None:
    layout = Layout.of(data)
    fine = layout.read(data)
    coarse = superresolution.halved(layout, fine)
    u = torch.from_numpy(data["u"].values)
    assert torch.allclose(coarse["fields"][:, 0], u[:, 2::2].unflatten(2, (8, 2)).mean(3))
    assert torch.allclose(coarse["f"].mean((1, 2)), fine["f"].mean((1, 2)), atol=1e-6)
    assert coarse["start"].shape == (6, 1, 8)
    with pytest.raises(SciflowError, match="even"):
        superresolution.halved(layout, {"start": fine["start"][..., :7]})


@pytest.mark.parametrize("how", [superresolution.upsampled, superresolution.spectral])
def test_interpolation_is_exact_where_it_must_be(data, how) -> None:
    layout = Layout.of(data)
    constant = torch.full((1, 1, 4, 8), 3.0)
    assert torch.allclose(how(layout, constant[:, :, 0], constant), torch.tensor(3.0))
    # Every second frame, coarsened again, is the frame itself for a linear interpolation of a straight line.
    line = torch.linspace(-1, 1, 8).expand(1, 1, 4, 8)
    raised = how(layout, line[:, :, 0], line)
    assert raised.shape == (1, 1, 8, 16)
    inner = raised.unflatten(3, (8, 2)).mean(4)[..., 1:-1]
    assert torch.allclose(inner, line[:, :, :1, 1:-1].expand_as(inner), atol=0.02)


def test_series_are_exact_for_their_own_waves() -> None:
    periodic = Advection(16, 8)
    layout = Layout.of(to_xarray(periodic, periodic.simulate(0, 1)))
    assert layout.periodic

    def field(cells: int, frames: int) -> torch.Tensor:
        x = (torch.arange(cells) + 0.5) / cells
        t = torch.arange(frames + 1)[:, None] / frames
        return (torch.sin(2 * torch.pi * 3 * x) * torch.cos(2 * torch.pi * t))[None, None]

    coarse, fine = field(16, 8), field(32, 16)
    found = superresolution.spectral(layout, coarse[:, :, 0], coarse[:, :, 1:])
    assert torch.allclose(found, fine[:, :, 1:], atol=1e-5)


def test_a_model_refines_beyond_the_grids_of_its_data(data) -> None:
    adapter, training = Fields.from_data(
        {"train": "burgers:6", "levels": 2}, {"network": SMALL, "process": "cosine"}
    )
    assert len(training) == 12
    even, odd = training.batch(torch.tensor([0, 3])), training.batch(torch.tensor([1, 2]))
    assert even["bands"].shape[2:] == (16, 32) and odd["bands"].shape[2:] == (8, 16)
    # Deviations are those of each level's own data; what is beyond follows the same decay.
    for batch in (even, odd):
        assert 0.3 < batch["bands"].std() < 3
    finer = adapter.on({"time": 64, "x": 128}).coding.codec.statistics
    ratio = [a.std / b.std for a, b in zip(finer, adapter.coding.codec.statistics, strict=True)]
    assert ratio == pytest.approx(adapter.coding.decay["fields"]) and max(ratio) < 1
    again = Fields.from_config(adapter.config())
    assert again.config() == adapter.config()
    torch.manual_seed(0)
    model = Model(adapter, adapter.network().eval())
    law = Burgers()
    truth = to_xarray(
        replace(law, points=128, frames=64), replace(law, points=128, frames=64).simulate(0, 2)
    )
    coarse = to_xarray(law, law.simulate(0, 2))
    settings = {"steps": 1, "solver": "ddim", "device": "cpu"}
    made = superresolution.refine(model, coarse, truth, 1, 2, **settings)
    assert len(made) == 4 and made[0]["u"].shape == (65, 128)
    start = torch.from_numpy(truth["u"].values[:, 0])
    for k, one in enumerate(made):  # the start and the force are those that were given
        assert torch.allclose(torch.from_numpy(one["u"].values[0]), start[k % 2], atol=1e-4)
    # An untrained network predicts nothing: what is left is near the interpolation, in units of what it misses.
    real = torch.from_numpy(truth["u"].values)
    assert (torch.from_numpy(made[0]["u"].values) - real[0]).square().mean() < 0.1
    half = coarse.isel(time=slice(None, None, 2)).coarsen(x=2, interval=2).mean()
    twice = superresolution.refine(model, half, None, 2, 1, **settings)
    assert twice[0]["u"].shape == (65, 128)
    plain = Model(Fields.fit(data, "cosine", SMALL), adapter.network())
    with pytest.raises(SciflowError, match="u_coarse"):
        superresolution.refine(plain, data)
