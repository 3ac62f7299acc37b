r"""Coding of forecasts: what followed a day of the record, against a linear forecast of it, in wavelet coefficients.

    given      the anomalies of the last days, standardised; climatology and deviations of the training record
    base       the linear forecast of all leads (`regression`)
    residual   truth - base, in coefficients of each lead, variable and band: what the process generates

Everything is multiplied by the root of the area (cos of latitude), so that errors of coefficients are errors of area
means. Training takes the base that has not seen the year it forecasts, so that a residual is as large as it will be.
The network is given, on the same grid of coefficients, the past, the base, the past carried along the wind
(`steering`, where a geopotential is named), and the season. Cells without data (NaN at all times) have no anomaly.

Reference: WDNO (Hu et al., ICLR 2025), section 3; Mardani et al., Residual corrective diffusion modeling for km-scale
atmospheric downscaling, arXiv:2309.15214, for the mean first and the residual by diffusion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown

from .climatology import Harmonics, turn
from .coding import GIVEN
from .dataset import Record
from .metrics import latitude_weights
from .regression import Regression
from .steering import advected, wind
from .wavelet import Axis, Codec, Transform

OPTIONS = ("leads", "history", "window", "components", "kept", "steering", "shares")
_CODEC = ("wavelet", "level", "packing")
_LEAST_AREA = 0.05


@dataclass(frozen=True)
class Box:
    """Variables, grid and times of forecasts.

    Args:
        variables: Names.
        units: Their units.
        latitude: Degrees north.
        longitude: Degrees east.
        step: Hours between two times.
        leads: Steps ahead that are forecast.
        history: Times that are known, the start included.
        mask: Where there are data, bool ``[Y, X]``; None for everywhere.
        steering: Variable whose geostrophic wind carries the past, "" for none.
        shares: Shares of that wind.
    """

    variables: tuple[str, ...]
    units: tuple[str, ...]
    latitude: tuple[float, ...]
    longitude: tuple[float, ...]
    step: float
    leads: tuple[int, ...]
    history: int
    mask: tuple[tuple[bool, ...], ...] | None = None
    steering: str = ""
    shares: tuple[float, ...] = (0.5,)

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of latitudes and longitudes."""
        return len(self.latitude), len(self.longitude)

    @property
    def area(self) -> Tensor:
        """Areas of the cells with mean 1, 0 where there are no data: ``[Y, X]``."""
        whole = latitude_weights(torch.tensor(self.latitude))[:, None].expand(self.grid)
        return whole if self.mask is None else whole * torch.tensor(self.mask)

    @property
    def root(self) -> Tensor:
        """Roots of the areas, ``[Y, 1]``; at a pole not quite 0."""
        area = latitude_weights(torch.tensor(self.latitude)).clamp(min=_LEAST_AREA)
        return area.sqrt()[:, None]

    def times(self, start: np.ndarray, steps: Sequence[int]) -> np.ndarray:
        """Times some steps after each start: ``datetime64 [N] -> [N, len(steps)]``."""
        minutes = np.asarray([round(60 * self.step * k) for k in steps])
        return start[:, None] + minutes.astype("timedelta64[m]")

    def check(self, record: Record, path: object) -> Record:
        """Return a record on this grid, turned round where its axes run the other way.

        Raises:
            SciflowError: Its variables, units, steps or grid are others: the message names it.
        """
        if record.variables != self.variables:
            raise expected(f"{path}: variables", record.variables, str(self.variables))
        axes: tuple[tuple[str, Sequence[float]], ...] = (
            ("latitude", self.latitude),
            ("longitude", self.longitude),
        )
        for name, axis in axes:
            wanted = list(axis)
            got = getattr(record, name)
            if (
                len(got) == len(wanted)
                and len(got) > 1
                and (got[1] - got[0]) * (wanted[1] - wanted[0]) < 0
            ):
                dim = 2 if name == "latitude" else 3
                mask = record.mask.flip(dim - 2)
                record = replace(
                    record, values=record.values.flip(dim), mask=mask, **{name: got.flip(0)}
                )
                got = got.flip(0)
            apart = abs(wanted[1] - wanted[0]) if len(wanted) > 1 else 1.0
            if (
                len(got) != len(wanted)
                or float((got - torch.tensor(wanted)).abs().max()) > 1e-2 * apart
            ):
                raise SciflowError(
                    f"{path}: coordinate {name}: got {len(got)} values from {float(got[0]):g} to {float(got[-1]):g}, "
                    f"expected {len(wanted)} from {wanted[0]:g} to {wanted[-1]:g}; cut out and interpolate to that grid"
                )
        if len(record) > 1 and abs(record.step - self.step) > 1e-6 * self.step:
            raise expected(
                f"{path}: step of time", f"{record.step:g} h", f"{self.step:g} h", "choose times that far apart"
            )  # fmt: skip
        lacking = ~record.mask & (
            torch.ones(self.grid, dtype=torch.bool)
            if self.mask is None
            else torch.tensor(self.mask)
        )
        if bool(lacking.any()):
            y, x = (int(v) for v in lacking.nonzero()[0])
            raise SciflowError(
                f"{path}: got no values in {int(lacking.sum())} cells, the first at latitude {self.latitude[y]:g}, "
                f"longitude {self.longitude[x]:g}, expected numbers; fill them"
            )
        return record


