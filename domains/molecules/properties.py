r"""Properties of molecules: what generation can be asked for, as conditions of a network.

A property is a column of the data (of a table, or of QM9), or one that RDKit computes from the graph: `COMPUTED`. How a
network is shown it: `sciflow.conditions`.

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

Reference: Bickerton et al., Nature Chemistry 2012 (QED); Wildman, Crippen, J. Chem. Inf. Comput. Sci. 1999 (logP).
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciflow.errors import expected, unknown

if TYPE_CHECKING:
    from rdkit import Chem


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


__all__ = ["COMPUTED", "MEASURED", "column", "compute", "computed", "table"]
