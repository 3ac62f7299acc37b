"""A set of real molecules to measure against, with everything asked of it computed once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

from rdkit import Chem

from sciflow.errors import expected

from . import nspdk, validity
from .profile import Profile, Shape

_SEED = 0


class Perceived(NamedTuple):
    """What RDKit sees in a molecule: canonical SMILES (`None` if refused), one piece, aromatic."""

    smiles: str | None
    connected: bool
    aromatic: bool


class Reference:
    """Real molecules: the held-out set that generated ones are compared with, or a training set.

    Args:
        mols: Raw molecules, at least one.

    Raises:
        SciflowError: There is none.
    """

    def __init__(self, mols: Sequence[Chem.Mol]) -> None:
        self.mols = list(mols)
        if not self.mols:
            raise expected("reference", "no molecules", "at least one")
        self._perceived: list[Perceived] = []

    @classmethod
    def of(cls, data: Sequence[Chem.Mol] | Reference | None) -> Reference | None:
        """Return molecules as a `Reference`; the same object where it is one already."""
        return data if data is None or isinstance(data, Reference) else cls(data)

    def __len__(self) -> int:
        return len(self.mols)

    def perceive(self, progress: Callable[[int, int], object] | None = None) -> list[Perceived]:
        """Return what RDKit sees in each molecule; slow the first time (.15 ms a molecule).

        Args:
            progress: Called with the number done and the number in all.
        """
        for k in range(len(self._perceived), len(self.mols)):
            mol = self.mols[k]
            clean = validity.sanitized(mol)
            text = None if clean is None else Chem.MolToSmiles(clean, isomericSmiles=False)
            aromatic = clean is not None and any(bond.GetIsAromatic() for bond in _bonds(clean))
            self._perceived.append(Perceived(text, validity.connected(mol), aromatic))
            if progress is not None and ((k + 1) % 1000 == 0 or k + 1 == len(self.mols)):
                progress(k + 1, len(self.mols))
        return self._perceived

    @cached_property
    def smiles(self) -> list[str]:
        """Canonical SMILES of the valid and connected molecules, in order."""
        return [p.smiles for p in self.perceive() if p.smiles is not None and p.connected]

    @cached_property
    def distinct(self) -> frozenset[str]:
        """The distinct ones of `smiles`."""
        return frozenset(self.smiles)

    @cached_property
    def profile(self) -> Profile:
        """Counts of atoms, bonds, rings and sizes."""
        return Profile.of(Shape.of(mol) for mol in self.mols)

    @cached_property
    def embedding(self) -> nspdk.Embedding:
        """Mean vector of NSPDK features."""
        return nspdk.embed(self.mols)

    @cached_property
    def ceiling(self) -> float:
        """Share that stays strictly valid when its formal charges are taken away.

        No model with a charge-free vocabulary can learn more than that from these data.
        """
        return sum(validity.strict_valid(validity.neutral(m)) for m in self.mols) / len(self.mols)

    def sample(self, n: int) -> tuple[list[Chem.Mol], list[str]]:
        """Draw valid and connected molecules at random without replacement, the same each time.

        Args:
            n: How many; all, where there are fewer. A smaller sample begins a larger one.

        Returns:
            The molecules and their SMILES.
        """
        good = [k for k, p in enumerate(self.perceive()) if p.smiles is not None and p.connected]
        random.Random(_SEED).shuffle(good)
        drawn = good[:n]
        return [self.mols[k] for k in drawn], [str(self.perceive()[k].smiles) for k in drawn]


def _bonds(mol: Chem.Mol) -> list[Chem.Bond]:
    return [mol.GetBondWithIdx(k) for k in range(mol.GetNumBonds())]
