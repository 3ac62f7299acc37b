r"""How far apart two crystals are when laid over each other as well as they can be: the displacement of a match.

Both crystals are reduced to their primitive Niggli cell and scaled to equal volume. Then, over every basis of the
first lattice that resembles the second one (each length within a factor 1 + l, each angle within alpha), and every
translation that puts an atom of the rarest species upon its like, sites are assigned to sites of the same species by
least squares on the mean of the two lattices, the mean displacement is taken off, and

    rms = sqrt(mean |d_i|^2) / (V / n)^(1/3)

is the displacement; the least of all counts. No match where there is none below s.

This is the definition of pymatgen's ``StructureMatcher`` with ltol = l, stol = s, angle_tol = alpha: its order of
decisions and tolerances, so the verdicts are the same. Everything that can be done for all bases and translations at
once is, and everything that belongs to one crystal alone is done once (`reduce`): a tenth of the work.

Reference: Ong et al., Python Materials Genomics, Comput. Mater. Sci. 68, 314, 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce as fold
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sciflow.errors import SciflowError

from .crystal import Crystal
from .reduction import dot, lll, niggli

Array = NDArray[np.float64]

_FAR = 1e20  # what an assignment that is not allowed costs
_IMAGES = np.array([(i, j, k) for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)], float)
_OTHERS = np.array([v for v in _IMAGES if (v != 0).sum() > 1])  # sums of basis vectors
_NEEDLE = 1e5  # longest vector cubed over the volume; real crystals stay below a few hundred
_BLOCK = 400_000  # numbers in a block of candidates, about 3 MB


@dataclass(frozen=True)
class Tolerances:
    """When two crystals count as the same.

    Args:
        ltol: Lengths may differ by the factor 1 + ltol.
        stol: Largest displacement, in units of (V / n)^(1/3).
        angle_tol: Angles may differ by this many degrees.
    """

    ltol: float = 0.3
    stol: float = 0.5
    angle_tol: float = 10.0


LOOSE = Tolerances()
"""Those of structure prediction (DiffCSP, CrysBFN, FlowMM)."""
STRICT = Tolerances(0.2, 0.3, 5.0)
"""pymatgen's defaults; those of novelty and uniqueness."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """A crystal in its primitive Niggli cell.

    Attributes:
        species: Atomic numbers ``[n]``.
        coordinates: Fractional coordinates ``[n, 3]``.
        lattice: Lattice vectors as rows ``[3, 3]``.
        key: Sorted (atomic number, count): only crystals with equal keys can match.
    """

    species: NDArray[np.int16]
    coordinates: Array
    lattice: Array
    key: tuple[tuple[int, int], ...]
    volume: float


def reduce(crystal: Crystal) -> Reduced:
    """Return the primitive Niggli cell that pymatgen finds (primitive within .25 angstrom).

    Raises:
        SciflowError: The crystal has no sites, is flat, not finite, or too skewed to be reduced.
    """
    if len(crystal) == 0:
        raise SciflowError("no sites")
    if not (np.isfinite(crystal.coordinates).all() and np.isfinite(crystal.lattice).all()):
        raise SciflowError("not finite")
    if crystal.volume <= 1e-6 * float(np.prod(crystal.lengths)):
        raise SciflowError("the lattice is flat")
    rows = crystal.lattice.tolist()
    # Bases are sought among all lattice points within the longest vector: in a needle there is no end of them.
    longest = max(dot(row, row) for row in lll(rows)) ** 0.5
    if longest**3 > _NEEDLE * crystal.volume:
        raise SciflowError("the lattice is a needle or a leaf")
    try:
        matrix = _niggli(rows)
        species, places = (
            crystal.species,
            crystal.coordinates @ (crystal.lattice @ np.linalg.inv(matrix)),
        )
        places -= np.floor(places)
        counts = crystal.composition
        if fold(math.gcd, counts.values()) > 1 and _may_repeat(species, places, matrix):
            cell: Any = Crystal(species, places, matrix).to_structure().get_primitive_structure()
            bare = Crystal.of(cell)
            species, places, matrix = bare.species, bare.coordinates, bare.lattice
            counts = bare.composition
    except (ValueError, np.linalg.LinAlgError, ZeroDivisionError, MemoryError) as error:
        raise SciflowError("cannot be reduced") from error
    volume = abs(float(np.linalg.det(matrix)))
    return Reduced(species, places, matrix, tuple(counts.items()), volume)


def _niggli(rows: list[list[float]]) -> Array:
    """Return the Niggli basis that pymatgen's matcher would take, up to order and signs of its vectors.

    Lengths and angles are averaged over the two crystals, and that depends a little on which of several equivalent
    bases is taken, unless these differ in order and signs alone. So where another vector is as long as one of the
    basis (hexagonal, face- and body-centred lattices), the choice is left to pymatgen.
    """
    matrix = np.array(niggli(rows))
    own, others = (matrix**2).sum(1), ((_OTHERS @ matrix) ** 2).sum(1)
    if (np.abs(others[:, None] / own - 1.0) > 1e-3).all():
        return matrix
    from pymatgen.core import Lattice

    with np.errstate(all="ignore"):
        return np.array(Lattice(rows).get_niggli_reduced_lattice().matrix)


def _may_repeat(species: NDArray[np.int16], places: Array, matrix: Array) -> bool:
    """Return whether a translation by a part of the cell may map every site near one of its kind.

    A necessary condition, at the tolerance at which pymatgen looks for candidates: twice .25 angstrom along each axis.
    Where it fails there is no smaller cell, and the dear search for one is spared.
    """
    reach = 0.5 / np.sqrt((matrix**2).sum(1)) * 1.0001
    kinds, counts = np.unique(species, return_counts=True)
    rare = places[species == kinds[counts.argmin()]]
    moves = rare[1:] - rare[0]
    for kind in kinds:
        own = places[species == kind]
        gap = (
            own[None, :, None] - own[None, None, :] - moves[:, None, None]
        )  # [moves, to, from, 3]
        near = (np.abs(gap - np.round(gap)) < reach).all(-1)
        moves = moves[near.any(1).all(1)]
        if not len(moves):
            return False
    return True


def displacement(
    first: Reduced, second: Reduced, tolerances: Tolerances = LOOSE, largest: bool = False
) -> float | None:
    """Return the least displacement between two crystals in units of (V / n)^(1/3); None where they do not match.

    Args:
        first: The crystal that is laid over.
        second: The crystal that it is laid over; the measure is almost, not exactly, symmetric.
        tolerances: When they count as the same.
        largest: Take the largest displacement of a site instead of the root mean square.
    """
    if first.key != second.key:
        return None
    ratio = (second.volume / first.volume) ** (1.0 / 6.0)
    own, target = first.lattice * ratio, second.lattice / ratio
    bases = _bases(own, target, tolerances)
    if bases is None:
        return None
    n = len(first.species)
    differs = second.species[:, None] != first.species[None, :]
    anchor = int(differs.sum(1).argmax())
    starts = np.flatnonzero(~differs[anchor])
    rows, columns = np.nonzero(~differs)
    begins = np.searchsorted(rows, np.arange(n))
    mean = _mean_lattices(bases @ own, target)
    unit = (np.abs(np.linalg.det(mean)) / n) ** (1.0 / 3.0)
    reach = 2.0 * tolerances.stol * unit[:, None]
    tolerance = reach * _reciprocal(mean)
    moved = first.coordinates @ np.linalg.inv(bases)  # [M, n, 3], in each basis
    moved -= np.floor(moved)
    fixed = second.coordinates
    best = math.inf
    step = max(1, _BLOCK // (len(starts) * len(rows) * 3))
    for begin in range(0, len(bases), step):
        block = slice(begin, begin + step)
        shift = moved[block][:, starts] - fixed[anchor]  # [m, T, 3]
        gap = (moved[block][:, columns] - fixed[rows])[:, None] - shift[:, :, None]
        near = _all_three(np.abs(gap - np.round(gap)) <= tolerance[block][:, None, None])
        fits = np.logical_or.reduceat(near, begins, axis=-1).all(-1)  # [m, T]
        which, start = np.nonzero(fits)
        if len(which):
            k = begin + which
            cost, vectors = _nearest(gap[which, start], rows, columns, n, mean[k], reach[k])
            best = min(best, _assigned(cost, vectors, unit[k], largest))
        if best < 1e-5:
            break
    return best if best < tolerances.stol else None


def _bases(own: Array, target: Array, tolerances: Tolerances) -> Array | None:
    """Return the integer matrices ``[M, 3, 3]`` of all bases of `own` that resemble `target`; None without one."""
    lengths = np.sqrt((target**2).sum(1))
    mine = np.sqrt((own**2).sum(1))
    # The lengths of a Niggli cell are the successive minima: no basis is shorter, the i-th shortest against the
    # i-th. A hundredth spare, for cells that rounding left not quite reduced.
    if (np.sort(mine) > (1.0 + tolerances.ltol) * 1.01 * np.sort(lengths)).any():
        return None
    radius = float(lengths.max()) * (1.0 + tolerances.ltol)
    bound = np.floor(radius * np.sqrt((np.linalg.inv(own) ** 2).sum(0)) + 1e-9).astype(int)
    axes = [np.arange(-b, b + 1) for b in bound]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    vectors = points @ own
    norms = np.sqrt(_square(vectors))
    far = norms[:, None] / lengths
    chosen = (far < 1.0 + tolerances.ltol) & (far > 1.0 / (1.0 + tolerances.ltol))
    a, b, c = (np.flatnonzero(chosen[:, axis]) for axis in range(3))
    if not (len(a) and len(b) and len(c)):
        return None
    unit = vectors / np.maximum(norms, 1e-300)[:, None]
    alpha, beta, gamma = _angles(target)
    close = tolerances.angle_tol
    bc = np.abs(_between(unit[b], unit[c]) - alpha) <= close
    ac = np.abs(_between(unit[a], unit[c]) - beta) <= close
    ab = np.abs(_between(unit[a], unit[b]) - gamma) <= close
    i, j = np.nonzero(ab)
    pair, k = np.nonzero(ac[i] & bc[j])
    bases = np.stack((points[a[i[pair]]], points[b[j[pair]]], points[c[k]]), 1).astype(float)
    bases = bases[np.abs(np.abs(_determinant(bases)) - 1.0) < 0.5]
    return bases if len(bases) else None


def _square(vectors: Array) -> Array:
    """Return squared lengths; four times as fast as a sum over an axis of three."""
    return np.einsum("...i,...i->...", vectors, vectors)


def _all_three(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether all three entries of the last axis hold."""
    return mask[..., 0] & mask[..., 1] & mask[..., 2]


