r"""Random streams: one independent stream of numbers for each sample, whatever batch it is computed in.

A number is a pure function of (seed, purpose, sample index, draw, position). Two facts follow: a sample does not
depend on its batch mates, the batch size or the device count; and padding an element axis leaves the numbers of the
real elements as they are, since position j of a draw does not know how long the draw is.

The function is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; SC 2011), in
integer arithmetic of torch, so it gives the same bits on every device.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor

_LOW = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


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

    def bits(self, count: int) -> Tensor:
        """Return the next `count` words of 32 random bits of each stream, int64 ``[B, count]``."""
        index = self.index.unsqueeze(1)
        block = torch.arange((count + 3) // 4, device=index.device).unsqueeze(0)
        draw = torch.full_like(block[:, :1], self.draws)
        self.draws += 1
        words = philox([block, draw, index & _LOW, (index >> 32) & _LOW], self._key)
        return torch.stack(words, dim=-1).flatten(1)[:, :count]

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return uniform numbers in the open interval (0, 1), shape ``[B, *shape]``."""
        count = math.prod(shape)
        if dtype == torch.float64:
            words = self.bits(2 * count)
            value = ((words[:, 0::2] >> 6) * (1 << 26) + (words[:, 1::2] >> 6)).to(dtype)
            value = (value + 0.5) * 2.0**-52
        else:
            # 23 bits and a half: neither 0 nor 1 after rounding to float32.
            value = ((self.bits(count) >> 9).float() + 0.5).mul_(2.0**-23).to(dtype)
        return value.reshape(len(self), *shape)

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Return standard normal numbers, shape ``[B, *shape]`` (Box-Muller, in pairs of positions)."""
        count = math.prod(shape)
        working = torch.float64 if dtype == torch.float64 else torch.float32
        pairs = self.uniform(((count + 1) // 2, 2), working)
        radius = pairs[..., 0].log().mul_(-2.0).sqrt_()
        angle = pairs[..., 1] * (2.0 * math.pi)
        value = torch.stack((angle.cos() * radius, angle.sin() * radius), dim=-1)
        return value.flatten(1)[:, :count].to(dtype).reshape(len(self), *shape)

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
