"""Coding of trajectories: fields to the components of a system, what is known to conditions on the same grids.

The fields go through the wavelet codec. What is known goes through the codec of the axes that it stands on, so that
coefficients meet coefficients of the same place and scale, and is spread along the axes that it lacks; a number becomes
a constant. On the grid of component k stand the channels ``given.k``: the bands of the start, then those of each given
variable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown
from sciflow.state import State

from .layout import COARSE, END, START, TIME, Layout
from .process import SOURCE
from .wavelet import Axis, BandStatistics, Codec, Transform

GIVEN = "given."
_FIELDS = "fields"
OPTIONS = ("wavelet", "level", "packing")
FRAMES = (START, END)
"""What is known of all fields together, ``[B, fields, *space]``."""


@dataclass(frozen=True)
class Coding:
    """Codecs of a layout; see the module.

    Args:
        layout: The variables.
        codec: Codec of the fields, fitted.
        known: For each known variable its codec, or the statistics of a number.
        decay: For the codecs ``fields`` and of the known variables, the factor of the deviation of each band from a
            grid to the next finer one; 1 where nothing is said.
    """

    layout: Layout
    codec: Codec
    known: Mapping[str, Codec | BandStatistics]
    decay: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @classmethod
    def fit(
        cls, layout: Layout, values: Mapping[str, Tensor], options: Mapping[str, Any] | None = None
    ) -> Coding:
        """Fit the codecs to data.

        Args:
            layout: The variables.
            values: What `Layout.read` returns.
            options: ``wavelet`` (bior2.4), ``level`` (1), ``packing`` (stack).

        Raises:
            SciflowError: An option is unknown or wrong.
        """
        options = dict(options or {})
        for name in options:
            if name not in OPTIONS:
                raise unknown("option of the codec", name, OPTIONS)
        wavelet = str(options.get("wavelet", "bior2.4"))
        axes = tuple(
            Axis(name, length, "periodization" if name in layout.periodic else "mirror", wavelet)
            for name, length in zip((TIME, *layout.space), layout.grid, strict=True)
        )
        plain = Codec(
            Transform(axes, int(options.get("level", 1))),
            layout.made,
            str(options.get("packing", "stack")),
        )
        known: dict[str, Codec | BandStatistics] = {}
        for name in layout.known:
            value, on = values[name], layout.axes(name)
            if on:
                channels = layout.fields if name in FRAMES else (name,)
                box = value if name in FRAMES else value.unsqueeze(1)
                known[name] = plain.over(*on, channels=channels).fit(box)
            else:
                wide = value.double()
                std = float(wide.std(correction=0)) or 1.0
                most = float((wide - wide.mean()).abs().max()) / std
                known[name] = BandStatistics(float(wide.mean()), std, most, len(value))
        return cls(layout, plain.fit(_missed(layout, values)), known)

    @classmethod
    def fit_levels(
        cls,
        layout: Layout,
        levels: Sequence[Mapping[str, Tensor]],
        options: Mapping[str, Any] | None = None,
    ) -> Coding:
        """Fit the codecs to data on several grids, the finest first; the two finest tell the decay."""
        fine = cls.fit(layout, levels[0], options)
        if len(levels) < 2:
            return fine
        grid = dict(zip((TIME, *layout.space), levels[1]["fields"].shape[2:], strict=True))
        coarse = cls.fit(layout.on(grid), levels[1], options)
        decay = {}
        for name, codec in fine._codecs().items():
            pairs = zip(
                codec.statistics or (), coarse._codecs()[name].statistics or (), strict=True
            )
            decay[name] = tuple(one.std / two.std for one, two in pairs)
        return replace(fine, decay=decay)

    # -- sizes ---------------------------------------------------------------------------------------------------

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the components."""
        return tuple(self.codec.names)

    def channels(self, key: str) -> int:
        """Number of channels of the condition on the grid of a component."""
        return sum(end - start for start, end in self._places(key).values())

    def stage(self, key: str) -> int:
        """How many times the grid of a component is halved against the finest."""
        if key == "bands":
            return 0
        if key == "coarse":
            return self.codec.transform.level - 1
        return int(key.removeprefix("detail")) - 1

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of one sample of a given variable."""
        sizes = dict(zip((TIME, *self.layout.space), self.layout.grid, strict=True))
        return tuple(sizes[axis] for axis in self.layout.axes(name))

    def mean(self, count: int) -> dict[str, Tensor]:
        """Return the mean of all that is known, `count` times."""
        found = {}
        for name, codec in self.known.items():
            if isinstance(codec, BandStatistics):
                found[name] = torch.full((count,), codec.mean)
            else:
                shapes = codec.shapes.items()
                value = codec.decode({key: torch.zeros(count, *shape) for key, shape in shapes})
                found[name] = value if name in FRAMES else value[:, 0]
        return found

    def on(self, lengths: Mapping[str, int]) -> Coding:
        """The coding of another grid of the same box; statistics change by the `decay`, if at all (see `Codec.on`).

        Args:
            lengths: Frames and cells by the names of the axes; others stay.
        """
        here = dict(zip((TIME, *self.layout.space), self.layout.grid, strict=True))
        steps = [math.log2(size / here[axis]) for axis, size in lengths.items()]
        octaves = sum(steps) / max(1, len(steps))
        found: dict[str, Codec] = {}
        for name, codec in self._codecs().items():
            on = (TIME, *self.layout.space) if name == _FIELDS else self.layout.axes(name)
            other = codec.on({axis: size for axis, size in lengths.items() if axis in on})
            if name in self.decay and other.statistics is not None:
                scaled = (
                    replace(s, mean=s.mean * d**octaves, std=s.std * d**octaves)
                    for s, d in zip(other.statistics, self.decay[name], strict=True)
                )
                other = replace(other, statistics=tuple(scaled))
            found[name] = other
        known = {name: found.get(name, codec) for name, codec in self.known.items()}
        return replace(self, layout=self.layout.on(lengths), codec=found[_FIELDS], known=known)

    # -- coding --------------------------------------------------------------------------------------------------

    def encode(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return components of all that is generated.

        Args:
            values: What `Layout.read` returns: ``fields`` ``[B, made, frames, *space]``, and the coarse trajectory for
                super-resolution, which generates what that misses.
        """
        return self.codec.encode(_missed(self.layout, values))

    def condition(self, known: Mapping[str, Tensor], source: bool = False) -> dict[str, Tensor]:
        """Return the condition of what is known.

        Args:
            known: ``start`` and the given variables, as `Layout.read` returns them.
            source: Whether the components of the persistence forecast are wanted, too.
        """
        parts: dict[str, list[Tensor]] = {key: [] for key in self.keys}
        for name, codec in self.known.items():
            value = known[name]
            if isinstance(codec, BandStatistics):
                number = (value - codec.mean) / codec.std
                coded = {key: number[:, None] for key in self.keys}
            else:
                coded = codec.encode(value if name in FRAMES else value.unsqueeze(1))
            for key in self.keys:
                parts[key].append(self._spread(name, key, coded[key]))
        found = {GIVEN + key: torch.cat(part, dim=1) for key, part in parts.items()}
        if source:
            start = known[START].unsqueeze(2)
            lasting = start.expand(-1, -1, self.layout.frames, *start.shape[3:])
            lasting = _missed(self.layout, {**known, _FIELDS: lasting})
            still = lasting[:, :1] * 0  # of what drives the fields nothing is known
            coded = self.codec.encode(torch.cat((lasting, *[still] * len(self.layout.driven)), 1))
            found |= {SOURCE + key: value for key, value in coded.items()}
        return found

    def decode(self, state: State) -> dict[str, Tensor]:
        """Return the fields and all that is known of a clean state, the inverse of `encode` and `condition`."""
        found = {"fields": self.codec.decode(dict(state))}
        missing = [key for key in self.keys if GIVEN + key not in state.condition]
        if missing:
            raise expected("condition of a state", sorted(state.condition), GIVEN + missing[0])
        for name, codec in self.known.items():
            coded = {
                key: self._gathered(name, key, state.condition[GIVEN + key]) for key in self.keys
            }
            if isinstance(codec, BandStatistics):
                found[name] = coded[self.keys[0]][:, 0] * codec.std + codec.mean
            else:
                value = codec.decode(coded)
                found[name] = value if name in FRAMES else value[:, 0]
        if self.layout.refines:
            found[_FIELDS] = found[_FIELDS] + _coarse(self.layout, found)
        return found

    # -- configuration -------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        known = {
            name: asdict(c) if isinstance(c, BandStatistics) else c.config()
            for name, c in self.known.items()
        }
        found = {"layout": self.layout.config(), "codec": self.codec.config(), "known": known}
        return found | (
            {"decay": {n: list(d) for n, d in self.decay.items()}} if self.decay else {}
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Coding:
        """Make the coding that `config` described.

        Raises:
            SciflowError: The configuration is incomplete or wrong.
        """
        try:
            layout, coded = Layout.from_config(config["layout"]), config["known"]
            # The order is that of the channels; it must not depend on that of a JSON file.
            known = {
                name: Codec.from_config(c) if "axes" in c else BandStatistics(**c)
                for name, c in ((name, coded[name]) for name in layout.known)
            }
            decay = {n: tuple(d) for n, d in config.get("decay", {}).items()}
            return cls(layout, Codec.from_config(config["codec"]), known, decay)
        except (KeyError, TypeError) as error:
            raise SciflowError(
                f"coding of fields: got a configuration that lacks or misnames {error}, expected layout, codec, known"
            ) from error

    # -- inside --------------------------------------------------------------------------------------------------

    def _codecs(self) -> dict[str, Codec]:
        """All codecs by name."""
        known = {n: c for n, c in self.known.items() if isinstance(c, Codec)}
        return {_FIELDS: self.codec, **known}

    def _places(self, key: str) -> dict[str, tuple[int, int]]:
        found, start = {}, 0
        for name, codec in self.known.items():
            count = 1 if isinstance(codec, BandStatistics) else len(codec.names[key])
            found[name] = (start, start + count)
            start += count
        return found

    def _lacking(self, name: str) -> list[int]:
        """Dimensions of ``[B, channels, time, *space]`` that a known variable does not have."""
        on = self.layout.axes(name)
        return [k for k, dim in enumerate((TIME, *self.layout.space), 2) if dim not in on]

    def _spread(self, name: str, key: str, coded: Tensor) -> Tensor:
        for k in self._lacking(name):
            coded = coded.unsqueeze(k)
        return coded.expand(-1, -1, *self.codec.grids[key])

    def _gathered(self, name: str, key: str, channels: Tensor) -> Tensor:
        start, end = self._places(key)[name]
        part = channels[:, start:end]
        for k in reversed(self._lacking(name)):
            part = part.select(k, 0)
        return part


def _coarse(layout: Layout, values: Mapping[str, Tensor]) -> Tensor:
    """The interpolated coarse trajectory, ``[B, fields, frames, *space]``."""
    return torch.stack([values[name + COARSE] for name in layout.fields], 1)


def _missed(layout: Layout, values: Mapping[str, Tensor]) -> Tensor:
    """What goes through the codec: the fields, or what the coarse trajectory misses of them."""
    fields = values[_FIELDS]
    return fields - _coarse(layout, values) if layout.refines else fields


__all__ = ["GIVEN", "Coding"]
