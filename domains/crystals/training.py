"""Training data: crystals from a file or a data set, encoded, with the properties that are asked for.

A property is a number in the data, or one that the crystal itself has: `COMPUTED`. How a network is shown it:
`sciflow.conditions`.

| name | unit | source |
|---|---|---|
| formation_energy_per_atom | eV per atom | MP-20: energy of formation |
| band_gap | eV | MP-20: band gap (PBE) |
| e_above_hull | eV per atom | MP-20: energy above the hull; at most .08 in these data |
| heat_ref, dir_gap, ind_gap | eV | Perov-5: heat of formation, gaps |
| density | g/cm^3 | computed |
| kinds | | computed: number of different elements |
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciflow.errors import expected, unknown
from sciflow.state import State

from .arrangement import Arrangement
from .crystal import Crystal
from .labels import labels_of
from .structures import Crystals, encode

if TYPE_CHECKING:
    from .adapter import Crystals as Adapter

COMPUTED: dict[str, Callable[[Crystal], float]] = {
    "density": lambda crystal: crystal.density,
    "kinds": lambda crystal: float(len(crystal.composition)),
}
"""What a crystal itself has."""
MEASURED = ("formation_energy_per_atom", "band_gap", "e_above_hull", "heat_ref")
"""What the data sets have."""


class CrystalDataset:
    """Encoded crystals as training data of an adapter's process.

    Args:
        crystals: The crystals; properties that they lack are not given.
        adapter: The adapter, which decides the form of the state.
        left_out: Number of crystals that are not among them, by reason.
    """

    def __init__(
        self, crystals: Crystals, adapter: Adapter, left_out: Mapping[str, int] | None = None
    ) -> None:
        self.left_out = dict(left_out or {})
        self.process, self.conditions = adapter.process, adapter.conditions
        arranged = Arrangement.of(crystals, adapter.inversion, adapter.prototype)
        self.ranks, self.coordinates = arranged.ranks, arranged.coordinates
        self.labels = labels_of(arranged.species, adapter.numbers)
        matrices = crystals.matrix(torch.float64)
        self.lattice = adapter.cells.encode(matrices, self.labels, self.ranks > 0).float()
        self.properties = crystals.properties

    def __len__(self) -> int:
        return len(self.ranks)

    def batch(self, index: Tensor) -> State:
        """Return some crystals as a clean state, padded to the largest of them."""
        ranks = self.ranks[index]
        n = int((ranks > 0).sum(1).max())
        places = self.coordinates[index, :n]
        known = {name: values[index] for name, values in self.properties.items()}
        shown = self.conditions.show(known, len(index))
        lattice = self.lattice[index]
        state = self.process.show(self.labels[index, :n], ranks[:, :n], places, lattice)
        return state.with_condition(**shown)


def load(
    path: str | Path,
    niggli: bool = False,
    max_sites: int | None = None,
    conditions: Sequence[str] = (),
) -> tuple[Crystals, Counter[str]]:
    """Load encoded crystals, or read and encode crystals; return them, and the number left out by reason.

    Args:
        path: An encoded ``.safetensors`` file, a file of structures, or the name of a data set (``perov5:train``).
        niggli: Take the Niggli-reduced cell of each.
        max_sites: Largest number of sites; larger crystals are left out.
        conditions: Names of properties to take along.

    Raises:
        SciflowError: Nothing can be read, or the data lack a property.
    """
    if str(path).endswith(".safetensors"):
        loaded, left_out = Crystals.load(path), Counter[str]()
        columns = {k: v.tolist() for k, v in loaded.properties.items()}
        crystals = loaded.to_crystals() if set(conditions) - set(columns) else []
        return _with(loaded, columns, crystals, conditions, str(path)), left_out
    from . import datasets, files

    if datasets.is_name(str(path)):
        table = datasets.table(str(path))
        objects, skipped, columns = table.crystals, table.skipped, table.properties
    else:
        read = files.read(path)
        objects, skipped, columns = read.objects, read.skipped, {}
    found = encode(objects, niggli=niggli, max_sites=max_sites)
    kept = [Crystal.of(objects[k]) for k in found.kept]
    columns = {name: [values[k] for k in found.kept] for name, values in columns.items()}
    chosen = _with(found.crystals, columns, kept, conditions, str(path))
    return chosen, Counter(reason for *_, reason in skipped) + found.skipped


def _with(
    crystals: Crystals,
    columns: Mapping[str, Sequence[float]],
    objects: Sequence[Crystal],
    conditions: Sequence[str],
    source: str,
) -> Crystals:
    """Return crystals with the named properties and no others."""
    chosen = {}
    for name in conditions:
        if name in columns:
            values = list(columns[name])
            if not any(map(math.isfinite, values)):
                raise expected(
                    f"{source}: {name}", "no number", "a number for at least one crystal"
                )
        elif name in COMPUTED:
            values = [COMPUTED[name](crystal) for crystal in objects]
        else:
            raise unknown(f"{source}: property", name, {*columns, *COMPUTED})
        chosen[name] = torch.tensor(values, dtype=torch.float32)
    return Crystals(
        crystals.species, crystals.coordinates, crystals.lattice, crystals.sizes, chosen
    )


__all__ = ["COMPUTED", "MEASURED", "CrystalDataset", "load"]
