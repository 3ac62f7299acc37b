r"""Predictions that need no training: what a model of crystal structures must beat.

Each is given the composition of a target (and where it says so, its lattice), never its coordinates:

    substitution   the crystal of the library with the nearest composition, its elements replaced
    prototype      the ideal cubic perovskite for A B X3, a fair coin between A and B
    copy           a random crystal of the library with as many sites, the species shuffled over them
    scatter        the **true** lattice of the target, coordinates uniform

Compositions are near where elements of equal count are: the distance of two compositions is the least over all
pairings of sum_e n_e (|chi_e - chi_f| + |r_e - r_f|) / sum_e n_e, in Pauling's electronegativity and Slater's radius in
angstrom. The volume of what is predicted is that of a linear fit over elements, V / N = sum_e x_e v_e.

Substitution may or may not use library crystals of the very composition of the target. Where a data set holds every
composition in two arrangements (Perov-5), such a twin is never the target itself, and to leave it out uses the split:
say which was done.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sciflow.errors import expected
from sciflow.streams import Streams

from . import elements
from .crystal import Crystal

Prediction = list[Crystal]
"""The candidates for one target, best first; empty where the baseline has none."""

_SITES = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
_ANIONS = frozenset(map(elements.atomic_number, "N P O S Se Te F Cl Br I H".split()))


# What an element without a table value is taken to have.
def _filled(values: tuple[float, ...], default: float) -> NDArray[np.float64]:
    return np.nan_to_num(np.array((default, *values)), nan=default)


_CHI = _filled(elements.ELECTRONEGATIVITIES, 1.5)
_RADIUS = _filled(elements.RADII, 1.5)


@dataclass(frozen=True, eq=False)
class VolumeFit:
    """Volume per site as a linear function of the composition.

    Args:
        volumes: Volume per atom of each element in angstrom^3, by atomic number, ``[119]``.
    """

    volumes: NDArray[np.floating]

    @classmethod
    def of(cls, library: Sequence[Crystal], ridge: float = 1.0) -> VolumeFit:
        """Fit by least squares, drawn towards the mean volume with the weight of `ridge` crystals."""
        shares = np.zeros((len(library), len(_CHI)))
        for k, crystal in enumerate(library):
            np.add.at(shares[k], crystal.species, 1.0 / len(crystal))
        target = np.array([crystal.volume / len(crystal) for crystal in library])
        mean = float(target.mean())
        normal = shares.T @ shares + ridge * np.eye(shares.shape[1])
        return cls(np.linalg.solve(normal, shares.T @ target + ridge * mean))

    def __call__(self, species: NDArray[np.integer]) -> float:
        """Return the volume in angstrom^3 of a cell with these atoms."""
        return max(float(self.volumes[np.asarray(species, np.int64)].sum()), 1.0 * len(species))


@dataclass(frozen=True, eq=False)
class _Entry:
    """A crystal of the library: its elements by descending count, and the counts."""

    crystal: Crystal
    kinds: NDArray[np.int64]
    key: tuple[tuple[int, int], ...]


class Substitution:
    """Nearest-composition substitution from a library.

    Args:
        library: Crystals to copy.
        equal: Also use crystals of the very composition of the target.
    """

    def __init__(self, library: Sequence[Crystal], equal: bool = True) -> None:
        if not library:
            raise expected("library", "no crystals", "at least one")
        self.equal = equal
        self.volume = VolumeFit.of(library)
        self._groups: dict[tuple[int, ...], list[_Entry]] = defaultdict(list)
        for crystal in library:
            counts = elements.reduced(crystal.composition)
            kinds, pattern = _pattern(counts)
            self._groups[pattern].append(_Entry(crystal, kinds, tuple(counts.items())))
        self._kinds = {
            pattern: np.stack([entry.kinds for entry in group])
            for pattern, group in self._groups.items()
        }

    def predict(self, target: Crystal, k: int = 1) -> Prediction:
        """Return the k nearest crystals with the elements of a target in their place; fewer where there are fewer."""
        return self.nearest(target.composition, k)

    def nearest(
        self, composition: Mapping[int, int], k: int = 1, same_size: bool = False
    ) -> Prediction:
        """Return the k nearest crystals with other elements in their place; fewer where there are fewer.

        Args:
            composition: Number of atoms in the cell by atomic number.
            k: How many.
            same_size: Leave out cells of another number of sites, which hold a multiple of the composition.
        """
        counts = elements.reduced(composition)
        kinds, pattern = _pattern(counts)
        group = self._groups.get(pattern, [])
        if not group:
            return []
        key = tuple(counts.items())
        # A cell of another size is the same crystal at best: one of the same size goes first.
        size = sum(composition.values())
        sized = np.array([len(entry.crystal) == size for entry in group])
        spare = np.where(sized, 0.0, np.inf if same_size else 0.05)
        allowed = np.array([self.equal or entry.key != key for entry in group])
        weights = np.array(pattern, float) / sum(pattern)
        library = self._kinds[pattern]
        apart = np.abs(_CHI[kinds][:, None] - _CHI[library][:, None]) + np.abs(
            _RADIUS[kinds][:, None] - _RADIUS[library][:, None]
        )  # [L, m, m]: element of the target, element of the library
        same = np.array(pattern)[:, None] == np.array(pattern)[None]
        cost = np.where(same, apart * weights[:, None], 1e6)
        bound = np.where(allowed, cost.min(-1).sum(-1) + spare, np.inf)
        best: list[tuple[float, int, NDArray[np.intp]]] = []
        for place in np.argsort(bound, kind="stable"):
            if not np.isfinite(bound[place]) or (len(best) == k and bound[place] >= best[-1][0]):
                break
            rows, columns = linear_sum_assignment(cost[place])
            total = float(cost[place][rows, columns].sum() + spare[place])
            best = sorted([*best, (total, int(place), columns)], key=lambda item: item[:2])[:k]
        return [self._replaced(group[place], kinds, columns) for _, place, columns in best]

    def _replaced(
        self, entry: _Entry, kinds: NDArray[np.int64], columns: NDArray[np.intp]
    ) -> Crystal:
        source = entry.crystal
        table = np.zeros(len(_CHI), np.int16)
        table[entry.kinds[columns]] = kinds
        species = table[source.species]
        volume = source.volume * self.volume(species) / self.volume(source.species)
        return Crystal(species, source.coordinates, source.lattice).scaled(volume)


def _pattern(counts: dict[int, int]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Return the elements by descending count, and these counts: the same for all compositions of a kind."""
    order = sorted(counts, key=lambda z: (-counts[z], z))
    return np.array(order), tuple(counts[z] for z in order)


