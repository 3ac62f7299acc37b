r"""One level of a discrete wavelet transform of one axis, as a matrix and its left inverse.

The transform of a signal x of length n is linear, border handling included, so one matrix A of shape ``[2m, n]`` holds
it: the first m rows give the approximation, the last m the detail,

    (a, d) = A x,    a_k = sum_j h_j x~_{2k+1-j},    d_k = sum_j g_j x~_{2k+1-j},

with x~ the signal extended beyond its ends by the border mode. A is read off PyWavelets, column by column, so every
filter, mode and length that it knows is here, and the coefficients are its coefficients. With S0 the matrix of
PyWavelets' reconstruction, the inverse used is S = (S0 A)^{-1} S0: equal to S0 where the filters are exact, and exact
also where the tabulated ones are not (``dmey`` misses by 1e-3, ``sym20`` by 1e-11).

At the lengths of space-time boxes two dense products are quicker than convolutions; beyond `LONGEST` the matrix is
applied in blocks of rows, each on the columns it touches.

Reference: Mallat, A theory for multiresolution signal decomposition, IEEE PAMI 11 (1989), section III. Mode ``mirror``:
Brislawn, Classification of nonexpansive symmetric extension transforms, Appl. Comput. Harmon. Anal. 3 (1996).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import expected, unknown

LONGEST = 512
"""Longest axis that is transformed by one dense product."""
_BLOCK = 256
_WORST = 30.0  # condition beyond which a mirrored transform is refused

MODES = (
    "periodization",
    "mirror",
    "symmetric",
    "reflect",
    "periodic",
    "zero",
    "constant",
    "smooth",
    "antisymmetric",
    "antireflect",
)
"""Border modes: those of PyWavelets, and ``mirror``.

