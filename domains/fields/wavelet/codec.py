r"""Codec between trajectories and normalised wavelet coefficients: packing, statistics, padding and crop in one place.

Channel c and band b of the coefficients W are brought to zero mean and unit deviation by the numbers of the data,

    z = (W - mean_{cb}) / std_{cb},

and padded with zeros at the end of each axis to a multiple that the network can halve. WDNO divides each band by a
maximum set by hand, which leaves the heavy-tailed fine bands a deviation of about 0.02 against unit noise. The largest
\|z\| per band is kept too, for samplers that clamp.

Reference: WDNO (Hu et al., ICLR 2025), section 3 and appendix (the authors' numbers: 10, 3, 3, 1 for bior2.4).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sciflow.errors import SciflowError, expected, unknown

from .transform import Axis, Transform

PACKINGS = ("stack", "pyramid")
"""``stack``: all bands on one grid, as channels of one tensor ``bands``. ``pyramid``: one tensor per level: ``coarse``,
and ``detail<level>`` with the details of a level as channels."""


@dataclass(frozen=True)
class BandStatistics:
    """Numbers of the coefficients of one band of one channel.

    Args:
        mean: Their mean.
        std: Their standard deviation.
        largest: Their largest distance from the mean, in standard deviations.
        count: How many were seen.
    """

    mean: float
    std: float
    largest: float
    count: int


@dataclass(frozen=True)
class Codec:
    """Trajectories ``[B, channels, *lengths]`` to tensors of normalised coefficients, and back.

    Args:
        transform: Axes and level.
        channels: Names of the channels, e.g. ``("u", "f")``.
        packing: One of `PACKINGS`.
        multiple: The grids of coefficients are padded to multiples of this.
        statistics: Per band in the order of `names`; None until `fit`.
    """

    transform: Transform
    channels: tuple[str, ...] = ("u",)
    packing: str = "stack"
    multiple: int = 1
    statistics: tuple[BandStatistics, ...] | None = None

    def __post_init__(self) -> None:
        if self.packing not in PACKINGS:
            raise unknown("packing", self.packing, PACKINGS)
        if self.packing == "pyramid" and not self.transform.level:
            raise expected("level of a pyramid", 0, "1 or more", "set packing = 'stack'")
        if self.multiple < 1:
            raise expected("multiple of the padding", self.multiple, "1 or more")
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise expected("channels of a codec", self.channels, "one or more different names")
        wanted = sum(len(names) for names in self.names.values())
        if self.statistics is not None and len(self.statistics) != wanted:
            raise expected("statistics of a codec", len(self.statistics), f"{wanted} bands")

    # -- layout --------------------------------------------------------------------------------------------------

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Names of the channels of each tensor of coefficients: ``u.aa, u.ad, ...``, from coarse to fine."""
        return {
            key: tuple(f"{channel}.{band}" for channel in self.channels for band in bands)
            for key, bands in self._bands().items()
        }

    @property
    def grids(self) -> dict[str, tuple[int, ...]]:
        """Sizes of the tensors of coefficients, without padding."""
        level = self.transform.level
        found = {key: self.transform.sizes(level) for key in self._bands()}
        for k in range(1, level + 1):
            if f"detail{k}" in found:
                found[f"detail{k}"] = self.transform.sizes(k)
        return found

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors of coefficients without the batch, padding included: ``(channels, *grid)``."""
        return {
            key: (len(names), *(self._padded(size) for size in self.grids[key]))
            for key, names in self.names.items()
        }

    def mask(self, key: str, device: torch.device | str = "cpu") -> Tensor:
        """Where a padded grid holds coefficients: bool ``[*grid]``."""
        inside = torch.zeros(self.shapes[key][1:], dtype=torch.bool, device=device)
        inside[tuple(slice(size) for size in self.grids[key])] = True
        return inside

    def on(self, lengths: Mapping[str, int]) -> Codec:
        """The codec for another grid of the same fields, with the same statistics.

        A coefficient of the mean of d axes is 2^{d/2} times the local value whatever the spacing, so the statistics of
        the coarsest band hold on any grid; the details of a finer grid are smaller.
        """
        return replace(self, transform=self.transform.resized(lengths))

    def over(self, *names: str, channels: Sequence[str] | None = None) -> Codec:
        """The codec of fields over some of the axes, e.g. of initial states; it must be fitted anew."""
        chosen = tuple(channels) if channels is not None else self.channels
        return replace(
            self, transform=self.transform.over(*names), channels=chosen, statistics=None
        )

    # -- coding --------------------------------------------------------------------------------------------------

    def coefficients(self, x: Tensor) -> dict[str, Tensor]:
        """Return the coefficients as they are, neither normalised nor padded.

        Args:
            x: ``[B, channels, *lengths]``.

        Returns:
            ``[B, len(names[key]), *grids[key]]`` by key.

        Raises:
            SciflowError: The channels or the grid are not those of the codec.
        """
        place = -len(self.transform.axes) - 1
        if x.dim() != 1 - place or x.shape[place] != len(self.channels):
            raise expected(
                "fields to encode",
                list(x.shape),
                f"[B, {len(self.channels)} channels ({', '.join(self.channels)}), "
                f"{', '.join(a.name for a in self.transform.axes)}]",
            )
        if self.packing == "stack":
            return {"bands": self.transform.packets(x).flatten(1, 2)}
        parts = self.transform.decompose(x)
        return {
            key: torch.stack([parts[band] for band in bands], dim=2).flatten(1, 2)
            for key, bands in self._bands().items()
        }

    def fields(self, coefficients: Mapping[str, Tensor]) -> Tensor:
        """Return the fields of plain coefficients; exact inverse of `coefficients`."""
        count = len(self.channels)
        if self.packing == "stack":
            return self.transform.unpack(coefficients["bands"].unflatten(1, (count, -1)))
        parts: dict[str, Tensor] = {}
        for key, bands in self._bands().items():
            if key in coefficients:
                split = coefficients[key].unflatten(1, (count, -1)).unbind(2)
                parts.update(zip(bands, split, strict=True))
        return self.transform.reconstruct(parts)

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        """Return normalised, padded coefficients.

        Args:
            x: ``[B, channels, *lengths]``.

        Returns:
            ``[B, *shapes[key]]`` by key.

        Raises:
            SciflowError: The codec is not fitted, or the channels or the grid are not its own.
        """
        found = {}
        for key, plain in self.coefficients(x).items():
            mean, std = self._numbers(key, plain)
            found[key] = self._pad((plain - mean) / std, self.shapes[key][1:])
        return found

    def decode(self, coefficients: Mapping[str, Tensor]) -> Tensor:
        """Return the fields of normalised coefficients: crop, scale, inverse transform.

        Args:
            coefficients: ``[B, *shapes[key]]`` by key. Missing details of a pyramid are zero.

        Returns:
            ``[B, channels, *lengths]``.

        Raises:
            SciflowError: The codec is not fitted, or a tensor has another shape.
        """
        plain = {}
        for key, value in coefficients.items():
            if key not in self.shapes:
                raise unknown("coefficients", key, self.shapes)
            if tuple(value.shape[1:]) != self.shapes[key]:
                shape = ["B", *self.shapes[key]]
                raise expected(f"coefficients {key!r}", list(value.shape), str(shape))
            mean, std = self._numbers(key, value)
            corner = value[(..., *(slice(size) for size in self.grids[key]))]
            plain[key] = corner * std + mean
        return self.fields(plain)

    def largest(self, key: str, like: Tensor) -> Tensor:
        """Largest size of the normalised coefficients of the data, ``[channels, 1, ...]``: a bound to clamp to."""
        values = [s.largest for s in self._statistics(key)]
        return like.new_tensor(values).reshape(-1, *[1] * len(self.transform.axes))

    def fit(self, batches: Tensor | Iterable[Tensor]) -> Codec:
        """Return the codec with the statistics of data.

        Args:
            batches: ``[B, channels, *lengths]``, whole or in parts.

        Raises:
            SciflowError: There are no data, or they hold values that are not finite.
        """
        sums: dict[str, list[Tensor]] = {}
        count = {key: 0 for key in self.names}
        kept = [batches] if isinstance(batches, Tensor) else batches
        for batch in kept:
            for key, plain in self.coefficients(batch).items():
                value = plain.detach().double().transpose(0, 1).flatten(1)
                if not value.isfinite().all():
                    raise SciflowError(
                        f"fields to fit a codec on ({', '.join(self.channels)}): got values that are not finite, "
                        "expected numbers; fill or mask the gaps first"
                    )
                count[key] += value.shape[1]
                old = sums.get(key)
                new = [value.sum(1), value.square().sum(1), value.amin(1), value.amax(1)]
                sums[key] = new if old is None else self._merge(old, new)
        if not sums:
            raise expected("data to fit a codec on", "nothing", "at least one trajectory")
        found = []
        for key in self.names:
            total, squares, low, high = sums[key]
            mean = total / count[key]
            std = (squares / count[key] - mean.square()).clamp(min=0).sqrt()
            # A band without variance (a constant channel) keeps its scale.
            std = torch.where(std > 1e-12 * (1 + mean.abs()), std, torch.ones_like(std))
            most = torch.maximum(high - mean, mean - low) / std
            found += [
                BandStatistics(float(m), float(s), float(x), count[key])
                for m, s, x in zip(mean, std, most, strict=True)
            ]
        return replace(self, statistics=tuple(found))

    # -- configuration -------------------------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs, JSON-able."""
        return {
            "axes": [asdict(axis) for axis in self.transform.axes],
            "level": self.transform.level,
            "channels": list(self.channels),
            "packing": self.packing,
            "multiple": self.multiple,
            "statistics": None
            if self.statistics is None
            else [asdict(s) for s in self.statistics],
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Codec:
        """Make the codec that `config` described.

        Raises:
            SciflowError: The configuration is incomplete or wrong.
        """
        try:
            axes = tuple(Axis(**axis) for axis in config["axes"])
            given = config.get("statistics")
            statistics = None if given is None else tuple(BandStatistics(**s) for s in given)
            return cls(
                Transform(axes, int(config.get("level", 1))),
                tuple(config["channels"]),
                str(config.get("packing", "stack")),
                int(config.get("multiple", 1)),
                statistics,
            )
        except (KeyError, TypeError) as error:
            raise SciflowError(
                f"codec: got a configuration that lacks or misnames {error}, expected axes (name, length, mode, "
                "wavelet), level, channels, packing, multiple, statistics"
            ) from error

    # -- inside --------------------------------------------------------------------------------------------------

    def _bands(self) -> dict[str, tuple[str, ...]]:
        if self.packing == "stack":
            return {"bands": self.transform.packet_bands}
        found = {"coarse": self.transform.bands[:1]}
        for k in range(self.transform.level, 0, -1):
            found[f"detail{k}"] = tuple(f"{half}{k}" for half in self.transform.halves[1:])
        return found

    def _padded(self, size: int) -> int:
        return math.ceil(size / self.multiple) * self.multiple

    @staticmethod
    def _pad(x: Tensor, grid: tuple[int, ...]) -> Tensor:
        short = [want - have for want, have in zip(grid, x.shape[2:], strict=True)]
        if not any(short):
            return x
        return torch.nn.functional.pad(x, [n for s in reversed(short) for n in (0, s)])

    @staticmethod
    def _merge(old: list[Tensor], new: list[Tensor]) -> list[Tensor]:
        return [
            old[0] + new[0],
            old[1] + new[1],
            torch.minimum(old[2], new[2]),
            torch.maximum(old[3], new[3]),
        ]

    def _statistics(self, key: str) -> tuple[BandStatistics, ...]:
        if self.statistics is None:
            raise SciflowError(
                "codec: got no statistics, expected those of the data; do: codec = codec.fit(fields)"
            )
        start = 0
        for name, bands in self.names.items():
            if name == key:
                return self.statistics[start : start + len(bands)]
            start += len(bands)
        raise unknown("coefficients", key, self.names)

    def _numbers(self, key: str, like: Tensor) -> tuple[Tensor, Tensor]:
        chosen = self._statistics(key)
        shape = (-1, *[1] * len(self.transform.axes))
        mean = like.new_tensor([s.mean for s in chosen]).reshape(shape)
        return mean, like.new_tensor([s.std for s in chosen]).reshape(shape)
