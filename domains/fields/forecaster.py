"""The adapter of forecasts: from the last days of a record to an ensemble of the days that follow.

A sample is a dataset on (prediction_timedelta, latitude, longitude) with its start as the scalar coordinate ``time``
and the time that each frame is valid at as ``valid_time``, as in WeatherBench 2; what is known, the start and the times
before it, stands at leads of 0 and below.

    [data]
    train = "erainterim:2000-2007"     # a record by name, or a file with dates
    leads = [1, 2, 3, 4, 5]            # steps ahead: this key makes it a forecast
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from sciflow.errors import built, expected, unknown
from sciflow.model import Model, Sampling
from sciflow.state import Frame, State
from sciflow.streams import Streams

from . import dataset, files
from .adapter import NETWORKS, Fields, TrajectoryDataset
from .coding import Coding
from .dataset import Record
from .forecast import OPTIONS, ForecastCoding
from .process import DEFAULT, SOURCE
from .verification import LEAD

if TYPE_CHECKING:
    from .networks.gaussian import Gaussian

VALID = "valid_time"
_DATA = ("train", "variables", "codec", *OPTIONS)
_NAMES = ("latitude", "longitude")


class Forecaster(Fields):
    """Forecasts of a record, as residuals of a linear forecast in wavelet coefficients.

    Args:
        coding: Everything that was fitted to the training record.
        process: Path of the coefficients (see `Process.of`).
        network: Name and options of the network.
    """

    networks: ClassVar[tuple[str, ...]] = (*NETWORKS, "gaussian")

    def __init__(
        self,
        coding: ForecastCoding,
        process: str | Mapping[str, Any] = DEFAULT,
        network: Mapping[str, Any] | None = None,
    ) -> None:
        self.forecast = coding
        self._law: dict[str, Tensor] = {}
        # What the base class asks of a coding (keys, codec, channels, stage), this one answers as well.
        self.coding = cast("Coding", coding)
        self._configure(process, network)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Forecaster:
        """Make the adapter that `config` described."""
        coding = ForecastCoding.from_config(config["forecast"])
        return cls(coding, config["process"], config["network"])

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs."""
        network = {"name": self.network_name, **self.network_options}
        process = self.process.config()
        return {"forecast": self.forecast.config(), "process": process, "network": network}

    @classmethod
    def from_data(
        cls, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Forecaster, TrajectoryDataset]:
        """Make an adapter for a training record, and the data set.

        Args:
            data: ``train``: a record by name (``erainterim:2000-2007``) or a file, with ``variables`` where not all
                are meant; ``leads`` and what else `ForecastCoding.fit` takes; ``codec``.
            options: ``process`` and ``network``.
        """
        for name in data:
            if name not in _DATA:
                raise unknown("key in [data]", name, _DATA)
        for name in options:
            if name not in ("process", "network"):
                raise unknown("table", name, ("process", "network"))
        if "train" not in data:
            raise expected("[data]", dict(data), "'train', a record")
        record = recorded(data["train"], data.get("variables"))
        chosen = {k: v for k, v in data.items() if k in OPTIONS}
        coding, values = ForecastCoding.fit(record, chosen, data.get("codec"))
        adapter = cls(coding, **options)
        state = adapter._shown(
            values, whole=False
        )  # past and base are asked for by `decode` alone
        adapter.fit_gaussian(state)
        return adapter, TrajectoryDataset(state)

    def network(self) -> nn.Module:
        """A new network for the system.

        ``unet`` with the option ``directions`` stands beside the exact network of normal residuals, ``gaussian``, and
        learns what is not normal. The latter has no weights to train: `from_data` fits it.
        """
        from .networks.gaussian import Beside

        if self.network_name == "gaussian":
            return self._gaussian(self.network_options)
        directions = self.network_options.get("directions", 0)
        if not directions:
            return super().network()
        rest = {k: v for k, v in self.network_options.items() if k != "directions"}
        plain = Forecaster(
            self.forecast, self.process.config(), {"name": self.network_name, **rest}
        )
        return Beside(plain.network(), self._gaussian({"directions": directions}))

    def _gaussian(self, options: Mapping[str, Any]) -> Gaussian:
        from .networks.gaussian import Gaussian

        codec = self.forecast.codec
        coarse = {
            key: [k for k, name in enumerate(names) if "d" not in name.rpartition("+")[2]]
            for key, names in codec.names.items()
        }
        found = built("network gaussian", Gaussian, options, self.system(), codec.shapes, coarse)
        if self._law:
            found.load_state_dict(self._law)
        return found

    def fit_gaussian(self, data: State) -> None:
        """Fit the network of normal residuals to data; `network` makes it so from then on."""
        if self.network_name == "gaussian" or self.network_options.get("directions"):
            options = {k: v for k, v in self.network_options.items() if k == "directions"}
            self._law = self._gaussian(options).fit(data).state_dict()

    # -- objects and states ----------------------------------------------------------------------------------------

    def encode(self, objects: Iterable[Any]) -> State:
        """Encode forecasts, or what truly followed: datasets as `decode` returns them.

        Raises:
            SciflowError: One has other variables, leads, units or grid, or values that are missing.
        """
        parts = [self._read(one, f"forecast {k}") for k, one in enumerate(objects)]
        if not parts:
            raise expected("forecasts to encode", "none", "at least one")
        values = {name: torch.cat([p[name] for p in parts]) for name in parts[0]}
        past, future = values["past"], values["future"]
        base = self.forecast.base(past, values["time"])
        return self._shown(
            {"past": past, "base": base, "time": values["time"], "residual": future - base}
        )

    def _shown(self, values: Mapping[str, Tensor], whole: bool = True) -> State:
        components = self.forecast.encode(values["residual"])
        return State(components, condition=self._condition(values, whole))

    def _condition(self, values: Mapping[str, Tensor], whole: bool = True) -> dict[str, Tensor]:
        past, base, time = (values[name] for name in ("past", "base", "time"))
        found = self.forecast.condition(past, base, time)
        if whole:
            found |= {"past": past, "base": base, "time": time}
        if self._sourced:  # a path from the linear forecast, whose residual is zero
            zero = self.forecast.encode(torch.zeros_like(base))
            found |= {SOURCE + key: value for key, value in zero.items()}
        return found

    def decode(self, state: State) -> list[Any]:
        """Decode a clean state to forecasts, the past with them."""
        condition = {k: v.cpu() for k, v in state.condition.items()}
        parts = {name: value.to("cpu", torch.float32) for name, value in state.items()}
        coding, box = self.forecast, self.forecast.box
        past = condition["past"].float()
        future = condition["base"].float() + coding.decode(parts)
        start = condition["time"].numpy().astype("datetime64[m]").astype("datetime64[ns]")
        steps = [*range(1 - box.history, 1), *box.leads]
        values = coding.fields(torch.cat((past.flip(1), future), 1), box.times(start, steps))
        leads = box.times(np.zeros(1, "datetime64[m]"), steps)[0] - np.datetime64(0, "m")
        dims = (LEAD, "latitude", "longitude")
        coords = {
            LEAD: (LEAD, leads.astype("timedelta64[ns]"), {"standard_name": "forecast_period"}),
            "latitude": np.asarray(box.latitude, np.float32),
            "longitude": np.asarray(box.longitude, np.float32),
        }
        found = []
        for b, frames in enumerate(values.numpy()):
            arrays = {
                name: (dims, frames[:, k], {"units": box.units[k]})
                for k, name in enumerate(box.variables)
            }
            own = {
                "time": ((), start[b], {"standard_name": "forecast_reference_time"}),
                VALID: (LEAD, start[b] + coords[LEAD][1], {"standard_name": "time"}),
            }
            found.append(files.described(xr.Dataset(arrays, {**coords, **own})))
        return found

    def frame(self, streams: Streams, options: Mapping[str, Any] | None = None) -> Frame:
        """Lay out forecasts of what is known; sample i belongs to start i modulo their number.

        Args:
            streams: Random streams of the batch.
            options: ``given``: a file (or record, or name of one) whose last times are the past; ``start``: the date
                to start from in place of the last, or ``FIRST/LAST`` for each between two. Without a file the past is
                the climatology of the first of January.
        """
        options = dict(options or {})
        path, start = options.pop("given", None), options.pop("start", None)
        if options:
            raise unknown("option", next(iter(options)), ("given", "start"))
        index = streams.index.cpu()
        box = self.forecast.box
        if path is None:
            if start is not None:
                raise expected("option start", start, "one beside given=FILE", "name the file")
            shape = (len(index), box.history, len(box.variables), *box.grid)
            hour = self.forecast.climate.hours[0]
            known = {"past": torch.zeros(shape), "time": torch.full((len(index),), 60 * hour)}
        else:
            known = self.given(path, start)
            known = {name: value[index % len(value)] for name, value in known.items()}
        known["base"] = self.forecast.base(known["past"], known["time"])
        condition = self._condition(known)
        return Frame(dict(self.coding.codec.shapes), condition=condition).to(streams.index.device)

    def given(self, path: Any, start: str | None = None) -> dict[str, Tensor]:
        """Read the past of some starts: ``past`` ``[N, history, V, Y, X]`` and ``time`` ``[N]``.

        Args:
            path: A file, a dataset, a record, or the name of one.
            start: Date or range of dates of the starts; None for the last time.

        Raises:
            SciflowError: The record has other variables, units, steps or grid, or not enough times before a start.
        """
        box = self.forecast.box
        units = dict(zip(box.variables, box.units, strict=True))
        what = path if isinstance(path, str | Path) else "given"
        if isinstance(path, Record):
            record = path
        elif isinstance(path, xr.Dataset):
            record = dataset.from_xarray(path, box.variables, units, what)
        elif dataset.is_name(str(path)):
            record = dataset.record(str(path))
        else:
            record = dataset.from_xarray(files.read(path), box.variables, units, what)
        record = box.check(record, what)
        if start is None:
            chosen = np.asarray([len(record) - 1])
        else:
            first, _, last = str(start).partition("/")
            inside = set(record.during(first, last or first).time.tolist())
            chosen = np.asarray([k for k, t in enumerate(record.time.tolist()) if t in inside])
            chosen = chosen[chosen >= box.history - 1] if last else chosen
        if not len(chosen) or chosen[0] < box.history - 1:
            raise expected(
                f"{what}: times up to the start",
                0 if not len(chosen) else int(chosen[0]) + 1,
                f"{box.history} or more, {box.step:g} h apart",
                "add the times before it",
            )
        past = torch.stack([record.values[chosen - j] for j in range(box.history)], 1)
        times = box.times(record.time[chosen], [-j for j in range(box.history)])
        minutes = record.time[chosen].astype("datetime64[m]").astype(np.int64)
        return {
            "past": self.forecast.standardised(past, times),
            "time": torch.from_numpy(minutes),
        }

    def _read(self, one: xr.Dataset, what: str) -> dict[str, Tensor]:
        """One forecast as standardised anomalies."""
        box = self.forecast.box
        steps = [*range(1 - box.history, 1), *box.leads]
        dims = (LEAD, "latitude", "longitude")
        arrays = []
        for name, unit in zip(box.variables, box.units, strict=True):
            array = files.load(one, (name,), what)[name]
            files.check_units(array, unit)
            arrays.append(torch.from_numpy(np.array(files.check_dims(array, dims).values)))
        got = one[LEAD].values.astype("timedelta64[m]")
        wanted = box.times(np.zeros(1, "datetime64[m]"), steps)[0] - np.datetime64(0, "m")
        if not np.array_equal(got, wanted):
            hours = (got.astype(float) / 60).tolist()
            raise expected(f"{what}: {LEAD} (h)", hours, str((wanted.astype(float) / 60).tolist()))
        values = torch.stack(arrays, 1).float()
        mask = torch.isfinite(values).all(0).all(0)
        latitude, longitude = (torch.tensor(np.asarray(one[n].values, np.float32)) for n in _NAMES)
        start = np.asarray([one["time"].values]).astype("datetime64[ns]")
        valid = box.times(start, steps)
        record = Record(
            values.nan_to_num(),
            box.variables,
            box.units,
            valid[0].astype("datetime64[ns]"),
            latitude,
            longitude,
            mask,
        )
        # Leads need not be evenly spaced: the step is not that of a record.
        checked = box.check(_momentary(record), what)
        values = values if torch.equal(checked.latitude, record.latitude) else values.flip(2)
        values = values if torch.equal(checked.longitude, record.longitude) else values.flip(3)
        z = self.forecast.standardised(values.nan_to_num()[None], valid)
        minutes = torch.from_numpy(start.astype("datetime64[m]").astype(np.int64))
        history = box.history
        return {"past": z[:, :history].flip(1), "future": z[:, history:], "time": minutes}