``periodization`` is the one for a periodic axis: ceil(n / 2) coefficients per band. ``mirror`` is its counterpart for
walls and for time: the signal is mirrored at its ends, which are not glued together, and there are as few
coefficients, those of PyWavelets' mode ``symmetric`` or ``reflect`` (whichever inverts better) without the spare ones
at the ends. All other modes store the border twice: floor((n + L - 1) / 2) coefficients for a filter of length L.
"""


@dataclass(frozen=True)
class Bank:
    """Analysis and synthesis of one axis in double precision.

    Args:
        analysis: A, ``[2m, n]``.
        synthesis: S, ``[n, 2m]``, with S A = 1.
    """

    analysis: np.ndarray
    synthesis: np.ndarray

    @property
    def length(self) -> int:
        """Length n of the signal."""
        return self.analysis.shape[1]

    @property
    def count(self) -> int:
        """Coefficients m of each of the two bands."""
        return self.analysis.shape[0] // 2


def _filter(name: str) -> Any:
    import pywt

    if name not in (known := pywt.wavelist(kind="discrete")):
        raise unknown("wavelet", name, known)
    return pywt.Wavelet(name)


@lru_cache(maxsize=256)
def bank(wavelet: str, mode: str, length: int) -> Bank:
    """Return one level of a transform as matrices.

    Args:
        wavelet: Discrete wavelet by its name in PyWavelets, e.g. ``"bior2.4"``.
        mode: One of `MODES`.
        length: Length of the axis, odd or even.

    Raises:
        SciflowError: The wavelet or the mode is unknown, the axis too short for the mode, or the mode ``mirror`` has
            no stable inverse (seen for db38 alone, at one length).
    """
    import pywt

    short = _filter(wavelet)
    if mode not in MODES:
        raise unknown("border mode", mode, MODES)
    if length < 1 or (length < 2 and mode in ("reflect", "antireflect", "mirror")):
        raise expected(f"length of an axis in mode {mode}", length, "2 or more")
    if mode == "mirror":
        return _mirror(wavelet, length)
    analysis = np.vstack(pywt.dwt(np.eye(length), short, mode, axis=0))
    half = len(analysis) // 2
    unit = np.eye(2 * half)
    synthesis = pywt.idwt(unit[:half], unit[half:], short, mode, axis=0)[:length]
    return Bank(analysis, np.linalg.solve(synthesis @ analysis, synthesis))


def _mirror(wavelet: str, length: int) -> Bank:
    """Return the transform with mirrored ends and ceil(n / 2) coefficients per band."""
    extension, first, second = _mirror_rows(wavelet, length)
    analysis = _picked(wavelet, extension, length, first, second)
    condition = float(np.linalg.cond(analysis))
    if condition > _WORST:
        raise expected(
            f"border mode mirror of {wavelet} at length {length}",
            f"condition {condition:.3g}",
            f"an inverse of at most {_WORST:g}",
            "use a symmetric filter such as 'bior2.4', or the mode 'symmetric'",
        )
    return Bank(analysis, np.linalg.pinv(analysis))


def _mirror_rows(wavelet: str, length: int) -> tuple[str, int, int]:
    """Find the extension and the first rows kept of each band: those with the best conditioned matrix.

    For a symmetric filter they are the rows that symmetry leaves independent; other filters have such rows too, with
    conditions of 1 to 11. The choice depends on the filter and on the parity of the length; a long axis is judged by a
    shorter one.
    """
    longest = min(4 * _filter(wavelet).dec_len, 64)
    proxy = length if length <= longest else longest + (length - longest) % 2
    return _mirror_search(wavelet, proxy)


@lru_cache(maxsize=256)
def _mirror_search(wavelet: str, length: int) -> tuple[str, int, int]:
    spare = bank(wavelet, "symmetric", length).count - (length + 1) // 2
    found = []
    for extension in ("symmetric", "reflect"):
        for first, second in itertools.product(range(spare + 1), repeat=2):
            matrix = _picked(wavelet, extension, length, first, second)
            values = np.linalg.svd(matrix, compute_uv=False)
            condition = float(values[0] / values[-1]) if values[-1] > 0 else np.inf
            # Among equals the most central rows, so that a coefficient stands where its samples are.
            away = abs(first - spare / 2) + abs(second - spare / 2)
            found.append((round(condition, 6), away, extension, first, second))
    return min(found)[2:]


def _picked(wavelet: str, extension: str, length: int, first: int, second: int) -> np.ndarray:
    full = bank(wavelet, extension, length)
    keep = (length + 1) // 2
    rows = [*range(first, first + keep), *range(full.count + second, full.count + second + keep)]
    return full.analysis[rows]


# -- application ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def operator(
    wavelet: str, mode: str, length: int, inverse: bool, dtype: torch.dtype, device: torch.device
) -> Callable[[Tensor, int], Tensor]:
    """Return the function ``(tensor, axis) -> tensor`` that applies a bank along an axis, counted from the end.

    Args:
        wavelet: Name of the wavelet.
        mode: Border mode.
        length: Length n of the signal.
        inverse: Synthesis instead of analysis.
        dtype: Type of the tensors it will be given.
        device: Their device.
    """
    both = bank(wavelet, mode, length)
    matrix = both.synthesis if inverse else both.analysis
    # Kept for every later call: also for one with gradients after a first one in inference mode.
    with torch.inference_mode(False):
        return _applied(matrix, length, dtype, device)


def _applied(
    matrix: np.ndarray, length: int, dtype: torch.dtype, device: torch.device
) -> Callable[[Tensor, int], Tensor]:
    if length <= LONGEST:
        dense = torch.tensor(matrix, dtype=dtype, device=device)
        return lambda x, axis: _along(dense, x, axis)
    blocks = [
        (columns, torch.tensor(matrix[rows][:, columns], dtype=dtype, device=device))
        for rows, columns in _blocks(matrix)
    ]
    pieces = [(torch.as_tensor(c, device=device), m) for c, m in blocks]

    def blocked(x: Tensor, axis: int) -> Tensor:
        return torch.cat([_along(m, x.index_select(axis, c), axis) for c, m in pieces], dim=axis)

    return blocked


def _along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return the product of a matrix with one axis (negative) of a tensor."""
    if axis == -1:
        return x @ matrix.mT
    # The axes behind are the columns of one product per batch entry.
    folded = x.reshape(-1, x.shape[axis], _product(x.shape[axis + 1 :]))
    done = torch.matmul(matrix, folded)
    return done.reshape(*x.shape[:axis], matrix.shape[0], *x.shape[axis + 1 :])


def _product(sizes: torch.Size) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total


def _blocks(matrix: np.ndarray) -> list[tuple[slice, np.ndarray]]:
    """Cut the rows into blocks; each with the columns in which it is not zero."""
    cut = []
    for start in range(0, len(matrix), _BLOCK):
        rows = slice(start, start + _BLOCK)
        largest = np.abs(matrix[rows]).max(axis=0)
        cut.append((rows, np.flatnonzero(largest > 1e-18 * largest.max())))
    return cut