def _between(u: Array, v: Array) -> Array:
    return np.degrees(np.arccos(np.clip(u @ v.T, -1.0, 1.0)))


def _determinant(m: Array) -> Array:
    return np.linalg.det(m) if len(m) else np.zeros(0)


def _angles(matrix: Array) -> Array:
    """Return alpha, beta, gamma in degrees of lattices ``[..., 3, 3]``."""
    unit = matrix / np.sqrt((matrix**2).sum(-1, keepdims=True))
    cosines = unit[..., (1, 0, 0), :] * unit[..., (2, 2, 1), :]
    return np.degrees(np.arccos(np.clip(cosines.sum(-1), -1.0, 1.0)))


def _mean_lattices(aligned: Array, target: Array) -> Array:
    """Return the standard matrices ``[M, 3, 3]`` of the mean lengths and angles."""
    lengths = (np.sqrt(_square(aligned)) + np.sqrt(_square(target))) / 2.0
    radians = np.radians((_angles(aligned) + _angles(target)) / 2.0)
    cos, sin = np.cos(radians), np.sin(radians)
    x = (cos[:, 0] * cos[:, 1] - cos[:, 2]) / (sin[:, 0] * sin[:, 1])
    x = np.clip(x, -1.0, 1.0)
    out = np.zeros((len(aligned), 3, 3))
    out[:, 0, 0], out[:, 0, 2] = sin[:, 1], cos[:, 1]
    out[:, 1, 0], out[:, 1, 1] = -sin[:, 0] * x, sin[:, 0] * np.sqrt(1.0 - x * x)
    out[:, 1, 2], out[:, 2, 2] = cos[:, 0], 1.0
    return out * lengths[..., None]