def substitution(
    targets: Sequence[Crystal], library: Sequence[Crystal], k: int = 1, equal: bool = True
) -> list[Prediction]:
    """Predict by nearest-composition substitution (see `Substitution`)."""
    model = Substitution(library, equal)
    return [model.predict(target, k) for target in targets]


def prototype(
    targets: Sequence[Crystal], library: Sequence[Crystal], k: int = 1, seed: int = 0
) -> list[Prediction]:
    """Predict the ideal cubic perovskite for compositions A B X3, a fair coin between A and B.

    Args:
        targets: Crystals of which the composition is used.
        library: Crystals for the fit of volumes.
        k: Candidates; the second of two is the other arrangement.
        seed: Of the coin.
    """
    volume = VolumeFit.of(library)
    coins = Streams.range(seed, 0, len(targets), "prototype").uniform((1,))[:, 0] < 0.5
    found: list[Prediction] = []
    for target, heads in zip(targets, coins.tolist(), strict=True):
        species = _perovskite(elements.reduced(target.composition))
        if species is None:
            found.append([])
            continue
        orders = [species, [species[1], species[0], *species[2:]]]
        side = volume(np.array(species)) ** (1.0 / 3.0)
        both = [Crystal(np.array(order), _SITES, side * np.eye(3)) for order in orders]
        found.append((both if heads else both[::-1])[:k])
    return found


def _perovskite(counts: dict[int, int]) -> list[int] | None:
    """Return A, B, X, X, X of a composition; None where it has no two cations and three anions."""
    anions = [z for z, n in counts.items() if z in _ANIONS for _ in range(n)]
    cations = [z for z, n in counts.items() if z not in _ANIONS for _ in range(n)]
    return [*cations, *anions] if len(anions) == 3 and len(cations) == 2 else None


def copy(
    targets: Sequence[Crystal], library: Sequence[Crystal], k: int = 1, seed: int = 0
) -> list[Prediction]:
    """Predict random crystals of the library with as many sites, the species of the target shuffled over them."""
    volume = VolumeFit.of(library)
    sizes: dict[int, list[Crystal]] = defaultdict(list)
    for crystal in library:
        sizes[len(crystal)].append(crystal)
    streams = Streams.range(seed, 0, len(targets), "copy")
    longest = max(map(len, targets), default=1)
    # One draw for each candidate, so that neither k nor the longest target moves the numbers of the others.
    draws = [
        (streams.uniform((1,)).numpy(), streams.uniform((longest,)).numpy()) for _ in range(k)
    ]
    found: list[Prediction] = []
    for place, target in enumerate(targets):
        group = sizes.get(len(target), [])
        made: Prediction = []
        for choice, order in draws if group else ():
            source = group[int(choice[place, 0] * len(group))]
            species = target.species[np.argsort(order[place, : len(target)])]
            made.append(
                Crystal(species, source.coordinates, source.lattice).scaled(volume(species))
            )
        found.append(made)
    return found


def scatter(targets: Sequence[Crystal], k: int = 1, seed: int = 0) -> list[Prediction]:
    """Predict the true lattice with uniform coordinates: what chance alone matches."""
    longest = max(map(len, targets), default=1)
    streams = Streams.range(seed, 0, len(targets), "scatter")
    draws = [streams.uniform((longest, 3), torch.float64).numpy() for _ in range(k)]
    return [
        [Crystal(target.species, draw[place, : len(target)], target.lattice) for draw in draws]
        for place, target in enumerate(targets)
    ]
