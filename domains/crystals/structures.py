"""Encoded crystals: the batch of tensors from which training runs with torch alone.

M crystals with up to N sites: atomic numbers, wrapped fractional coordinates, and the lattice as lengths and angles,
which leave out the orientation in space. The order of sites is that of the source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sciflow.errors import SciflowError, expected

from . import elements, lattice
from .crystal import Crystal

FORMAT = "sciflow crystals 1"


@dataclass(frozen=True, eq=False)
class Crystals:
    """M crystals, padded to N sites.

    Args:
        species: Atomic numbers int8 ``[M, N]``, -1 on padding.
        coordinates: Fractional coordinates float32 ``[M, N, 3]`` in [0, 1), 0 on padding.
        lattice: Lengths a, b, c in angstrom and angles alpha, beta, gamma in degrees, float32 ``[M, 6]``.
        sizes: Numbers of sites int16 ``[M]``.
        properties: Numbers per crystal by name, float32 ``[M]``, NaN where unknown.
    """

    species: Tensor
    coordinates: Tensor
    lattice: Tensor
    sizes: Tensor
    properties: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        m, n = self.species.shape
        shapes = [tuple(x.shape) for x in (self.coordinates, self.lattice, self.sizes)]
        if shapes != [(m, n, 3), (m, 6), (m,)]:
            raise expected("crystals", shapes, f"{[(m, n, 3), (m, 6), (m,)]} for species {(m, n)}")

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def max_sites(self) -> int:
        """Number of sites N to which the crystals are padded."""
        return self.species.shape[1]

    @property
    def mask(self) -> Tensor:
        """True on real sites, bool ``[M, N]``."""
        return self.species >= 0

    def matrix(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the standard lattice matrices ``[M, 3, 3]`` in angstrom."""
        values = self.lattice.to(dtype)
        return lattice.matrix(values[:, :3], values[:, 3:])

    def volume_per_site(self) -> Tensor:
        """Return V / N in angstrom^3, float64 ``[M]``."""
        return lattice.volume(self.matrix(torch.float64)) / self.sizes

    def select(self, index: Tensor | slice | Sequence[int]) -> Crystals:
        """Return some of the crystals, cut to the largest of them."""
        pick = torch.as_tensor(index) if not isinstance(index, slice) else index
        sizes = self.sizes[pick]
        n = int(sizes.max()) if len(sizes) else 0
        return Crystals(
            self.species[pick, :n],
            self.coordinates[pick, :n],
            self.lattice[pick],
            sizes,
            {name: values[pick] for name, values in self.properties.items()},
        )

    def size_counts(self) -> dict[int, int]:
        """Number of crystals of each size, by size."""
        sizes, counts = self.sizes.unique(return_counts=True)
        return dict(zip(sizes.tolist(), counts.tolist(), strict=True))

    def elements(self) -> tuple[int, ...]:
        """Atomic numbers that occur, in ascending order."""
        return tuple(self.species[self.mask].unique().tolist())

    def to_crystals(self) -> list[Crystal]:
        """Return the crystals one by one."""
        matrices = self.matrix(torch.float64).numpy()
        species, coordinates = self.species.numpy(), self.coordinates.numpy()
        return [
            Crystal(species[k, :n], coordinates[k, :n], matrices[k])
            for k, n in enumerate(self.sizes.tolist())
        ]

    def to_structures(self) -> list[Any]:
        """Return pymatgen ``Structure`` objects."""
        return [crystal.to_structure() for crystal in self.to_crystals()]

    def save(self, path: str | Path) -> None:
        """Write a ``.safetensors`` file that needs torch alone to be read."""
        tensors = {
            "species": self.species,
            "coordinates": self.coordinates,
            "lattice": self.lattice,
            "sizes": self.sizes,
            **{f"properties.{name}": values for name, values in self.properties.items()},
        }
        partial = Path(f"{path}.partial")
        save_file({k: v.contiguous() for k, v in tensors.items()}, partial, {"format": FORMAT})
        partial.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> Crystals:
        """Read crystals written by `save`.

        Raises:
            SciflowError: The file is missing, truncated or of another kind.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise expected(
                str(path), str(error), "a file of encoded crystals", "encode the data again"
            ) from None
        if metadata.get("format") != FORMAT:
            raise expected(str(path), metadata.get("format"), FORMAT, "encode the data again")
        properties = {
            name.removeprefix("properties."): values
            for name, values in tensors.items()
            if name.startswith("properties.")
        }
        species, coordinates = tensors["species"], tensors["coordinates"]
        return cls(species, coordinates, tensors["lattice"], tensors["sizes"], properties)


@dataclass(frozen=True)
class Encoded:
    """Result of `encode`.

    Args:
        crystals: The crystals.
        kept: Positions in the input of those that were encoded.
        skipped: Number left out, by reason.
    """

    crystals: Crystals
    kept: tuple[int, ...]
    skipped: Counter[str] = field(default_factory=Counter)


def encode(
    objects: Iterable[Any],
    *,
    niggli: bool = False,
    max_sites: int | None = None,
    species: Collection[int] | None = None,
    properties: Mapping[str, Sequence[float]] | None = None,
    pad_to: int | None = None,
) -> Encoded:
    """Encode crystals; those that do not fit are left out, counted and named.

    Args:
        objects: Crystals, pymatgen structures or ASE atoms.
        niggli: Take the Niggli-reduced cell of each, as the literature trains on.
        max_sites: Largest number of sites; None takes all.
        species: Atomic numbers allowed; None takes all.
        properties: Numbers by name, one for each object.
        pad_to: Number of sites N to pad to; None is the largest crystal's.

    Raises:
        SciflowError: Nothing could be encoded.
    """
    rows: list[Crystal] = []
    kept: list[int] = []
    skipped: Counter[str] = Counter()
    allowed = None if species is None else set(species)
    for position, thing in enumerate(objects):
        try:
            rows.append(_fit(thing, niggli, max_sites, allowed))
            kept.append(position)
        except SciflowError as error:
            skipped[str(error)] += 1
    if not rows:
        reasons = "; ".join(f"{count} x {reason}" for reason, count in skipped.items())
        raise expected("crystals", reasons or "none", "at least one that can be encoded")
    n = pad_to or max(map(len, rows))
    numbers = np.full((len(rows), n), -1, np.int8)
    places = np.zeros((len(rows), n, 3), np.float32)
    cells = np.zeros((len(rows), 6), np.float32)
    for k, crystal in enumerate(rows):
        numbers[k, : len(crystal)] = crystal.species
        places[k, : len(crystal)] = crystal.wrapped
        cells[k, :3], cells[k, 3:] = crystal.lengths, crystal.angles
    places[places >= 1.0] = 0.0  # 0.99999999 is 1 in float32
    found = {
        name: torch.tensor([float(values[k]) for k in kept])
        for name, values in (properties or {}).items()
    }
    sizes = torch.tensor([len(crystal) for crystal in rows], dtype=torch.int16)
    atoms, coordinates, lattice = map(torch.from_numpy, (numbers, places, cells))
    return Encoded(Crystals(atoms, coordinates, lattice, sizes, found), tuple(kept), skipped)


def _fit(thing: Any, niggli: bool, max_sites: int | None, allowed: set[int] | None) -> Crystal:
    """Return the crystal of an object; the error is the reason of a skip."""
    crystal = Crystal.of(thing)
    if len(crystal) == 0:
        raise SciflowError("no sites")
    if max_sites is not None and len(crystal) > max_sites:
        raise SciflowError(f"more than {max_sites} sites")
    strange = sorted(
        set(map(int, crystal.species)) - (allowed or set(range(1, len(elements.SYMBOLS) + 1)))
    )
    if strange:
        name = (
            elements.symbol(strange[0]) if 1 <= strange[0] <= len(elements.SYMBOLS) else strange[0]
        )
        raise SciflowError(f"element {name} is not among those allowed")
    if not (np.isfinite(crystal.coordinates).all() and np.isfinite(crystal.lattice).all()):
        raise SciflowError("a coordinate or a lattice vector is not finite")
    if crystal.volume < 1e-3:
        raise SciflowError("the lattice is flat")
    return crystal.niggli() if niggli else crystal
