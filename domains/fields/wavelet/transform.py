r"""Separable wavelet transform of boxes of one to three axes: pyramid, packets, names of the bands.

One level applies the matrix of `filters.bank` along every axis. Along an axis there are two halves, the approximation
``a`` and the detail ``d``; a band of a box is named by one letter per axis in the order of the axes, e.g. ``"ad"``:
mean in time, detail in space. Two trees continue from there:

    pyramid     only the band aa...a is split again. Bands ``aa2, ad2, da2, dd2, ad1, da1, dd1``: the number is the
                level, 1 the finest. Equal to ``pywt.wavedecn``.
    packets     every band is split again, so all 2^{dL} bands have one size and stack as channels. Names per axis read
                from the coarsest: ``"aa.ad"`` is band ``ad`` of band ``aa``. One level of packets is one level of the
                pyramid, and WDNO's transform.

Reference: Mallat 1989 (`filters`); Coifman, Wickerhauser, Entropy-based algorithms for best basis selection, IEEE
Trans. Inf. Theory 38 (1992), for packets; WDNO (Hu et al., ICLR 2025), section 3, for one level as channels.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sciflow.errors import expected

from . import filters


@dataclass(frozen=True)
class Axis:
    """An axis of a box.

    Args:
        name: Its name, e.g. ``"time"``.
        length: Number of samples.
        mode: Border mode, one of `filters.MODES`: ``"periodization"`` for a periodic axis, ``"mirror"`` or
            ``"symmetric"`` for walls and for time.
        wavelet: Discrete wavelet by its name in PyWavelets.
    """

    name: str
    length: int
    mode: str = "mirror"
    wavelet: str = "bior2.4"

    def counts(self, level: int) -> tuple[int, ...]:
        """Coefficients per band at levels 1, 2, ..., `level`."""
        found, length = [], self.length
        for _ in range(level):
            length = filters.bank(self.wavelet, self.mode, length).count
            found.append(length)
        return tuple(found)


@dataclass(frozen=True)
class Transform:
    """Wavelet transform of the last axes of a tensor.

    Args:
        axes: The axes, in the order of the last dimensions of the tensors.
        level: How many times the approximation is split; 0 leaves the values as they are, in one band ``all``.
    """

    axes: tuple[Axis, ...]
    level: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.axes) <= 3:
            raise expected("axes of a wavelet transform", len(self.axes), "1, 2 or 3")
        if len({a.name for a in self.axes}) < len(self.axes):
            raise expected("names of axes", [a.name for a in self.axes], "names that differ")
        if self.level < 0:
            raise expected("level of a wavelet transform", self.level, "0 or more")
        self.sizes(self.level)  # every bank exists, or says why not

    # -- names and sizes -----------------------------------------------------------------------------------------

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(axis.length for axis in self.axes)

    @property
    def halves(self) -> tuple[str, ...]:
        """Names of the bands of one level: ``aa, ad, da, dd`` for two axes."""
        return tuple("".join(p) for p in itertools.product("ad", repeat=len(self.axes)))

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of the pyramid, from coarse to fine."""
        details = (f"{h}{k}" for k in range(self.level, 0, -1) for h in self.halves[1:])
        return (f"{self.halves[0]}{self.level}", *details)

    @property
    def packet_bands(self) -> tuple[str, ...]:
        """Names of the bands of `packets`, in the order of its channels."""
        if not self.level:
            return ("all",)
        return tuple(".".join(p) for p in itertools.product(self.halves, repeat=self.level))

    def sizes(self, level: int) -> tuple[int, ...]:
        """Size of a band at a level (1 is the finest, 0 the box itself)."""
        if level == 0:
            return self.lengths
        return tuple(axis.counts(level)[-1] for axis in self.axes)

    def resized(self, lengths: Mapping[str, int]) -> Transform:
        """The same transform on axes of other lengths.

        Raises:
            SciflowError: A name is none of the axes.
        """
        strange = set(lengths) - {axis.name for axis in self.axes}
        if strange:
            raise expected("axes", sorted(strange), f"some of {[a.name for a in self.axes]}")
        axes = (replace(a, length=lengths.get(a.name, a.length)) for a in self.axes)
        return replace(self, axes=tuple(axes))

    def over(self, *names: str) -> Transform:
        """The same transform over some of the axes: that of an initial state has no time."""
        missing = set(names) - {axis.name for axis in self.axes}
        if missing:
            raise expected("axes", sorted(missing), f"some of {[a.name for a in self.axes]}")
        return replace(self, axes=tuple(axis for axis in self.axes if axis.name in names))

    # -- pyramid -------------------------------------------------------------------------------------------------

    def decompose(self, x: Tensor) -> dict[str, Tensor]:
        """Split a box into the bands of its pyramid.

        Args:
            x: Real floating ``[..., *lengths]``.

        Returns:
            ``[..., *sizes]`` by the names `bands`, in their order.

        Raises:
            SciflowError: The last dimensions are not those of the axes.
        """
        self._check(x)
        levels: list[dict[str, Tensor]] = []
        lengths = self.lengths
        for level in range(1, self.level + 1):
            split = self._cut(self._apply(x, lengths, inverse=False))
            x = split.pop(self.halves[0])
            levels.append({f"{half}{level}": part for half, part in split.items()})
            lengths = self.sizes(level)
        found = {self.bands[0]: x}
        for level in reversed(levels):
            found.update(level)
        return found

    def reconstruct(self, bands: Mapping[str, Tensor]) -> Tensor:
        """Join the bands of a pyramid; exact inverse of `decompose`.

        Args:
            bands: ``[..., *sizes]`` by name. Missing details are zero.

        Raises:
            SciflowError: The coarsest band is missing, or a name is unknown.
        """
        strange = set(bands) - set(self.bands)
        if strange or self.bands[0] not in bands:
            raise expected("bands", sorted(bands), f"{self.bands[0]} and some of {self.bands[1:]}")
        x = bands[self.bands[0]]
        for level in range(self.level, 0, -1):
            empty = torch.zeros_like(x)
            parts = [x, *(bands.get(f"{half}{level}", empty) for half in self.halves[1:])]
            lengths = self.sizes(level - 1) if level > 1 else self.lengths
            x = self._apply(self._glue(parts), lengths, inverse=True)
        return x

    # -- packets -------------------------------------------------------------------------------------------------

    def packets(self, x: Tensor) -> Tensor:
        """Split a box into bands of one size.

        Args:
            x: Real floating ``[..., *lengths]``.

        Returns:
            ``[..., bands, *sizes]``, bands in the order of `packet_bands`.

        Raises:
            SciflowError: The last dimensions are not those of the axes.
        """
        self._check(x)
        lengths = self.lengths
        x = x.unsqueeze(-len(self.axes) - 1)
        for level in range(1, self.level + 1):
            x = self._stack(self._apply(x, lengths, inverse=False))
            lengths = self.sizes(level)
        return x

    def unpack(self, x: Tensor) -> Tensor:
        """Join the bands of `packets`; its exact inverse."""
        for level in range(self.level, 0, -1):
            lengths = self.sizes(level - 1) if level > 1 else self.lengths
            x = self._apply(self._unstack(x), lengths, inverse=True)
        return x.squeeze(-len(self.axes) - 1)

    # -- one level -----------------------------------------------------------------------------------------------

    def _apply(self, x: Tensor, lengths: tuple[int, ...], inverse: bool) -> Tensor:
        count = len(self.axes)
        for k, (axis, length) in enumerate(zip(self.axes, lengths, strict=True)):
            apply = filters.operator(axis.wavelet, axis.mode, length, inverse, x.dtype, x.device)
            x = apply(x, k - count)
        return x

    def _cut(self, x: Tensor) -> dict[str, Tensor]:
        """Name the bands of one level: views of the corners of the box."""
        count = len(self.axes)
        found = {}
        for half in self.halves:
            part = x
            for k, letter in enumerate(half):
                size = x.shape[k - count] // 2
                part = part.narrow(k - count, 0 if letter == "a" else size, size)
            found[half] = part
        return found

    def _glue(self, parts: list[Tensor]) -> Tensor:
        """Put the bands of one level into the corners of one box."""
        for k in range(len(self.axes)):
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [torch.cat(pair, dim=-1 - k) for pair in pairs]
        return parts[0]

    def _stack(self, x: Tensor) -> Tensor:
        """[..., P, 2m1, 2m2] -> [..., P 4, m1, m2]: the corners of the box become channels."""
        count = len(self.axes)
        lead = x.dim() - count - 1
        shape = [size for s in x.shape[lead + 1 :] for size in (2, s // 2)]
        x = x.reshape(*x.shape[: lead + 1], *shape)
        halves = [lead + 1 + 2 * k for k in range(count)]
        sizes = [lead + 2 + 2 * k for k in range(count)]
        return x.permute(*range(lead + 1), *halves, *sizes).flatten(lead, lead + count)

    def _unstack(self, x: Tensor) -> Tensor:
        """Inverse of `_stack`."""
        count = len(self.axes)
        lead = x.dim() - count - 1
        sizes = x.shape[lead + 1 :]
        x = x.unflatten(lead, (-1, *[2] * count))
        order = [axis for k in range(count) for axis in (lead + 1 + k, lead + 1 + count + k)]
        shape = [2 * size for size in sizes]
        return x.permute(*range(lead + 1), *order).reshape(*x.shape[: lead + 1], *shape)

    def _check(self, x: Tensor) -> None:
        got = tuple(x.shape[-len(self.axes) :])
        if got != self.lengths or not x.is_floating_point():
            names = ", ".join(axis.name for axis in self.axes)
            raise expected(
                f"tensor over ({names})",
                f"{x.dtype} {list(x.shape)}",
                f"floating numbers whose last dimensions are {list(self.lengths)}",
                "Transform.resized makes the transform of another grid",
            )
