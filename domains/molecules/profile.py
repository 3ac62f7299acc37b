"""The profile of a set of molecular graphs: histograms of atoms, bonds, rings and sizes.

All are taken of the graphs as they are, valid or not, so that a failure cannot hide in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rdkit import Chem

from .vocabulary import atom_name

BONDS = ("single", "double", "triple")
"""Bond types of a kekulised graph, by order 1, 2, 3."""
RINGS = ("3", "4", "5", "6", "7", "8+")
"""Ring sizes that are told apart."""
LARGE_RING = 8
"""Rings of this many atoms or more are counted as large."""


@dataclass(frozen=True)
class Shape:
    """What is counted on one graph.

    Attributes:
        atoms: Name of each atom's type: `C`, `N+`.
        bonds: Order of each bond: 1, 2, 3.
        rings: Size of each ring of a smallest set of smallest rings, ascending.
        fragments: Number of connected pieces.
    """

    atoms: tuple[str, ...]
    bonds: tuple[int, ...]
    rings: tuple[int, ...]
    fragments: int

    @classmethod
    def of(cls, mol: Chem.Mol) -> Shape:
        """Count atoms, bonds, rings and pieces of a raw molecule."""
        atoms = [mol.GetAtomWithIdx(k) for k in range(mol.GetNumAtoms())]
        bonds = [mol.GetBondWithIdx(k) for k in range(mol.GetNumBonds())]
        pieces = len(Chem.GetMolFrags(mol))
        rings: Sequence[int] = ()
        if len(bonds) + pieces > len(atoms):
            rings = sorted(len(ring) for ring in Chem.GetSSSR(Chem.Mol(mol)))
        return cls(
            tuple(atom_name(atom.GetSymbol(), atom.GetFormalCharge()) for atom in atoms),
            tuple(int(bond.GetBondTypeAsDouble()) for bond in bonds),
            tuple(rings),
            pieces,
        )

    @property
    def charged(self) -> bool:
        """Whether an atom carries a formal charge."""
        return any("+" in name or "-" in name for name in self.atoms)


@dataclass(frozen=True)
class Profile:
    """Counts over a set of graphs.

    Attributes:
        count: Number of graphs.
        atoms: Number of atoms of each type.
        bonds: Number of bonds of each type, keys `BONDS`.
        rings: Number of rings of each size, keys `RINGS`.
        sizes: Number of graphs of each number of atoms.
        large: Number of graphs with a ring of at least `LARGE_RING` atoms.
        charged: Number of graphs with a charged atom.
    """

    count: int
    atoms: Counter[str]
    bonds: Counter[str]
    rings: Counter[str]
    sizes: Counter[int]
    large: int
    charged: int

    @classmethod
    def of(cls, shapes: Iterable[Shape]) -> Profile:
        """Sum up the counts of graphs."""
        shapes = list(shapes)
        return cls(
            len(shapes),
            Counter(name for shape in shapes for name in shape.atoms),
            Counter(BONDS[order - 1] for shape in shapes for order in shape.bonds),
            Counter(
                str(size) if size < LARGE_RING else RINGS[-1]
                for shape in shapes
                for size in shape.rings
            ),
            Counter(len(shape.atoms) for shape in shapes),
            sum(bool(shape.rings) and shape.rings[-1] >= LARGE_RING for shape in shapes),
            sum(shape.charged for shape in shapes),
        )


@dataclass(frozen=True)
class Histogram:
    """One histogram of the generated graphs beside that of the reference.

    Attributes:
        name: `atoms`, `bonds`, `rings` or `sizes`.
        unit: What a bar says: share of all atoms, of all bonds, rings per molecule, share of
            molecules.
        bins: Names of the bars.
        generated: Heights.
        reference: Heights for the reference; `None` without one.
        distance: Total variation, half the sum of |p - q| over both histograms scaled to sum 1;
            `None` without a reference or where one of them is empty.
    """

    name: str
    unit: str
    bins: tuple[str, ...]
    generated: tuple[float, ...]
    reference: tuple[float, ...] | None
    distance: float | None


def histograms(generated: Profile, reference: Profile | None) -> tuple[Histogram, ...]:
    """Return the histograms of atoms, bonds, rings and sizes, in this order."""
    both = [generated] if reference is None else [generated, reference]
    atoms = Counter[str]()
    for profile in both:
        atoms.update(profile.atoms)
    # Neutral before charged, the frequent ones first.
    charged = {name: "+" in name or "-" in name for name in atoms}
    kinds = sorted(atoms, key=lambda name: (charged[name], -atoms[name], name))
    known = [size for profile in both for size in profile.sizes]
    sizes = range(min(known), max(known) + 1) if known else range(0)
    return (
        _histogram("atoms", "share of atoms", kinds, both, per_graph=False),
        _histogram("bonds", "share of bonds", BONDS, both, per_graph=False),
        _histogram("rings", "rings per molecule", RINGS, both, per_graph=True),
        _histogram("sizes", "share of molecules", sizes, both, per_graph=True),
    )


def _histogram(
    name: str, unit: str, bins: Iterable[str | int], profiles: list[Profile], per_graph: bool
) -> Histogram:
    bins = tuple(bins)
    heights: list[tuple[float, ...]] = []
    shares: list[list[float]] = []
    for profile in profiles:
        counts = getattr(profile, name)
        total = sum(counts[key] for key in bins)
        over = profile.count if per_graph else total
        heights.append(tuple(counts[key] / max(over, 1) for key in bins))
        if total:
            shares.append([counts[key] / total for key in bins])
    distance = None
    if len(shares) == 2:
        distance = 0.5 * sum(abs(p - q) for p, q in zip(*shares, strict=True))
    reference = heights[1] if len(heights) == 2 else None
    names = tuple(str(key) for key in bins)
    return Histogram(name, unit, names, heights[0], reference, distance)
