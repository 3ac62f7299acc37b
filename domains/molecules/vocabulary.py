"""The vocabulary of a molecular data set: which atoms there are, with their formal charges."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from rdkit import Chem

from sciflow.errors import expected

BOND_ORDERS = (0, 1, 2, 3)
"""Bond classes: none, single, double, triple; molecules are kekulised, so there is no aromatic bond."""

_NAME = re.compile(r"([A-Z][a-z]?)([+-]\d*)?")


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
        table = Chem.GetPeriodicTable()
        for name in self.names:
            match = _NAME.fullmatch(name)
            try:
                table.GetAtomicNumber(match.group(1) if match else name)
            except RuntimeError:
                raise expected(
                    "atom type", name, "an element symbol with an optional charge, such as N or O-"
                ) from None
        if len(set(self.names)) != len(self.names) or not self.names:
            raise expected("vocabulary", self.names, "at least one atom type, each once")

    @classmethod
    def of(cls, mols: Iterable[Chem.Mol]) -> Vocabulary:
        """Find the atom types of a data set: neutral before charged, by frequency."""
        counts = Counter(
            (atom.GetSymbol(), atom.GetFormalCharge()) for mol in mols for atom in mol.GetAtoms()
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
        """Largest normal valence of each type, in bonds (a charged atom has that of its isoelectronic neighbour)."""
        table = Chem.GetPeriodicTable()
        valences = []
        for symbol, charge in self.kinds:
            number = table.GetAtomicNumber(symbol) - charge
            known = [v for v in table.GetValenceList(max(number, 1)) if v >= 0]
            valences.append(max(known, default=0))
        return tuple(valences)

    @property
    def charged(self) -> bool:
        """True where a type carries a charge."""
        return any(charge for _, charge in self.kinds)


def neutral(names: Sequence[str]) -> Vocabulary:
    """Return the vocabulary of the neutral types among `names`, in their order."""
    return Vocabulary(tuple(name for name in names if "+" not in name and "-" not in name))
