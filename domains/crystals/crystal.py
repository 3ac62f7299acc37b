"""One crystal: species, fractional coordinates and a lattice matrix, light enough for lists of many thousands.

A site with fractional coordinates f lies at f L, where the rows of L are the lattice vectors in angstrom. Nothing is
checked but shapes: what a model generated is kept as it is, and judged by `validity`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sciflow.errors import expected, need

from . import elements, reduction

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

# Grams per cm^3 in one u per angstrom^3.
_DENSITY = 1.66053906892


@dataclass(frozen=True, eq=False)
class Crystal:
    """One crystal with N sites, every site occupied by one element.

    Args:
        species: Atomic numbers, integers ``[N]``.
        coordinates: Fractional coordinates, ``[N, 3]``; any cell, not necessarily the first.
        lattice: Lattice vectors as rows in angstrom, ``[3, 3]``.

    Raises:
        SciflowError: The shapes do not fit.
    """

    species: NDArray[np.int16]
    coordinates: NDArray[np.float64]
    lattice: NDArray[np.float64]

    def __post_init__(self) -> None:
        species = np.array(self.species, np.int16).reshape(-1)
        coordinates = np.array(self.coordinates, np.float64)
        lattice = np.array(self.lattice, np.float64)
        if coordinates.shape != (len(species), 3) or lattice.shape != (3, 3):
            shapes = (species.shape, coordinates.shape, lattice.shape)
            raise expected("crystal", shapes, "species [N], coordinates [N, 3], lattice [3, 3]")
        for name, value in (
            ("species", species),
            ("coordinates", coordinates),
            ("lattice", lattice),
        ):
            value.flags.writeable = False
            object.__setattr__(self, name, value)

    # -- making one ----------------------------------------------------------------------------

    @classmethod
    def from_parameters(
        cls,
        species: Sequence[str] | ArrayLike,
        coordinates: ArrayLike,
        lengths: Sequence[float],
        angles: Sequence[float] = (90.0, 90.0, 90.0),
    ) -> Crystal:
        """Make a crystal from lengths (angstrom) and angles (degrees); species are symbols or numbers.

        Raises:
            SciflowError: A symbol is unknown, or the shapes do not fit.
        """
        words = list(np.asarray(species).reshape(-1))
        numbers = [elements.atomic_number(str(x)) if isinstance(x, str) else int(x) for x in words]
        return cls(
            np.array(numbers, np.int16),
            np.array(coordinates, np.float64).reshape(-1, 3),
            standard_matrix(lengths, angles),
        )

    @classmethod
    def of(cls, thing: Any) -> Crystal:
        """Return a crystal from a pymatgen ``Structure``, an ASE ``Atoms`` or a crystal.

        Raises:
            SciflowError: A site is partially occupied, a species is no element, or the thing has no lattice.
        """
        if isinstance(thing, Crystal):
            return thing
        if hasattr(thing, "frac_coords") and hasattr(thing, "lattice"):
            if not thing.is_ordered:
                raise expected(
                    "structure",
                    thing.formula,
                    "every site occupied by one element",
                    "order it first",
                )
            numbers = []
            for site in thing:
                kind = getattr(site.specie, "element", site.specie)
                numbers.append(elements.atomic_number(kind.symbol))
            return cls(np.array(numbers, np.int16), thing.frac_coords, thing.lattice.matrix)
        if hasattr(thing, "get_atomic_numbers") and hasattr(thing, "cell"):
            cell = np.asarray(thing.cell, np.float64)
            if not all(thing.pbc) or abs(np.linalg.det(cell)) < 1e-9:
                raise expected(
                    "atoms", str(thing.pbc), "three lattice vectors, periodic in all directions"
                )
            numbers = thing.get_atomic_numbers()
            return cls(numbers, np.linalg.solve(cell.T, thing.get_positions().T).T, cell)
        raise expected(
            "crystal", type(thing).__name__, "a Crystal, a pymatgen Structure or an ASE Atoms"
        )

    # -- leaving -------------------------------------------------------------------------------

    def to_structure(self) -> Structure:
        """Return the pymatgen ``Structure``; coordinates stay in the cell they are in."""
        from pymatgen.core import Lattice, Structure

        species = [elements.symbol(int(z)) for z in self.species]
        return Structure(Lattice(self.lattice), species, self.coordinates)

    def to_ase(self) -> Atoms:
        """Return the ASE ``Atoms``."""
        ase = need("ase", "crystals")
        return ase.Atoms(
            numbers=self.species.astype(int),
            scaled_positions=self.coordinates,
            cell=self.lattice,
            pbc=True,
        )

    # -- what it is ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.species)

    def __repr__(self) -> str:
        return f"Crystal({self.formula or 'empty'}, {len(self)} sites, {self.volume:.1f} A^3)"

    @property
    def lengths(self) -> NDArray[np.float64]:
        """Lengths a, b, c in angstrom."""
        return np.sqrt((self.lattice**2).sum(1))

    @property
    def angles(self) -> NDArray[np.float64]:
        """Angles alpha, beta, gamma in degrees."""
        a, b, c = self.lattice
        return np.array([_angle(b, c), _angle(a, c), _angle(a, b)])

    @property
    def volume(self) -> float:
        """Volume in angstrom^3."""
        return abs(float(np.linalg.det(self.lattice)))

    @property
    def density(self) -> float:
        """Density in g/cm^3; infinite for a flat lattice."""
        volume = self.volume
        return elements.mass(self.species) / volume * _DENSITY if volume > 0 else math.inf

    @property
    def composition(self) -> dict[int, int]:
        """Number of atoms in the cell, by atomic number."""
        return elements.composition(self.species)

    @property
    def formula(self) -> str:
        """Formula in lowest terms, e.g. ``SrTiO3``; empty without atoms."""
        return elements.formula(elements.reduced(self.composition))

    @property
    def wrapped(self) -> NDArray[np.float64]:
        """Fractional coordinates in [0, 1)."""
        inside = self.coordinates - np.floor(self.coordinates)
        return np.where(inside < 1.0, inside, 0.0)

    @property
    def cartesian(self) -> NDArray[np.float64]:
        """Cartesian coordinates in angstrom."""
        return self.coordinates @ self.lattice

    # -- the same crystal otherwise ------------------------------------------------------------

    def niggli(self) -> Crystal:
        """Return the crystal in its Niggli-reduced cell, standard orientation, coordinates in [0, 1)."""
        matrix = np.array(reduction.niggli(self.lattice.tolist()))
        moved = Crystal(
            self.species, self.coordinates @ (self.lattice @ np.linalg.inv(matrix)), matrix
        )
        return Crystal(self.species, moved.wrapped, standard_matrix(moved.lengths, moved.angles))

    def scaled(self, volume: float) -> Crystal:
        """Return the crystal with all lengths scaled to a volume in angstrom^3."""
        factor = (volume / self.volume) ** (1.0 / 3.0)
        return Crystal(self.species, self.coordinates, self.lattice * factor)

    def same(self, other: Crystal, atol: float = 1e-4) -> bool:
        """True where `other` has the same cell and the same sites in the same order, whatever the orientation.

        Args:
            other: A crystal.
            atol: Tolerance for lengths (angstrom), angles (degrees) and wrapped fractional coordinates.
        """
        if len(self) != len(other) or not np.array_equal(self.species, other.species):
            return False
        apart = self.coordinates - other.coordinates
        return bool(
            np.allclose(self.lengths, other.lengths, atol=atol)
            and np.allclose(self.angles, other.angles, atol=100 * atol)
            and np.all(np.abs(apart - np.round(apart)) <= atol)
        )


def standard_matrix(lengths: ArrayLike, angles: ArrayLike) -> NDArray[np.float64]:
    """Return the lattice matrix of lengths and angles with c along z, as `lattice.matrix` does for tensors."""
    a, b, c = (float(x) for x in np.asarray(lengths).reshape(-1))
    alpha, beta, gamma = (math.radians(float(x)) for x in np.asarray(angles).reshape(-1))
    cos_alpha, cos_beta = math.cos(alpha), math.cos(beta)
    sin_alpha, sin_beta = math.sin(alpha), math.sin(beta)
    x = (cos_alpha * cos_beta - math.cos(gamma)) / (sin_alpha * sin_beta)
    x = min(max(x, -1.0), 1.0)
    return np.array(
        [
            [a * sin_beta, 0.0, a * cos_beta],
            [-b * sin_alpha * x, b * sin_alpha * math.sqrt(1.0 - x * x), b * cos_alpha],
            [0.0, 0.0, c],
        ]
    )


def _angle(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
    product = float(u @ v)
    norms = math.sqrt(float(u @ u) * float(v @ v))
    if not norms > 0:
        return math.nan
    return math.degrees(math.acos(min(max(product / norms, -1.0), 1.0)))
