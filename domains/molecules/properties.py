r"""Properties of molecules: what generation can be asked for, as conditions of a network.

A condition is two numbers per molecule, the standardised value and whether it is given,

    (z, 1) with z = (value - mean) / std over the training data,   (0, 0) where nothing is known or wished,

so any subset of the properties may be given, and a molecule of the training data may lack some. A property is a column
of the data (of a table, or of QM9), or one that RDKit computes from the graph: `COMPUTED`.

| name | unit | source |
|---|---|---|
| mu | debye | QM9: dipole moment |
| alpha | bohr^3 | QM9: polarisability |
| homo, lumo, gap | hartree | QM9: frontier orbitals (B3LYP/6-31G(2df,p)) |
| r2 | bohr^2 | QM9: electronic spatial extent |
| zpve | hartree | QM9: zero point energy |
| cv | cal / (mol K) | QM9: heat capacity at 298 K |
| qed | 0 to 1 | RDKit: drug-likeness |
| logp | | RDKit: octanol-water partition, by atoms |
| tpsa | angstrom^2 | RDKit: polar surface |
| weight | dalton | RDKit: mean molecular weight |

Reference: Ho, Salimans, arXiv:2207.12598 (guidance without a classifier); Hoogeboom et al., arXiv:2203.17003, section
5.3 (QM9's properties as conditions); Bickerton et al., Nature Chemistry 2012 (QED); Wildman, Crippen, J. Chem. Inf.
Comput. Sci. 1999 (logP).
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import expected, unknown

if TYPE_CHECKING:
    from rdkit import Chem

    from sciflow.streams import Streams

COMPUTED = ("qed", "logp", "tpsa", "weight")
"""What RDKit computes."""
MEASURED = ("mu", "alpha", "homo", "lumo", "gap", "r2", "zpve", "cv")
"""What QM9 has."""


def compute(name: str, mol: Chem.Mol) -> float:
    """Return a property of `COMPUTED` of a sanitised molecule.

    Raises:
        SciflowError: The name is unknown.
    """
    from rdkit.Chem import QED, Crippen, Descriptors, rdMolDescriptors

    functions: dict[str, Callable[[Any], float]] = {
        "qed": QED.qed,
        "logp": Crippen.MolLogP,  # pyright: ignore[reportAttributeAccessIssue]
        "tpsa": rdMolDescriptors.CalcTPSA,
        "weight": Descriptors.MolWt,  # pyright: ignore[reportAttributeAccessIssue]
    }
    if name not in functions:
        raise unknown("property", name, functions)
    return float(functions[name](mol))


def computed(name: str, mols: Sequence[Chem.Mol]) -> np.ndarray:
    """Return a property of `COMPUTED` of raw molecules, float64 ``[M]``; NaN where one is not valid."""
    from . import validity

    values = np.full(len(mols), np.nan)
    for k, mol in enumerate(mols):
        clean = validity.sanitized(validity.raw(mol))
        if clean is not None:
            values[k] = compute(name, clean)
    return values


def column(
    name: str, mols: Sequence[Chem.Mol], rows: Sequence[Mapping[str, str]], source: str
) -> np.ndarray:
    """Return a property of data: the column of its table, else computed.

    Args:
        name: Name of a column, in any case, or of `COMPUTED`.
        mols: Raw molecules.
        rows: Row of the table for each, by column; empty for files that are no table.
        source: Where they come from, for messages.

    Returns:
        Values float64 ``[M]``, NaN where a row has no number.

    Raises:
        SciflowError: There is no such column, or no number in it.
    """
    found = {key.lower(): key for key in (rows[0] if rows else {})}
    if name.lower() not in found:
        if name in COMPUTED:
            return computed(name, mols)
        numeric = [key for key in found if rows and math.isfinite(_number(rows[0][found[key]]))]
        raise unknown(f"{source}: property", name, {*numeric, *COMPUTED})
    values = np.array([_number(row[found[name.lower()]]) for row in rows])
    if not np.isfinite(values).any():
        first = rows[0][found[name.lower()]]
        raise expected(f"{source}: column {name}", first, "a number in at least one row")
    return values


def _number(text: str | None) -> float:
    try:
        value = float(text or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def table(path: str | Path) -> list[dict[str, str]]:
    """Return the rows of a ``.csv`` file by column, blank ones left out, as `files.read` counts them."""
    path = Path(path)
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        return list(_rows(csv.reader(file)))


def _rows(lines: Iterator[list[str]]) -> Iterator[dict[str, str]]:
    header = [name.strip().lower() for name in next(lines, [])]
    for line in lines:
        if line:
            yield dict(zip(header, [*line, *[""] * len(header)], strict=False))


@dataclass(frozen=True)
class Scale:
    """How a property is spread over the training data.

    Args:
        mean: Mean.
        std: Standard deviation.
        low: Smallest value.
        high: Largest value.
    """

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, values: np.ndarray) -> Scale:
        """Measure the known values.

        Raises:
            SciflowError: There are none, or all are equal: then there is nothing to learn.
        """
        known = values[np.isfinite(values)].astype(np.float64)
        if not len(known) or not known.std() > 0:
            got = f"{len(known)} equal values" if len(known) else "no value"
            raise expected(f"condition {name}", got, "numbers that differ among the molecules")
        return cls(*(float(f(known)) for f in (np.mean, np.std, np.min, np.max)))


@dataclass(frozen=True)
class Conditions:
    """The properties that a model can be asked for.

    Args:
        scales: Scale of each, by name.
    """

    scales: Mapping[str, Scale] = field(default_factory=dict)

    @classmethod
    def of(cls, properties: Mapping[str, np.ndarray]) -> Conditions:
        """Measure the properties of training data, float64 ``[M]`` each."""
        return cls({name: Scale.of(name, values) for name, values in properties.items()})

    @classmethod
    def from_config(cls, config: Mapping[str, Mapping[str, float]]) -> Conditions:
        """Make what `config` described."""
        return cls({name: Scale(**scale) for name, scale in config.items()})

    def config(self) -> dict[str, dict[str, float]]:
        """Plain values from which `from_config` makes it again."""
        return {name: asdict(scale) for name, scale in self.scales.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the properties."""
        return tuple(self.scales)

    def null(self) -> dict[str, float]:
        """Value of each condition that says "not given"."""
        return dict.fromkeys(self.scales, 0.0)

    def show(self, values: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
        """Return the conditions of some molecules.

        Args:
            values: Properties float ``[count]``, NaN where unknown; missing ones are not given.
            count: Number of molecules.

        Returns:
            For each property float32 ``[count, 2]``: standardised value, and 1 where it is given.
        """
        shown = {}
        for name, scale in self.scales.items():
            value = values.get(name)
            if value is None:
                shown[name] = torch.zeros(count, 2)
                continue
            z = (value.double() - scale.mean) / scale.std
            known = z.isfinite()
            shown[name] = torch.stack([torch.where(known, z, 0.0), known.double()], 1).float()
        return shown

    def wish(self, wishes: Mapping[str, Any], streams: Streams) -> dict[str, Tensor]:
        """Return the conditions that a user wishes.

        Args:
            wishes: Property to value; a list is dealt out in turn, sample i takes value i modulo their number.
            streams: Random streams of the batch, whose numbers are those of the samples.

        Raises:
            SciflowError: A value is no number, or lies outside those of the training data.
        """
        values = {}
        for name, wish in wishes.items():
            scale = self.scales[name]
            many = (
                list(wish) if isinstance(wish, Sequence) and not isinstance(wish, str) else [wish]
            )
            for value in many:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise expected(f"option {name}", value, "a number, or a list of numbers")
                if not scale.low <= value <= scale.high:
                    known = f"a number from {scale.low:.4g} to {scale.high:.4g}"
                    raise expected(f"option {name}", value, f"{known}, as in the training data")
            if not many:
                raise expected(f"option {name}", wish, "a number, or a list of numbers")
            turn = (streams.index.cpu() % len(many)).long()
            values[name] = torch.tensor([float(v) for v in many], dtype=torch.float64)[turn]
        device = streams.index.device
        return {k: x.to(device) for k, x in self.show(values, len(streams)).items()}


__all__ = ["COMPUTED", "MEASURED", "Conditions", "Scale", "column", "compute", "computed", "table"]
