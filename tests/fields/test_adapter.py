"""The fields adapter keeps the contract on every path; what is given comes back as it was given."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciflow import grids, paths, solvers
from sciflow.adapter import check
from sciflow.domains.fields import Fields, simulation
from sciflow.domains.fields.draw import grid as draw
from sciflow.domains.fields.physics import Advection, Burgers, Incompressible
from sciflow.domains.fields.trajectories import to_xarray
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling
from sciflow.runtime.evaluate import evaluate, show
from sciflow.runtime.generate import Generation, generate
from sciflow.runtime.output import Output
from sciflow.sampling import sample
from sciflow.streams import Streams

NETWORK = {"name": "unet", "width": 8, "multiples": [1, 2]}
PATHS = [*paths.GAUSSIAN, *paths.FLOWS, "gaussian-bayes"]
LAW = Burgers(points=16, frames=6, resolution=64, viscosity=0.05, horizon=1.0)
COUNT = 8


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return to_xarray(LAW, LAW.simulate(0, COUNT))


def ones(data: xr.Dataset) -> list[xr.Dataset]:
    return [data.isel(sample=k, drop=True) for k in range(data.sizes["sample"])]


def same(a: xr.Dataset, b: xr.Dataset) -> bool:
    names = [n for n in b.data_vars if "time" not in b[n].dims or n in ("u", "smoke", "vx", "vy")]
    return all(
        np.allclose(a[n].values, b[n].values, atol=1e-4 * (1 + np.abs(b[n].values).max()))
        for n in names
    )


@pytest.mark.parametrize("path", PATHS)
def test_every_path_keeps_the_contract_trains_and_samples(data: xr.Dataset, path: str) -> None:
    adapter = Fields.fit(data, path, NETWORK)
    check(adapter, ones(data)[:3], same)
    system, network = adapter.system(), adapter.network()
    clean = adapter.encode(ones(data))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for step in range(3):
        streams = Streams.range(0, step * COUNT, COUNT)
        loss = system.loss(network, clean, 0.02 + 0.96 * streams.uniform(()), streams).total
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    solver = solvers.make("euler" if path in paths.FLOWS else "ancestral")
    frame = adapter.frame(Streams.range(1, 0, 3))
    grid = grids.Power(1.5)
    made = sample(
        system, network.eval(), frame, Streams.range(1, 0, 3), solver=solver, grid=grid, steps=4
    )
    whole = adapter.decode(made)
    assert len(whole) == 3 and all(np.isfinite(one.u).all() for one in whole)


@pytest.mark.parametrize("name", ["ddim", "dpm++2m", "heun", "unipc", "ancestral"])
@pytest.mark.parametrize("packing", ["stack", "pyramid"])
def test_solvers_agree_on_the_start_in_both_packings(
    data: xr.Dataset, name: str, packing: str
) -> None:
    codec = {"packing": packing, "level": 2 if packing == "pyramid" else 1}
    adapter = Fields.fit(data, network=NETWORK, codec=codec)
    frame = adapter.frame(Streams.range(0, 0, 2))
    made = sample(
        adapter.system(), adapter.network().eval(), frame, Streams.range(0, 0, 2),
        solver=solvers.make(name), grid=grids.make("uniform"), steps=3,
    )  # fmt: skip
    drawn = LAW.draw(Streams.range(0, 0, 2))
    for k, one in enumerate(adapter.decode(made)):
        start = drawn["u0"][k].reshape(16, 4).mean(1)
        assert np.allclose(one.u[0], start, atol=1e-4) and np.allclose(
            one.f, drawn["f"][k], atol=1e-4
        )


def test_numbers_planes_and_periodic_axes(data: xr.Dataset) -> None:
    ring = Advection(points=16, frames=5, resolution=64, fastest=1.0)
    box = Incompressible(points=8, resolution=8, frames=2, horizon=0.2, speed=300.0)
    for law, periodic, multiples in ((ring, [False, True], [1, 2]), (box, None, [1, 1])):
        found = to_xarray(law, law.simulate(0, 3))
        adapter = Fields.fit(found, network={**NETWORK, "multiples": multiples})
        check(adapter, ones(found), same)
        modes = [a.mode == "periodization" for a in adapter.coding.codec.transform.axes]
        assert periodic is None or modes == periodic


def test_fields_without_an_equation_are_generated_around_their_mean(data: xr.Dataset) -> None:
    bare = data[["u", "f"]].drop_attrs()
    adapter = Fields.fit(bare, network=NETWORK, fields=["u"], given=["f"])
    check(adapter, ones(bare)[:2], same)
    made = adapter.decode(_noise(adapter, adapter.frame(Streams.range(0, 0, 2))))
    assert np.allclose(made[0].u[0], data.u[:, 0].mean(), atol=2.0)


def _noise(adapter: Fields, frame):
    streams = Streams.range(0, 0, 2)
    return adapter.system().prior(frame.shapes, streams, condition=frame.condition)


def model(data: xr.Dataset) -> Model:
    adapter = Fields.fit(data, network=NETWORK)
    return Model(adapter, adapter.network().eval(), Sampling("ddim", steps=2), name="tiny")


def test_given_files_rule_the_samples(data: xr.Dataset, tmp_path: Path) -> None:
    path, tiny = tmp_path / "u0.nc", model(data)
    data.isel(sample=[2, 5])[["u0", "f"]].to_netcdf(path)  # u0 on the grid of the solver
    made = generate(tiny, n=4, options={"given": str(path)}).objects
    for k, one in enumerate(made):
        true = data.isel(sample=[2, 5][k % 2])
        assert np.allclose(one.u[0], true.u[0], atol=1e-4)
        assert np.allclose(one.f, true.f, atol=1e-4)
    assert not np.allclose(made[0].u, made[2].u, atol=1e-2)  # two members of one ensemble
    for batch in (1, 3):
        again = generate(tiny, n=4, batch_size=batch, options={"given": str(path)}).objects
        assert all(np.allclose(a.u, b.u, atol=1e-4) for a, b in zip(made, again, strict=True))
    free = generate(tiny, n=2, options={"given": str(path), "f": 0}).objects
    assert np.abs(free[0].f).max() < 1e-5
    data.isel(sample=2)[["u0"]].to_netcdf(tmp_path / "start.nc")
    assert generate(tiny, n=1, options={"given": str(tmp_path / "start.nc"), "f": 0.5})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: d.drop_vars("f"), "variables.*add f$"),
        (lambda d: d.drop_vars("u0"), "add u0"),
        (lambda d: d.isel(x=slice(0, 12), x_solver=slice(0, 48)), "length of x"),
        (lambda d: d.assign_coords(x=d.x + 0.2), "coordinate x"),
        (lambda d: d.drop_vars("x"), "coordinates.*'x'.*assign x"),
        (lambda d: d.assign_coords(interval=d.interval**2), "coordinate interval: got the step"),
        (lambda d: d.assign(f=d.f.where(d.f < 0)), "variable f.*missing"),
        (lambda d: d.assign(u0=d.u0.assign_attrs(units="km")), "units of u0"),
    ],
)
def test_wrong_files_name_variable_and_remedy(data, tmp_path: Path, spoil, message: str) -> None:
    spoil(data[["u0", "f"]].copy(deep=True)).to_netcdf(tmp_path / "u0.nc")
    with pytest.raises(SciflowError, match=message):
        Generation.of(model(data), 2, options={"given": str(tmp_path / "u0.nc")})


def test_a_start_cut_out_of_uneven_times_is_refused(data: xr.Dataset, tmp_path: Path) -> None:
    path, tiny = str(tmp_path / "u.nc"), model(data)
    whole = data[["u", "f"]]
    whole.isel(time=slice(0, 3)).to_netcdf(path)  # of the times the first alone is asked for
    assert Generation.of(tiny, 2, options={"given": path})
    whole.assign_coords(time=3600 * data.time).to_netcdf(path)  # the same times in seconds
    with pytest.raises(SciflowError, match="coordinate time: got 0 to 3600, expected 0 to 1 "):
        Generation.of(tiny, 2, options={"given": path})
    whole.assign_coords(time=data.time**2).to_netcdf(path)
    with pytest.raises(SciflowError, match="coordinate time: got the step.*interpolate"):
        Generation.of(tiny, 2, options={"given": path})


def test_finer_cells_stand_where_the_grid_does(data: xr.Dataset, tmp_path: Path) -> None:
    path, tiny = str(tmp_path / "u0.nc"), model(data)
    x = data.x.values
    half = (x[1] - x[0]) / 4
    fine = np.stack((x - half, x + half), 1).ravel()
    u0 = xr.Dataset({"u0": ("x", np.sin(fine))}, {"x": fine})
    u0.to_netcdf(path)
    assert Generation.of(tiny, 1, options={"given": path, "f": 0.0})
    u0.assign_coords(x=100 * fine).to_netcdf(path)  # in hundredths
    with pytest.raises(SciflowError, match="coordinate x: got 1.5.*convert its units"):
        Generation.of(tiny, 1, options={"given": path, "f": 0.0})


def test_wrong_configurations_name_the_remedy(data: xr.Dataset) -> None:
    for process, message in (
        ("cosin", "did you mean 'cosine'"),
        ("mask", "path of fields"),
        ({"path": "vp", "beta_mx": 3}, "did you mean 'beta_max'"),
        ({"path": "vp", "kind": "logits"}, "kind for numbers"),
    ):
        with pytest.raises(SciflowError, match=message):
            Fields.fit(data, process)
    with pytest.raises(SciflowError, match="did you mean 'unet'"):
        Fields.fit(data, network={"name": "unett"})
    with pytest.raises(SciflowError, match="one of f, given"):
        Generation.of(model(data), 2, options={"g": 0})
    with pytest.raises(SciflowError, match="option of the codec"):
        Fields.fit(data, codec={"levels": 2})


def test_written_trajectories_read_back_and_are_judged(data: xr.Dataset, tmp_path: Path) -> None:
    path = tmp_path / "ensemble.nc"
    whole = ones(data[["u", "f"]])
    with Fields.writer(path) as out:
        out.append(whole[:3])
        assert len(Fields.read(path).objects) == 3  # what was written is there already
        out.append(whole[3:])
    read = Fields.read(path).objects
    assert len(read) == COUNT and all(same(a, b) for a, b in zip(whole, read, strict=True))
    perfect = Fields.metrics(read + read, read)
    assert perfect["nrmse"] == 0 and perfect["crps"] == 0 and perfect["ensemble_nrmse"] == 0
    exact = ("vrmse", "boundary", "conserved", "low", "mid", "high", "energy")
    assert all(perfect[name] == pytest.approx(0) for name in exact)
    ranks = perfect.summary()["histograms"]["ranks of u"]["generated"]
    assert ranks == pytest.approx([1 / 3] * 3)  # ties are shared among the ranks
    lasting = [
        one.assign(u=one.u.isel(time=0, drop=True).expand_dims(time=one.time)) for one in read
    ]
    judged = Fields.metrics(lasting, read)
    figure = judged.figures["nrmse"]
    assert figure.value == pytest.approx(figure.reference) and figure.value > 0.1
    assert judged["crps"] is None and "nRMSE of one sample" in judged.to_text()
    assert len(Fields.describe(read)) == COUNT
    with pytest.raises(SciflowError, match="another initial state"):
        Fields.metrics(read[::-1], read)


def test_errors_stand_in_the_band_of_their_scale(data: xr.Dataset) -> None:
    """What alternates from cell to cell is detail in space; from frame to frame, detail in time."""
    truth = ones(data[["u", "f"]])[:2]
    assert {"band aa1", "band ad1", "band da1", "band dd1"} <= set(
        Fields.metrics(truth, truth).figures
    )
    for dim, band in (("x", "ad1"), ("time", "da1")):
        sign = 0.1 * (-1.0) ** xr.DataArray(np.arange(truth[0].sizes[dim]), dims=dim)
        made = [one.assign(u=one.u + sign * (one.time > 0)) for one in truth]
        found = Fields.metrics(made, truth)
        summary = found.summary()["figures"][f"band {band}"]
        assert summary["label"] == f"RMSE in wavelet band {band}" and dim in summary["note"]
        others = [
            found[f"band {name}1"] for name in ("aa", "ad", "da", "dd") if f"{name}1" != band
        ]
        assert found[f"band {band}"] > 0.15 and max(others) < 0.1 * found[f"band {band}"]


def test_a_store_that_is_a_folder_is_a_file_of_samples(data: xr.Dataset, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "ensemble.zarr"
    for count in (3, 2):  # the second replaces the first, inside of which it does not go
        with Output(path, Fields) as out:
            out.append(ones(data[["u", "f"]])[:count])
            assert not out.folder and out.samples == path
        assert len(evaluate(Fields, path).read.objects) == count
    assert show(path, tmp_path / "page.html").is_file()


def test_pictures_of_one_ensemble_and_of_planes(data: xr.Dataset, tmp_path: Path) -> None:
    one = ones(data)[0]
    draw([one, one.assign(u=one.u * 1)], tmp_path / "a.svg")
    assert (
        "spread" in (tmp_path / "a.svg").read_text() or (tmp_path / "a.svg").stat().st_size > 1000
    )
    with pytest.raises(SciflowError, match="svg"):
        draw([one], tmp_path / "a.gif")


def test_channels_do_not_follow_the_order_of_a_file(data: xr.Dataset) -> None:
    adapter = Fields.fit(data, network=NETWORK)
    again = Fields.from_config(json.loads(json.dumps(adapter.config(), sort_keys=True)))
    for one in (adapter, again):
        assert list(one.coding.known) == ["start", "f"]
    condition = [one.encode(ones(data)).condition["given.bands"] for one in (adapter, again)]
    assert torch.equal(*condition)


def test_data_sets_by_name_are_the_same_in_parts() -> None:
    assert Fields.knows("burgers:20") and not Fields.knows("burgers.nc")
    law = Burgers()
    few = law.simulate(0, 2, start=1)
    part = simulation.simulated("burgers:1-3")
    assert np.array_equal(part.u.values, few["u"].numpy()) and list(part.sample) == [1, 2]
    with pytest.raises(SciflowError, match="a number or a range"):
        simulation.simulated("burgers:x")
