"""The adapter of the fields domain: trajectories as `xarray.Dataset`, one for each sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import xarray as xr
from torch import Tensor, nn

from sciflow.adapter import Adapter, Read
from sciflow.errors import built, expected, unknown
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import System

from . import dataset, files, simulation
from .coding import Coding
from .growing import Growing
from .layout import Layout
from .process import DEFAULT, Process
from .superresolution import ladder, lengths
from .trajectories import SAMPLE

NETWORKS = ("unet",)
_DATA = ("train", "fields", "given", "periodic", "generate", "levels", "codec")
_LAYOUT = ("fields", "given", "periodic", "generate")


class Fields(Adapter):
    """Trajectories of fields in a box of time and space, in wavelet coefficients.

    Args:
        coding: Layout of the trajectories and their codecs, fitted.
        process: Path of the coefficients (see `Process.of`).
        network: ``{"name": one of NETWORKS, ...options}``.
    """

    name: ClassVar[str] = "fields"
    suffixes: ClassVar[tuple[str, ...]] = files.SUFFIXES
    networks: ClassVar[tuple[str, ...]] = NETWORKS

    def __init__(
        self,
        coding: Coding,
        process: str | Mapping[str, Any] = DEFAULT,
        network: Mapping[str, Any] | None = None,
    ) -> None:
        self.coding, self.layout = coding, coding.layout
        self._configure(process, network)

    def _configure(
        self, process: str | Mapping[str, Any], network: Mapping[str, Any] | None
    ) -> None:
        self.process = Process.of(process, self.coding.keys)
        self.network_options = dict(network or {"name": "unet"})
        self.network_name = self.network_options.pop("name", "unet")
        if self.network_name not in self.networks:
            raise unknown("network", self.network_name, self.networks)

    # -- configuration ---------------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Fields:
        """Make the adapter that `config` described: this one, or that of forecasts."""
        if "forecast" in config:
            from .forecaster import Forecaster

            return Forecaster.from_config(config)
        return cls(Coding.from_config(config["coding"]), config["process"], config["network"])

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs."""
        return {
            "coding": self.coding.config(),
            "process": self.process.config(),
            "network": {"name": self.network_name, **self.network_options},
        }

    @classmethod
    def fit(
        cls,
        data: xr.Dataset,
        process: str | Mapping[str, Any] = DEFAULT,
        network: Mapping[str, Any] | None = None,
        codec: Mapping[str, Any] | None = None,
        **layout: Any,
    ) -> Fields:
        """Make an adapter for trajectories.

        Args:
            data: Trajectories along a dimension ``sample``.
            process: Path of the coefficients.
            network: Name and options of the network.
            codec: ``wavelet``, ``level``, ``packing`` (see `Coding.fit`).
            layout: ``fields``, ``given``, ``periodic``, ``generate`` (see `Layout.of`).
        """
        found = Layout.of(data, **layout)
        return cls(Coding.fit(found, found.read(data), codec), process, network)

    @classmethod
    def from_data(
        cls, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Fields, TrajectoryDataset]:
        """Make an adapter for training data, and the data set.

        Args:
            data: ``train``: a file, or the name of a data set (``burgers:2000``); ``fields``, ``given``, ``periodic``
                where the file does not tell, and ``generate`` for a control (``["u", "f"]``, with ``given = ["end"]``),
                ``levels`` for super-resolution (see there); ``codec``, a table with ``wavelet``, ``level``,
                ``packing``.
            options: ``process`` and ``network``.

        With ``leads`` the data are a record and the adapter that of forecasts (`forecaster.Forecaster`).
        """
        if "leads" in data:
            from .forecaster import Forecaster

            return Forecaster.from_data(data, options)
        for name in data:
            if name not in _DATA:
                raise unknown("key in [data]", name, _DATA)
        for name in options:
            if name not in ("process", "network"):
                raise unknown("table", name, ("process", "network"))
        if "train" not in data:
            raise expected("[data]", dict(data), "'train', a file of trajectories")
        whole = opened(data["train"])
        shape = {k: data[k] for k in _LAYOUT if k in data}
        layout = Layout.of(whole, path=data["train"], **shape)
        values = layout.read(whole, path=data["train"])
        levels = [values]
        if "levels" in data:
            layout, levels = ladder(layout, values, int(data["levels"]))
        adapter = cls(Coding.fit_levels(layout, levels, data.get("codec")), **options)
        states = [adapter.on(lengths(layout, v))._show(v) for v in levels]
        return adapter, TrajectoryDataset(*states)

    def on(self, grid: Mapping[str, int]) -> Fields:
        """The adapter of another grid of the same box: same statistics, same network.

        Args:
            grid: Frames and cells by the names of the axes; others stay.
        """
        network = {"name": self.network_name, **self.network_options}
        return Fields(self.coding.on(grid), self.process.config(), network)

    def system(self) -> System:
        """The system of the tensors of coefficients."""
        return self.process.system()

    def network(self) -> nn.Module:
        """A new network for the system."""
        from .networks.unet import Port, UNet

        system, coding = self.system(), self.coding
        ports = {
            key: Port(
                len(coding.codec.names[key]),
                coding.channels(key),
                coding.stage(key),
                system[key].path.heads,
            )
            for key in coding.keys
        }
        periodic = [axis.mode == "periodization" for axis in coding.codec.transform.axes]
        what = f"network {self.network_name}"
        return built(what, UNet, self.network_options, system, ports, periodic)

    # -- objects and states ----------------------------------------------------------------------------------------

    def encode(self, objects: Iterable[Any]) -> State:
        """Encode trajectories as a clean state; raises if one has another grid, units or missing values."""
        parts = [self.layout.read(one, path=f"trajectory {k}") for k, one in enumerate(objects)]
        if not parts:
            raise expected("trajectories to encode", "none", "at least one")
        return self._show({name: torch.cat([p[name] for p in parts]) for name in parts[0]})

    def _show(self, values: Mapping[str, Tensor]) -> State:
        condition = self.coding.condition(values, self._sourced)
        return State(self.coding.encode(values), condition=condition)

    @property
    def _sourced(self) -> bool:
        return any(self.process.source(key) for key in self.coding.keys)

    def decode(self, state: State) -> list[Any]:
        """Decode a clean state to trajectories, first frame and all that is given with them."""
        state = state.to("cpu", torch.float32)
        return self.layout.datasets(self.coding.decode(state))

    def frame(self, streams: Streams, options: Mapping[str, Any] | None = None) -> Frame:
        """Lay out trajectories for what is known; sample i belongs to trajectory i modulo their number in the file.

        Args:
            streams: Random streams of the batch.
            options: ``{"given": file}`` (or dataset) of initial states and all else that is known; the name of a given
                variable sets it to a number everywhere (``f=0``). Without a file the law of the equation draws them,
                and where there is none they are the mean of the data.
        """
        options = dict(options or {})
        path = options.pop("given", None)
        numbers = {}
        for name, value in options.items():
            if name not in self.layout.given:
                raise unknown("option", name, ("given", *self.layout.given))
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise expected(f"option {name}", value, "a number")
            numbers[name] = float(value)
        index = streams.index.cpu()
        if path is not None:
            data, what = (path, "given") if isinstance(path, xr.Dataset) else (opened(path), path)
            given = self.layout.read(data, False, tuple(numbers), what)
            known = {n: v[index % len(v)] for n, v in given.items()}
        elif (law := self.layout.law()) is not None and set(self.layout.given) <= set(law.given):
            known = self.layout.drawn({n: v.cpu() for n, v in law.draw(streams).items()})
        else:
            known = self.coding.mean(len(streams))
        for name, number in numbers.items():
            shape = self.coding.shape(name)
            known[name] = torch.full((len(streams), *shape), number)
        condition = self.coding.condition(known, self._sourced)
        frame = Frame(dict(self.coding.codec.shapes), condition=condition)
        return frame.to(streams.index.device)

    # -- files, metrics, pictures ----------------------------------------------------------------------------------

    @classmethod
    def knows(cls, name: str) -> bool:
        """True for a data set by name, such as ``burgers:2000-2100`` or ``erainterim:test``."""
        return simulation.is_name(name) or dataset.is_name(name)

    @classmethod
    def read(
        cls,
        path: str | Path,
        raw: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Read:
        """Read trajectories from a netCDF or Zarr file, or a data set by name; one dataset for each sample."""
        data = opened(path, progress)
        data = files.load(data, [str(n) for n in data.data_vars], str(path))
        if SAMPLE not in data.dims:
            return Read([data])
        parts = (data.isel({SAMPLE: k}) for k in range(data.sizes[SAMPLE]))
        return Read([one.drop_vars(SAMPLE, errors="ignore") for one in parts])

    @classmethod
    def writer(cls, path: str | Path) -> Writer:
        """Open a file of trajectories for writing, one after the other along the dimension ``sample``."""
        return Writer(path)

    @classmethod
    def metrics(
        cls,
        objects: Sequence[Any],
        reference: Sequence[Any] | None = None,
        train: Sequence[Any] | None = None,
        *,
        unreadable: int = 0,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Any:
        """Judge trajectories against those that truly followed (see `report.evaluate`)."""
        from .report import evaluate
        from .verification import evaluate as verified

        if _forecasts(objects):
            return verified(objects, reference, unreadable, train)
        return evaluate(objects, reference, unreadable)

    @classmethod
    def draw(cls, objects: Sequence[Any], path: str | Path) -> None:
        """Draw trajectories in space and time; a ``.gif`` moves."""
        from .charts import animation
        from .draw import grid
        from .maps import draw

        if Path(path).suffix.lower() == ".gif":
            animation(objects, path)
            return
        (draw if _forecasts(objects) else grid)(objects, path)

    @classmethod
    def pictures(
        cls, objects: Sequence[Any], reference: Sequence[Any] | None = None
    ) -> list[tuple[str, str | bytes]]:
        """Fan charts, spectra and an animation, where there is something to see."""
        from .charts import shown

        return [] if _forecasts(objects) else shown(objects, reference)

    @classmethod
    def describe(cls, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """One row per trajectory: mean, deviation and range of each field."""
        from .report import described
        from .verification import described as of_forecast

        if _forecasts(objects):
            return [of_forecast(k, one) for k, one in enumerate(objects)]
        return [described(k, one) for k, one in enumerate(objects)]

    @classmethod
    def commands(cls) -> dict[str, Callable[..., Any]]:
        """The verbs ``simulate``, ``control``, ``refine`` and ``rollout``."""
        from .commands import control, refine, rollout, simulate

        verbs = (simulate, control, refine, rollout)
        return {verb.__name__: verb for verb in verbs}


class TrajectoryDataset:
    """Encoded trajectories as training data.

    Args:
        states: All of them, clean; several for the same trajectories on several grids. A batch has one grid, that of
            its first index.
    """

    def __init__(self, *states: State) -> None:
        self.states = states

    def __len__(self) -> int:
        return len(self.states) * self.states[0].batch_size

    def batch(self, index: Tensor) -> State:
        """Return some trajectories as a clean state."""
        count = len(self.states)
        return self.states[int(index[0]) % count].select(index // count)


class Writer:
    """A file of trajectories: takes datasets without the dimension ``sample``, and numbers them.

    Args:
        path: A netCDF or Zarr file.

    Raises:
        SciflowError: The suffix is unknown or the path cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = Growing(path, SAMPLE)

    def append(self, objects: Sequence[Any]) -> None:
        """Write more trajectories with the same variables; on disk when this returns."""
        if not objects:
            return
        whole = xr.concat(
            list(objects),
            SAMPLE,
            data_vars="all",
            coords=[str(n) for n in objects[0].coords if n not in objects[0].dims],
            compat="override",
            join="override",
            combine_attrs="override",
        )
        number = range(self._file.count, self._file.count + len(objects))
        self._file.append(whole.assign_coords({SAMPLE: list(number)}))

    def go_on(self, mark: int, count: int) -> None:
        """Keep the first `count` trajectories of the file; the next batch comes behind them."""
        self._file.go_on(count)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _forecasts(objects: Sequence[Any]) -> bool:
    """True for forecasts: they have leads."""
    return bool(objects) and "prediction_timedelta" in objects[0].dims


def opened(path: str | Path, progress: Callable[[int], object] | None = None) -> xr.Dataset:
    """Open a file of trajectories, or simulate a data set by name."""
    if simulation.is_name(str(path)):
        return simulation.simulated(str(path), progress)
    if dataset.is_name(str(path)):
        return dataset.record(str(path)).to_xarray()
    data = files.read(path)
    if progress is not None:
        progress(data.sizes.get(SAMPLE, 1))
    return data


__all__ = ["NETWORKS", "Fields", "TrajectoryDataset", "Writer", "opened"]
