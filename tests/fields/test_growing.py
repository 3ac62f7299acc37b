"""Files that grow: what was appended is there whatever ends the process, and they are taken up again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciflow.domains.fields import Fields, commands, files
from sciflow.domains.fields.growing import Growing
from sciflow.domains.fields.physics import KuramotoSivashinsky
from sciflow.domains.fields.trajectories import to_xarray
from sciflow.errors import SciflowError
from sciflow.model import Model
from sciflow.runtime.generate import Generation, produce
from sciflow.runtime.output import Output

zarr = pytest.importorskip("zarr")
KINDS = pytest.mark.parametrize("suffix", [".nc", ".zarr"])
KS = KuramotoSivashinsky(points=16, frames=4, horizon=4.0, length=22.0, resolution=32)


class Killed(BaseException):
    """The process is gone: nothing is caught, nothing tidied up."""


def forecasts(first: int, count: int) -> xr.Dataset:
    rng = np.random.default_rng(first)
    start = np.datetime64("2020-01-01", "h") + 5 * np.arange(first, first + count)
    values = rng.normal(size=(count, 3, 2)).astype(np.float32)
    data = xr.Dataset(
        {"u": (("sample", "x", "y"), values, {"units": "m"})}, {"x": [0.0, 1.0, 2.0]}
    )
    return data.assign_coords(
        sample=range(first, first + count), time=("sample", start.astype("datetime64[ns]"))
    )


def grown(path: Path, *sizes: int) -> xr.Dataset:
    with Growing(path) as out:
        for size in sizes:
            out.append(forecasts(out.count, size))
    return files.read(path).load()


def killing(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """End the process while more is written: at the last moment before it counts."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    if suffix == ".zarr":
        monkeypatch.setattr(zarr, "consolidate_metadata", kill)
    else:
        monkeypatch.setattr(os, "replace", kill)


@KINDS
def test_a_kill_in_the_middle_of_a_batch_leaves_the_ones_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    whole = grown(tmp_path / f"whole{suffix}", 2, 2, 3)
    path = tmp_path / f"cut{suffix}"
    out = Growing(path)
    out.append(forecasts(0, 2))
    out.append(forecasts(2, 2))
    with monkeypatch.context() as patch:
        killing(patch, suffix)
        with pytest.raises(Killed):
            out.append(forecasts(4, 3))
    there = files.read(path).load()
    assert there.sizes["sample"] == 4 and there.identical(whole.isel(sample=slice(4)))
    with Growing(path) as again:
        again.go_on(4)
        again.append(forecasts(4, 3))
    assert files.read(path).load().identical(whole)
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


@KINDS
def test_what_is_there_stays_until_the_first_batch_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"old{suffix}"
    old = grown(path, 3)
    out = Growing(path)
    with monkeypatch.context() as patch:
        killing(patch, suffix)
        with pytest.raises(Killed):
            out.append(forecasts(7, 1))
    assert files.read(path).load().identical(old)


def test_verbs_replace_a_store_that_is_there(tmp_path: Path) -> None:
    to_xarray(KS, KS.simulate(0, 2)).to_netcdf(tmp_path / "given.nc")
    for name in ("again.zarr", "again.nc"):
        for count in (2, 1):
            commands.simulate("kuramoto", tmp_path / name, count, tmp_path / "given.nc")
        assert files.read(tmp_path / name).sizes["sample"] == 1
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(SciflowError, match="got 'a folder'"):
        commands.simulate("kuramoto", tmp_path / "folder.nc", 1, tmp_path / "given.nc")


@KINDS
def test_what_is_not_counted_is_cut_off(tmp_path: Path, suffix: str) -> None:
    whole = grown(tmp_path / f"whole{suffix}", 2, 1, 2)
    path = tmp_path / f"more{suffix}"
    grown(path, 2, 2, 2)
    with Growing(path) as out:
        with pytest.raises(SciflowError, match="got 6, expected at least the 7"):
            out.go_on(7)
        out.go_on(3)
    assert files.read(path).sizes["sample"] == 3
    with Growing(path) as out:
        out.go_on(3)
        out.append(forecasts(3, 2))
    made = files.read(path).load()
    assert np.array_equal(
        made["time"], np.concatenate([forecasts(k, n)["time"] for k, n in ((0, 3), (3, 2))])
    )
    assert made["u"].isel(sample=slice(2)).identical(whole["u"].isel(sample=slice(2)))


@KINDS
def test_an_interrupted_generation_goes_on_with_the_same_bits(tmp_path: Path, suffix: str) -> None:
    data = to_xarray(KS, KS.simulate(0, 3))
    adapter = Fields.fit(data, "cosine", {"name": "unet", "width": 8, "multiples": [1]})
    torch.manual_seed(0)
    model = Model(adapter, adapter.network().eval())

    def made(name: str, after: float = np.inf, resume: bool = False) -> bool:
        plan = Generation.of(
            model, 6, steps=2, solver="ddim", batch_size=2, options={"given": data}, device="cpu"
        )

        def press(done: float, _: int) -> None:
            if done > after:
                os.kill(os.getpid(), signal.SIGINT)

        with Output(tmp_path / f"{name}{suffix}", Fields) as out:
            return produce(plan, out, press, resume)[1]

    assert made("whole") and not made("cut", 4.5)
    whole, cut = (tmp_path / f"{name}{suffix}" for name in ("whole", "cut"))
    assert files.read(cut).load().identical(files.read(whole).load().isel(sample=slice(4)))
    assert made("cut", resume=True)
    assert files.read(cut).load().identical(files.read(whole).load())
    assert len(list(tmp_path.iterdir())) == 2