def _momentary(record: Record) -> Record:
    from dataclasses import replace

    return replace(record, values=record.values[:1], time=record.time[:1])


def recorded(source: Any, variables: Any = None) -> Record:
    """Return a training record: by name, or of a file.

    Raises:
        SciflowError: The record cannot be read, or lacks a variable.
    """
    if isinstance(source, Record):
        return source
    if not dataset.is_name(str(source)):
        return dataset.read(source, variables)
    record = dataset.record(str(source))
    for name in variables or ():
        if name not in record.variables:
            raise unknown(f"{source}: variable", name, record.variables)
    return record


def linear_gaussian(source: Any, card: Mapping[str, Any] | None = None, **data: Any) -> Model:
    """Fit the linear-Gaussian forecast of a record: nothing is trained, seconds suffice.

    It is a model like any other, with the exact network of normal residuals: what a trained one has to beat.

    Args:
        source: The training record: its name, a file, or a `Record`.
        card: What is known about the model.
        data: What ``[data]`` of a configuration may have; by default leads of 1 to 5, the start alone, 80 components.

    Raises:
        SciflowError: The record or an option cannot be used.
    """
    plain = {"leads": [1, 2, 3, 4, 5], "history": 1, "components": 80, "kept": 80}
    options = {"network": {"name": "gaussian"}}
    adapter, rows = Forecaster.from_data({"train": source, **plain, **data}, options)
    network = adapter.network().eval()
    parameters = sum(x.numel() for x in network.state_dict().values())
    facts = {
        "parameters": parameters,
        "training": {"samples": len(rows), "steps": 0, "seconds": 0.0},
    }
    return Model(adapter, network, Sampling("dpm++2m", "log-snr", 12), {**facts, **(card or {})})


__all__ = ["LEAD", "VALID", "Forecaster", "linear_gaussian", "recorded"]
