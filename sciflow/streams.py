r"""Random streams: one independent stream of numbers for each sample, whatever batch it is computed in.

A number is a pure function of (seed, purpose, sample index, draw, position). Two facts follow: a sample does not
depend on its batch mates, the batch size or the device count; and padding an element axis leaves the numbers of the
real elements as they are, since position j of a draw does not know how long the draw is.

The function is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC 2011), in
integer arithmetic, so it gives the same bits on every device: of torch where a graph is compiled or a device computes,
of numpy in place, piece by piece within the cache, on the processor, which is two to three times as fast. Small draws
are made ahead, many at once.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_PIECE = 1 << 14  # counters that fit into the cache together with what is made of them
_AHEAD = 1 << 10  # counters that cost hardly more than one
_MOST = 64  # draws that are made at once

_Finish = Callable[[Tensor, bool], Tensor]
"""Numbers ``[n, ...]`` from words ``[4, ...]``, for float64 if it is told so."""


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox4x32-10 of four broadcastable int64 tensors with values in [0, 2**32).

    Args:
        counter: The four words of the counter.
        key: The two words of the key.

    Returns:
        Four words of 32 random bits each, as int64.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # int64 products wrap, so their 64 bits are exact; the mask undoes the sign of the shift.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = ((p1 >> 32) & _LOW) ^ c1 ^ k0, ((p0 >> 32) & _LOW) ^ c3 ^ k1
        c1, c3 = p1 & _LOW, p0 & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return [c0, c1, c2, c3]


def _philox_in_place(words: np.ndarray, key: tuple[int, int]) -> None:
    """`philox` of counters uint64 ``[4, n]``, which give way to the words."""
    (c0, c1, c2, c3), (p0, p1) = words, np.empty_like(words[:2])
    m0, m1 = (np.uint64(m) for m in _MULTIPLIERS)
    low, half = np.uint64(_LOW), np.uint64(32)
    k0, k1 = key
    for _ in range(_ROUNDS):
        np.multiply(c0, m0, out=p0)
        np.multiply(c2, m1, out=p1)
        np.right_shift(p1, half, out=c0)
        np.bitwise_xor(c0, c1, out=c0)
        np.bitwise_xor(c0, np.uint64(k0), out=c0)
        np.right_shift(p0, half, out=c2)
        np.bitwise_xor(c2, c3, out=c2)
        np.bitwise_xor(c2, np.uint64(k1), out=c2)
        np.bitwise_and(p1, low, out=c1)
        np.bitwise_and(p0, low, out=c3)
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW


class Streams:
    """The streams of one batch of samples; each call draws the next numbers of every stream.

    Args:
        seed: Any integer.
        index: Global numbers of the samples, int64 ``[B]``, each >= 0.
        purpose: A word that separates uses of the same seed (sampling, sizes, training noise ...).
    """

    def __init__(self, seed: int, index: Tensor, purpose: str = "") -> None:
        self.seed = seed
        self.index = index
        self.purpose = purpose
        self.draws = 0
        self._made: dict[Any, tuple[int, dict[int, Tensor]]] = {}
        self._key = (
            (seed ^ zlib.crc32(purpose.encode())) & _LOW,
            ((seed >> 32) + (zlib.crc32(purpose.encode()[::-1]) if purpose else 0)) & _LOW,
        )

    @classmethod
    def range(
        cls,
        seed: int,
        start: int,
        count: int,
        purpose: str = "",
        device: torch.device | str = "cpu",
    ) -> Streams:
        """Streams of the samples start, start + 1, ..., start + count - 1."""
        return cls(seed, torch.arange(start, start + count, device=device), purpose)

    def __len__(self) -> int:
        return self.index.shape[0]

    def select(self, index: Tensor) -> Streams:
        """Streams of some of the samples, at the same place in their streams."""
        part = Streams(self.seed, self.index[index], self.purpose)
        part.draws = self.draws
        return part

    def words(self, index: Tensor, blocks: int, draws: Sequence[int]) -> Tensor:
        """Return four words of 32 random bits for each block of some draws of some streams.

        Returns:
            int64 ``[4, len(draws), len(index), blocks]``.
        """
        if self._on_host:
            words = np.empty((4, len(draws), len(index), blocks), np.uint64)
            sample = index.numpy()[:, None]
            words[0] = np.arange(blocks)
            words[1] = np.array(draws, np.uint64)[:, None, None]
            words[2], words[3] = sample & _LOW, (sample >> 32) & _LOW
            _philox_in_place(words.reshape(4, -1), self._key)
            return torch.from_numpy(words.view(np.int64))
        index = index.unsqueeze(1)
        block = torch.arange(blocks, device=index.device)
        # Filled there: a copy from the host would wait for the device.
        draw = torch.cat([torch.full_like(block[:1, None, None], d) for d in draws])
        return torch.stack(philox([block, draw, index & _LOW, (index >> 32) & _LOW], self._key))

    def bits(self, count: int) -> Tensor:
        """Return the next `count` words of 32 random bits of each stream, int64 ``[B, count]``."""
        return self._drawn(_bits, (count,), torch.int64)

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return uniform numbers in the open interval (0, 1), shape ``[B, *shape]``."""
        return self._drawn(_uniform, shape, dtype)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standard normal numbers, shape ``[B, *shape]`` (Box-Muller, in pairs of positions)."""
        return self._drawn(_normal, shape, dtype)

    @property
    def _on_host(self) -> bool:
        return self.index.device.type == "cpu" and not torch.compiler.is_compiling()

    def _drawn(self, finish: _Finish, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """The next numbers of each stream, ``[B, *shape]``."""
        draw = self.draws
        self.draws += 1
        counters = len(self) * _blocks(shape, dtype)
        if not self._on_host:
            return self._numbers(self.index, finish, shape, dtype, (draw,))[0]
        if 0 < counters <= _AHEAD // 2:
            return self._looked_ahead(finish, shape, dtype, draw, _AHEAD // counters)
        parts = (self.index,)
        if counters > _PIECE:
            parts = self.index.split(max(1, len(self) * _PIECE // counters))
        rows = [self._numbers(part, finish, shape, dtype, (draw,))[0] for part in parts]
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _looked_ahead(
        self, finish: _Finish, shape: Sequence[int], dtype: torch.dtype, draw: int, many: int
    ) -> Tensor:
        """As `_drawn`; the second draw of a kind makes many at once, as far apart as these two: so samplers draw."""
        kind = (finish, tuple(shape), dtype)
        last, made = self._made.get(kind, (draw, {}))
        if draw not in made:
            draws = range(draw, draw + 1)
            if draw > last:
                draws = range(draw, draw + (draw - last) * min(many, _MOST), draw - last)
            rows = self._numbers(self.index, finish, shape, dtype, draws).unbind()
            made = dict(zip(draws, rows, strict=True))
        self._made[kind] = (draw, made)
        # A copy owes nothing to its neighbours, to which autograd would tie it.
        return made.pop(draw).clone()

    def _numbers(
        self,
        index: Tensor,
        finish: _Finish,
        shape: Sequence[int],
        dtype: torch.dtype,
        draws: Sequence[int],
    ) -> Tensor:
        """The numbers of some draws of some streams, ``[len(draws), len(index), *shape]``."""
        count, wide = math.prod(shape), dtype == torch.float64
        words = self.words(index, _blocks(shape, dtype), draws)
        if count <= 2 and not wide:
            words = words[:2]
        rows = finish(words, wide).permute(1, 2, 3, 0).flatten(2)[..., :count]
        return rows.to(dtype).reshape(len(draws), len(index), *shape)

    def categorical(self, probabilities: Tensor) -> Tensor:
        """Draw one class for each row of probabilities, by the inverse of the cumulative sum.

        Args:
            probabilities: Non-negative weights ``[B, ..., K]``; they need not be normalised.

        Returns:
            Labels in [0, K), int64 ``[B, ...]``.
        """
        cumulative = probabilities.cumsum(-1)
        level = self.uniform(probabilities.shape[1:-1], probabilities.dtype).unsqueeze(-1)
        passed = cumulative[..., :-1] <= level * cumulative[..., -1:]
        return passed.sum(-1)


def _blocks(shape: Sequence[int], dtype: torch.dtype) -> int:
    """Counters that a draw takes: each gives four numbers, or two of float64."""
    return -(-math.prod(shape) // (2 if dtype == torch.float64 else 4))


def _bits(words: Tensor, wide: bool) -> Tensor:
    """The words as they are."""
    return words


def _uniform(words: Tensor, wide: bool) -> Tensor:
    """Words ``[4, ...]`` as numbers in (0, 1): ``[4, ...]`` of float32, or ``[2, ...]`` of float64 where `wide`."""
    if wide:
        value = ((words[0::2] >> 6) * (1 << 26) + (words[1::2] >> 6)).double()
        return value.add_(0.5).mul_(2.0**-52)
    # 23 bits and a half: neither 0 nor 1 after rounding to float32.
    return (words >> 9).float().add_(0.5).mul_(2.0**-23)


def _normal(words: Tensor, wide: bool) -> Tensor:
    """Words as normal numbers, of the shapes of `_uniform`."""
    value = _uniform(words, wide)
    radius = value[0::2].log().mul_(-2.0).sqrt_()
    angle = value[1::2] * (2.0 * math.pi)
    value[0::2] = angle.cos().mul_(radius)
    value[1::2] = angle.sin_().mul_(radius)
    return value