@dataclass(frozen=True)
class ForecastCoding:
    """Coding of forecasts; see the module.

    Args:
        box: Variables, grid and times.
        climate: Climatology.
        scale: Deviation of the anomalies of each variable.
        regression: The linear forecast.
        codec: Codec of the residuals.
        known: Codecs of the past, of the base, and of what the wind carries.
        widths: Factors of the residuals of each lead and variable, fitted to later data than the training's
            (`scores.width`): what the process generates is one of them narrower or wider. None for 1.
    """

    box: Box
    climate: Harmonics
    scale: tuple[float, ...]
    regression: Regression
    codec: Codec
    known: Mapping[str, Codec]
    widths: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.widths is None:
            return
        wanted = len(self.box.leads), len(self.box.variables)
        got = torch.tensor(self.widths) if len({len(row) for row in self.widths}) == 1 else None
        if got is None or got.shape != wanted or not bool((got > 0).all()):
            raise expected(
                "widths of forecasts", self.widths, f"{wanted[0]} rows of {wanted[1]} factors above 0"
            )  # fmt: skip

    @classmethod
    def fit(
        cls, record: Record, options: Mapping[str, Any], codec: Mapping[str, Any] | None = None
    ) -> tuple[ForecastCoding, dict[str, Tensor]]:
        """Fit everything to a training record.

        Args:
            record: The training record, nothing else.
            options: ``leads`` (1 to 5), ``history`` (2), ``window`` (7 days, 0 for all), ``components`` and ``kept``
                of the regression, ``steering`` (a geopotential) and ``shares`` (of its wind).
            codec: ``wavelet`` (bior2.4), ``level`` (1), ``packing`` (stack).

        Returns:
            The coding, and what `encode` and `condition` take of each training time, cross-fitted.

        Raises:
            SciflowError: An option is unknown or wrong, or the record is too short.
        """
        for given, names, what in ((options, OPTIONS, "key"), (codec or {}, _CODEC, "codec")):
            for name in given:
                if name not in names:
                    raise unknown(f"{what} of forecasts", name, names)
        leads = options.get("leads", [1, 2, 3, 4, 5])
        if (
            not isinstance(leads, list)
            or not leads
            or any(type(k) is not int or k < 1 for k in leads)
        ):
            raise expected("leads", leads, "a list of steps ahead such as [1, 2, 3]")
        steering = str(options.get("steering", ""))
        if steering and steering not in record.variables:
            raise unknown("steering", steering, record.variables)
        box = Box(
            record.variables,
            record.units,
            tuple(record.latitude.tolist()),
            tuple(record.longitude.tolist()),
            record.step,
            tuple(sorted(set(leads))),
            int(options.get("history", 2)),
            None if bool(record.mask.all()) else tuple(map(tuple, record.mask.tolist())),
            steering,
            tuple(float(s) for s in options.get("shares", [0.5])),
        )
        starts, _ = record.pairs(box.leads[-1], box.history)
        climate = Harmonics.fit(record, int(options.get("window", 7)) or None)
        departures = record.values - climate.at(record.time)
        there = record.mask.expand_as(departures[0])
        scale = tuple(
            float(departures[:, k][:, there[k]].std()) for k in range(len(box.variables))
        )
        anomalies = departures / torch.tensor(scale)[:, None, None] * box.root * record.mask
        past = torch.stack([anomalies[starts - j] for j in range(box.history)], 1)
        future = torch.stack([anomalies[starts + k] for k in box.leads], 1)
        time = torch.from_numpy(record.time[starts].astype("datetime64[m]").astype(np.int64))
        blank = cls(box, climate, scale, None, None, {})  # type: ignore[arg-type]
        carried = blank.carried(past, time)
        regression, base = Regression.cross_fitted(
            _stacked(past, carried),
            future.flatten(2),
            _groups(record.time[starts]),
            int(options.get("components", 120)),
            int(options.get("kept", 80)),
        )
        base = base.unflatten(2, future.shape[2:])
        values = {"past": past, "base": base, "time": time, "residual": future - base}
        found = replace(blank, regression=regression)
        residual = found._codec(codec or {}, "residual").fit(_flat(values["residual"]))
        known = {"past": _flat(past), "base": _flat(base)}
        if steering:
            known["carried"] = _flat(carried)
        codecs = {name: found._codec(codec or {}, name).fit(x) for name, x in known.items()}
        return replace(found, codec=residual, known=codecs), values

    # -- sizes ---------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the components."""
        return tuple(self.codec.names)

    def channels(self, key: str) -> int:
        """Number of channels of the condition on the grid of a component."""
        return sum(len(codec.names[key]) for codec in self.known.values()) + 4

    def stage(self, key: str) -> int:
        """How many times the grid of a component is halved against the finest."""
        if key == "bands":
            return 0
        level = self.codec.transform.level
        return level - 1 if key == "coarse" else int(key.removeprefix("detail")) - 1

    # -- coding --------------------------------------------------------------------------------------------------

    def standardised(self, values: Tensor, times: np.ndarray) -> Tensor:
        """Return standardised anomalies times the root of the area.

        Args:
            values: ``[N, K, V, Y, X]``.
            times: ``datetime64 [N, K]``.
        """
        climate = self.climate.at(times.ravel()).unflatten(0, times.shape)
        scale = torch.tensor(self.scale)[:, None, None]
        found = (values - climate) / scale * self.box.root
        return found if self.box.mask is None else found * torch.tensor(self.box.mask)

    def fields(self, anomalies: Tensor, times: np.ndarray) -> Tensor:
        """The inverse of `standardised`; NaN where there are no data."""
        scale = torch.tensor(self.scale)[:, None, None]
        climate = self.climate.at(times.ravel()).unflatten(0, times.shape)
        found = anomalies / self.box.root * scale + climate
        if self.box.mask is None:
            return found
        return found.masked_fill(~torch.tensor(self.box.mask), torch.nan)

    def carried(self, past: Tensor, time: Tensor) -> Tensor:
        """The newest of the past, carried along the wind to the first lead, ``[N, shares, V, Y, X]``.

        Args:
            past: Standardised anomalies ``[N, history, V, Y, X]``.
            time: Starts in minutes since 1970, int64 ``[N]``.
        """
        box = self.box
        if not box.steering:
            return past[:, :0]
        k = box.variables.index(box.steering)
        times = time.numpy().astype("datetime64[m]")
        scale = self.scale[k]
        height = past[:, 0, k] / box.root * scale + self.climate.at(times)[:, k]
        where = torch.tensor(box.latitude), torch.tensor(box.longitude)
        winds = wind(height, *where)
        hours = box.step * box.leads[0]
        return torch.stack([advected(past[:, 0], winds, *where, hours, s) for s in box.shares], 1)

    def base(self, past: Tensor, time: Tensor) -> Tensor:
        """Linear forecast, ``[N, leads, V, Y, X]``."""
        known = _stacked(past, self.carried(past, time))
        shape = (len(self.box.variables), *self.box.grid)
        return self.regression.predict(known).unflatten(2, shape)

    def encode(self, residual: Tensor) -> dict[str, Tensor]:
        """Return components of residuals ``[N, leads, V, Y, X]``."""
        return self.codec.encode(_flat(residual / self._width))

    def decode(self, components: Mapping[str, Tensor]) -> Tensor:
        """Return residuals of components; the inverse of `encode`."""
        flat = self.codec.decode(components)
        return flat.unflatten(1, (len(self.box.leads), len(self.box.variables))) * self._width

    @property
    def _width(self) -> Tensor:
        """Factors of the residuals, ``[leads, V, 1, 1]``."""
        return torch.tensor(self.widths or [[1.0]])[:, :, None, None]

    def condition(self, past: Tensor, base: Tensor, time: Tensor) -> dict[str, Tensor]:
        """Return what the network is given: ``given.<component>``.

        Args:
            past: Standardised anomalies ``[N, history, V, Y, X]``.
            base: Linear forecast ``[N, leads, V, Y, X]``.
            time: Starts in minutes since 1970, int64 ``[N]``.
        """
        known = {"past": past, "base": base}
        if "carried" in self.known:
            known["carried"] = self.carried(past, time)
        coded = {name: codec.encode(_flat(known[name])) for name, codec in self.known.items()}
        times = time.numpy().astype("datetime64[m]")
        season = turn(times).float()
        hour = (time % 1440).float() * (2 * torch.pi / 1440)
        clock = torch.stack((season.sin(), season.cos(), hour.sin(), hour.cos()), 1)
        found = {}
        for key in self.keys:
            grid = self.codec.shapes[key][1:]
            parts = [part[key] for part in coded.values()]
            parts.append(clock[(..., *[None] * len(grid))].expand(-1, -1, *grid))
            found[GIVEN + key] = torch.cat(parts, 1)
        return found

    # -- configuration -------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        box = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self.box).items()}
        if self.box.mask is not None:
            box["mask"] = ["".join("01"[there] for there in row) for row in self.box.mask]
        return {
            "box": box,
            "climate": self.climate.config(),
            "scale": list(self.scale),
            "regression": self.regression.config(),
            "codec": self.codec.config(),
            "known": {name: codec.config() for name, codec in self.known.items()},
            **({} if self.widths is None else {"widths": [list(row) for row in self.widths]}),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ForecastCoding:
        """Make the coding that `config` described.

        Raises:
            SciflowError: The configuration is incomplete or wrong.
        """
        try:
            box: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in config["box"].items()
            }
            if box["mask"] is not None:
                box["mask"] = tuple(tuple(c == "1" for c in row) for row in box["mask"])
            known = config["known"]
            order = [name for name in ("past", "base", "carried") if name in known]
            return cls(
                Box(**box),
                Harmonics.from_config(config["climate"]),
                tuple(config["scale"]),
                Regression.from_config(config["regression"]),
                Codec.from_config(config["codec"]),
                {name: Codec.from_config(known[name]) for name in order},
                tuple(map(tuple, config["widths"])) if "widths" in config else None,
            )
        except (KeyError, TypeError) as error:
            raise SciflowError(
                f"coding of forecasts: got a configuration that lacks or misnames {error}, expected box, climate, "
                "scale, regression, codec, known"
            ) from error

    # -- inside --------------------------------------------------------------------------------------------------

    def _codec(self, options: Mapping[str, Any], which: str) -> Codec:
        box, wavelet = self.box, str(options.get("wavelet", "bior2.4"))
        moments = {
            "past": [f"-{k}" for k in range(box.history)],
            "carried": [f"~{share:g}" for share in box.shares],
        }.get(which, [f"+{k}" for k in box.leads])
        axes = tuple(
            Axis(name, size, "mirror", wavelet)
            for name, size in zip(("latitude", "longitude"), box.grid, strict=True)
        )
        channels = tuple(f"{variable}{m}" for m in moments for variable in box.variables)
        transform = Transform(axes, int(options.get("level", 1)))
        return Codec(transform, channels, str(options.get("packing", "stack")))


def _flat(x: Tensor) -> Tensor:
    """``[N, K, V, Y, X] -> [N, K V, Y, X]``."""
    return x.flatten(1, 2)


def _stacked(past: Tensor, carried: Tensor) -> Tensor:
    """Known fields of the regression: ``[N, history + shares, C]``."""
    return torch.cat((past, carried), 1).flatten(2)


def _groups(times: np.ndarray) -> Tensor:
    """Years; fifths of a record of less than three."""
    years = times.astype("datetime64[Y]").astype(int)
    if len(set(years.tolist())) >= 3:
        return torch.from_numpy(years - years.min())
    return torch.arange(len(times)) * 5 // len(times)


__all__ = ["OPTIONS", "Box", "ForecastCoding"]
