"""The vocabulary of a molecular data set: which atoms there are, with their formal charges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sciflow.errors import expected

if TYPE_CHECKING:
    from rdkit import Chem

BOND_ORDERS = (0, 1, 2, 3)
"""Bond classes: none, single, double, triple; molecules are kekulised, so there is no aromatic bond."""

# Kept here, so that training on encoded data does without rdkit.
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir "
    "Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl "
    "Mc Lv Ts Og"
)
_ELEMENTS: list[str] = [str(symbol) for symbol in _SYMBOLS.split()]
_VALENCES = {
    **dict.fromkeys("H Li F Na Cl K Br Rb Cs Fr".split(), 1),
    **dict.fromkeys("Be O Mg Ca Sr Ba Ra".split(), 2),
    **dict.fromkeys("B N Al Ga In".split(), 3),
    **dict.fromkeys("C Si Ge Sn Pb".split(), 4),
    **dict.fromkeys("P As Sb I Bi At".split(), 5),
    **dict.fromkeys("S Se Te Xe Po".split(), 6),
}

_NAME = re.compile(r"([A-Z][a-z]?)([+-]\d*)?")


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element."""
    return _ELEMENTS.index(symbol) + 1


def atom_name(symbol: str, charge: int = 0) -> str:
    """Return the name of an atom type: ``"N"``, ``"N+"``, ``"O-"``, ``"Fe+2"``."""
    if charge == 0:
        return symbol
    sign = "+" if charge > 0 else "-"
    return symbol + sign + (str(abs(charge)) if abs(charge) > 1 else "")


@dataclass(frozen=True)
class Vocabulary:
    """Atom types in the order of their labels 0 .. K - 1.

    Args:
        names: Names of the types, e.g. ``("C", "N", "O", "F", "N+")``.

    Raises:
        SciflowError: A name is not an element symbol with an optional charge, or stands twice.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.names:
            match = _NAME.fullmatch(name)
            if match is None or match.group(1) not in _ELEMENTS:
                raise expected(
                    "atom type", name, "an element symbol with an optional charge, such as N or O-"
                )
        if len(set(self.names)) != len(self.names) or not self.names:
            raise expected("vocabulary", self.names, "at least one atom type, each once")

    @classmethod
    def of(cls, mols: Iterable[Chem.Mol]) -> Vocabulary:
        """Find the atom types of a data set: neutral before charged, by frequency; dummy atoms are none."""
        counts = Counter(
            (atom.GetSymbol(), atom.GetFormalCharge())
            for mol in mols
            for atom in mol.GetAtoms()
            if atom.GetAtomicNum()
        )
        order = sorted(counts, key=lambda kind: (kind[1] != 0, -counts[kind], kind))
        return cls(tuple(atom_name(*kind) for kind in order))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def kinds(self) -> tuple[tuple[str, int], ...]:
        """(element symbol, formal charge) of each type."""
        kinds = []
        for name in self.names:
            symbol, charge = _NAME.fullmatch(name).groups()  # type: ignore[union-attr]
            sign = {"+": 1, "-": -1}.get((charge or "")[:1], 0)
            kinds.append((symbol, sign * int((charge or "+1")[1:] or 1)))
        return tuple(kinds)

    @cached_property
    def _labels(self) -> dict[tuple[str, int], int]:
        return {kind: label for label, kind in enumerate(self.kinds)}

    def label(self, symbol: str, charge: int) -> int | None:
        """Label of an atom, or None if the vocabulary lacks it."""
        return self._labels.get((symbol, charge))

    @cached_property
    def valences(self) -> tuple[int, ...]:
        """Largest normal valence of each type, in bonds, 0 for metals without one.

        A charged atom has that of the element with as many electrons.
        """
        numbers = [max(_ELEMENTS.index(symbol) - charge, 0) for symbol, charge in self.kinds]
        return tuple(_VALENCES.get(_ELEMENTS[number], 0) for number in numbers)

    @property
    def charged(self) -> bool:
        """True where a type carries a charge."""
        return any(charge for _, charge in self.kinds)
