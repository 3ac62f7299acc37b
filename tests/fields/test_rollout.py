"""Rollouts: blocks follow each other, samples keep to themselves, ensembles differ where they should."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciflow.domains.fields import Fields, commands
from sciflow.domains.fields.physics import Burgers, KuramotoSivashinsky
from sciflow.domains.fields.rollout import Rollout, ensemble, rollout, thinned
from sciflow.domains.fields.trajectories import to_xarray
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import produce
from sciflow.runtime.output import Output

KS = KuramotoSivashinsky(points=16, frames=4, horizon=4.0, length=22.0, resolution=32)
FORCED = Burgers(8, 4, 2.0, resolution=16, viscosity=0.1)
SETTINGS = {"steps": 2, "solver": "ddim", "device": "cpu"}


def model_of(equation, seed: int = 0) -> tuple[Model, xr.Dataset]:
    data = to_xarray(equation, equation.simulate(0, 6))
    adapter = Fields.fit(
        data, "cosine", {"name": "unet", "width": 8, "multiples": [1], "dropout": 0.1}
    )
    torch.manual_seed(seed)
    network = adapter.network().eval()
    with torch.no_grad():  # an untrained network predicts nothing; this one predicts something
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    return Model(adapter, network), data


def test_a_block_goes_on_where_the_last_one_ended() -> None:
    model, data = model_of(KS)
    starts = data.isel(sample=slice(0, 2))
    made = rollout(model, starts, 3, 2, **SETTINGS)
    assert len(made) == 4 and made[0]["u"].shape == (13, 16)
    assert np.allclose(made[0]["time"], np.linspace(0, 12, 13))
    config = json.loads(made[0].attrs["equation"])
    assert config["frames"] == 12 and config["horizon"] == 12.0
    for k, one in enumerate(made):
        assert np.allclose(one["u"][0], starts["u"][k % 2, 0], atol=1e-5)
        # The second block alone, from the state in which the first one ended.
    whole = rollout(model, starts, 1, 2, **SETTINGS)
    assert np.allclose(whole[3]["u"], made[3]["u"][:5])
    alone = rollout(model, starts.isel(sample=[0]), 3, 1, **SETTINGS)
    assert np.allclose(alone[0]["u"], made[0]["u"], atol=1e-4)
    again = xr.concat([one["u"].isel(time=4) for one in made], "sample").drop_vars("time")
    second = rollout(model, xr.Dataset({"u0": again}), 1, 1, seed=1_000_003, **SETTINGS)
    assert np.allclose(second[2]["u"], made[2]["u"][4:9], atol=1e-4)


def test_what_is_given_by_intervals_follows_the_blocks() -> None:
    model, data = model_of(FORCED)
    long = Burgers(8, 8, 4.0, resolution=16, viscosity=0.1)
    given = to_xarray(long, long.simulate(3, 2))
    made = rollout(model, given, 2, **SETTINGS)
    assert made[0]["u"].shape == (9, 8)
    for k, one in enumerate(made):
        assert np.allclose(one["f"], given["f"][k], atol=1e-5)
        assert np.allclose(one["interval"], given["interval"])
    repeated = rollout(model, data.isel(sample=[0]), 2, **SETTINGS)
    assert np.allclose(repeated[0]["f"][:4], repeated[0]["f"][4:], atol=1e-5)


def test_the_verb_writes_trajectories_of_many_blocks(tmp_path: Path) -> None:
    model, data = model_of(KS)
    model = replace(model, sampling=Sampling("ddim", "uniform", 2))
    folder = model.save(tmp_path / "model")
    data.isel(sample=[0, 1]).to_netcdf(tmp_path / "starts.nc")
    commands.rollout(tmp_path / "starts.nc", tmp_path / "long.nc", [str(folder)], 3, device="cpu")
    made = xr.load_dataset(tmp_path / "long.nc")
    assert made["u"].shape == (2, 13, 16)
    again = rollout(model, data.isel(sample=[0, 1]), 3, device="cpu")
    assert np.allclose(made["u"][1], again[1]["u"], atol=1e-5)
    deep = (tmp_path / "starts.nc", tmp_path / "deep.nc", [str(folder)] * 2, 1, 2, 0.5)
    commands.rollout(*deep, device="cpu")
    assert (
        xr.load_dataset(tmp_path / "deep.nc")["u"].sizes["sample"] == 8
    )  # 2 models x 2 x 2 starts
    data.assign_coords(time=data.time**2).to_netcdf(tmp_path / "uneven.nc")
    with pytest.raises(SciflowError, match="coordinate time: got the step"):
        commands.rollout(tmp_path / "uneven.nc", tmp_path / "long.nc", [str(folder)], device="cpu")


def test_ensembles_of_models_and_of_thinned_ones() -> None:
    one, data = model_of(KS)
    other, _ = model_of(KS, 1)
    starts = data.isel(sample=slice(0, 2))
    made = ensemble([one, other], starts, **SETTINGS)
    assert len(made) == 4
    assert np.allclose(made[0]["u"], rollout(one, starts, **SETTINGS)[0]["u"])
    thin = thinned(one, 0.5, 0)
    same = ensemble([thinned(one, 0.5, 0)], starts, **SETTINGS)
    assert np.allclose(rollout(thin, starts, **SETTINGS)[0]["u"], same[0]["u"])
    assert not np.allclose(
        same[0]["u"], ensemble([thinned(one, 0.5, 1)], starts, **SETTINGS)[0]["u"]
    )
    assert np.allclose(ensemble([thinned(one, 0.0, 1)], starts, **SETTINGS)[0]["u"], made[0]["u"])
    with pytest.raises(SciflowError, match="none"):
        ensemble([], starts)
    with pytest.raises(SciflowError, match="blocks"):
        rollout(one, starts, 0)


def test_batches_are_the_whole_and_an_interrupted_rollout_goes_on(tmp_path: Path) -> None:
    """Trajectories in batches that cut across starts, models and blocks; after Ctrl-C the same file, bit by bit."""
    one, data = model_of(KS)
    other, _ = model_of(KS, 1)
    starts = data.isel(sample=[0, 1])
    plan = Rollout.of([one, other], starts, 2, 2, batch_size=3, **SETTINGS)
    sizes = [len(batch) for batch in plan.batches()]
    assert plan.n == 8 and sizes == [3, 1, 3, 1]
    alone = [
        *rollout(one, starts, 2, 2, 0, **SETTINGS),
        *rollout(other, starts, 2, 2, 1, **SETTINGS),
    ]
    for made, wanted in zip((x for b in plan.batches() for x in b), alone, strict=True):
        assert np.allclose(made["u"], wanted["u"], atol=1e-4)

    def written(name: str, stop: float = np.inf, resume: bool = False, seed: int = 0) -> bool:
        def press(done: float, total: int) -> None:
            if done > stop:
                os.kill(os.getpid(), signal.SIGINT)

        plan = Rollout.of([one, other], starts, 2, 2, seed, batch_size=3, **SETTINGS)
        with Output(tmp_path / name, Fields) as out:
            return produce(plan, out, press, resume)[1]

    assert written("whole.nc") and not written("cut.nc", 4.5)
    whole = xr.load_dataset(tmp_path / "whole.nc")
    kept = xr.load_dataset(tmp_path / "cut.nc")
    assert kept.identical(whole.isel(sample=slice(4)))
    with pytest.raises(SciflowError, match="seed: 0 there, 1 here"):
        written("cut.nc", resume=True, seed=1)
    assert written("cut.nc", resume=True)
    assert xr.load_dataset(tmp_path / "cut.nc").identical(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.nc", "whole.nc"]
