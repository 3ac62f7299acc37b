"""The distances of generated molecules to a reference, each with its noise floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from . import fcd, nspdk
from .reference import Reference

Progress = Callable[[str, int, int], object]
"""Called with the name of a stage, the number done so far and the number in all."""


@dataclass(frozen=True)
class Distance:
    """One distance.

    Attributes:
        value: The distance; `None` where it cannot be taken, see `note`.
        over: Number of molecules it was taken over.
        floor: The distance of as many real molecules in the place of the generated ones.
        note: Why there is no value, or how the floor was taken.
    """

    value: float | None
    over: int
    floor: float | None
    note: str


@dataclass(frozen=True)
class Distances:
    """Distances of several overlapping sets to one reference; shared work is done once.

    Args:
        reference: The molecules to compare with.
        train: Training molecules, of which the floors are drawn.
        device: Torch device for ChemNet.
        progress: Told about the long stages.
    """

    reference: Reference | None
    train: Reference | None = None
    device: str = "cpu"
    progress: Progress | None = None
    _rows: dict[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    _floors: dict[tuple[str, int], float] = field(default_factory=dict, repr=False)

    def nspdk(self, embedding: nspdk.Embedding) -> Distance:
        """Return the biased squared NSPDK MMD; see the module `nspdk` for its bias."""
        n = embedding.count
        if (missing := self._missing(n, 1)) or self.reference is None:
            return Distance(None, n, None, missing)
        target = self.reference.embedding
        if self.train is None:
            floor = nspdk.floor(target, n, target.count)
            note = "floor: expected for as many molecules of the reference's own distribution"
        else:
            note, size = self._drawn(n)
            if ("nspdk", size) not in self._floors:
                drawn = nspdk.embed(self.train.sample(size)[0])
                self._floors["nspdk", size] = nspdk.mmd(drawn, target)
            floor = self._floors["nspdk", size]
        return Distance(nspdk.mmd(embedding, target), n, floor, note)

    def fcd(self, smiles: list[str]) -> Distance:
        """Return the Frechet ChemNet Distance of canonical SMILES."""
        n = len(smiles)
        if (missing := self._missing(n, 2)) or self.reference is None:
            return Distance(None, n, None, missing)
        target = self._moments("ChemNet, reference", self.reference.smiles)
        value = fcd.frechet(self._moments("ChemNet, generated", smiles, cache=False), target)
        if self.train is None:
            return Distance(value, n, None, "no floor: no training set was given")
        note, size = self._drawn(n)
        if size < 2:
            return Distance(value, n, None, "no floor: the training set is too small")
        if ("fcd", size) not in self._floors:
            drawn = self._moments("ChemNet, floor", self.train.sample(size)[1])
            self._floors["fcd", size] = fcd.frechet(drawn, target)
        return Distance(value, n, self._floors["fcd", size], note)

    def _missing(self, n: int, least: int) -> str:
        """Return why a distance over `n` molecules cannot be taken; empty if it can."""
        if self.reference is None:
            return "no reference was given"
        if len(self.reference.smiles) < least:
            return f"needs {least} valid molecules in the reference"
        return "" if n >= least else f"needs {least} molecules, there are {n}"

    def _drawn(self, n: int) -> tuple[str, int]:
        """Return the note on the floor for `n` molecules, and how many there are to draw."""
        size = min(n, len(self.train.smiles) if self.train is not None else 0)
        return f"floor: {size} training molecules", size

    def _moments(self, stage: str, smiles: list[str], cache: bool = True) -> fcd.Moments:
        done = 0
        total = len(set(smiles) - self._rows.keys())

        def step(count: int) -> None:
            nonlocal done
            done += count
            if self.progress is not None:
                self.progress(stage, done, total)

        return fcd.moments(smiles, self.device, cache, self._rows, step)


def embeddings(
    first: dict[int, Chem.Mol], second: dict[int, Chem.Mol], shared: set[int]
) -> tuple[nspdk.Embedding, nspdk.Embedding]:
    """Return the NSPDK embeddings of two sets, what they share computed once.

    Args:
        first: Molecules of one set by their place in the sample.
        second: Molecules of the other.
        shared: Places at which both hold the same molecule.
    """
    common = nspdk.embed(mol for k, mol in first.items() if k in shared)
    return (
        common + nspdk.embed(mol for k, mol in first.items() if k not in shared),
        common + nspdk.embed(mol for k, mol in second.items() if k not in shared),
    )