def _reciprocal(matrix: Array) -> Array:
    """Return the lengths ``[..., 3]`` of the reciprocal vectors, without 2 pi."""
    return np.sqrt((np.linalg.inv(matrix) ** 2).sum(-2))


def _nearest(
    gap: Array,
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    n: int,
    mean: Array,
    reach: Array,
) -> tuple[Array, Array]:
    """Return squared distances ``[C, n, n]`` and vectors ``[C, n, n, 3]`` between nearest images, for C candidates.

    Args:
        gap: Fractional vectors from the sites of the second crystal to those of the first, ``[C, P, 3]``.
        rows: Sites of the second crystal ``[P]``.
        columns: Sites of the first, of the same species, ``[P]``.
        n: Number of sites.
        mean: Mean lattices ``[C, 3, 3]``.
        reach: Twice the largest displacement ``[C, 1]``; pairs beyond it along a reduced axis cost `_FAR`.
    """
    basis = _reduced_bases(mean)
    inside = gap @ (mean @ np.linalg.inv(basis))
    inside -= np.round(inside)
    near = _all_three(np.abs(inside) <= (reach * _reciprocal(basis))[:, None])
    vector = inside @ basis
    square = _square(vector)
    # A vector shorter than half of the shortest lattice vector has no shorter image.
    images = _IMAGES @ basis  # [C, 27, 3]
    shortest = np.partition(_square(images), 1, axis=1)[:, 1]
    which, pair = np.nonzero(near & (square > shortest[:, None] / 4.0))
    if len(which):
        every = vector[which, pair][:, None] + images[which]
        squares = _square(every)
        pick = squares.argmin(1)
        place = np.arange(len(pick))
        vector[which, pair], square[which, pair] = every[place, pick], squares[place, pick]
    cost = np.full((len(gap), n, n), _FAR)
    vectors = np.zeros((len(gap), n, n, 3))
    cost[:, rows, columns] = np.where(near, square, _FAR)
    vectors[:, rows, columns] = vector
    return cost, vectors


def _reduced_bases(lattices: Array) -> Array:
    """Return reduced bases ``[C, 3, 3]``; equal lattices, as symmetric crystals have many, are reduced once."""
    known: dict[bytes, list[list[float]]] = {}
    found = []
    for key, lattice in zip(np.round(lattices, 9), lattices, strict=True):
        text = key.tobytes()
        if text not in known:
            known[text] = lll(lattice.tolist())
        found.append(known[text])
    return np.array(found)


def _assigned(cost: Array, vectors: Array, unit: Array, largest: bool) -> float:
    """Return the least displacement of C candidates, sites assigned to sites at the least total square."""
    n = cost.shape[1]
    chosen = cost.argmin(
        -1
    )  # where every row has a nearest column of its own, that is the best assignment
    clash = (np.sort(chosen, axis=1) != np.arange(n)).any(1)
    for k in np.flatnonzero(clash):
        chosen[k] = linear_sum_assignment(cost[k])[1]
    place = np.arange(len(cost))[:, None], np.arange(n)[None], chosen
    moves = vectors[place]
    squares = _square(moves - moves.mean(1, keepdims=True))
    value = np.sqrt(squares.max(1) if largest else squares.mean(1)) / unit
    return float(np.where((cost[place] < _FAR).all(1), value, math.inf).min())
