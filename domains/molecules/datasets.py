"""The public data sets of the field, by name, with the split of GDSS: ``qm9``, ``zinc250k``.

The files are not part of the package: they are downloaded once (see `sciflow.runtime.downloads`), or taken from the
folder named by the environment variable SCIFLOW_DATA, or its subfolder ``molecules``:

* qm9 (CC0): ``qm9_smiles_props.csv.gz`` or MoleculeNet's ``qm9.csv``; held-out indices ``gdss_valid_idx_qm9.json``
  or ``valid_idx_qm9.json``;
* zinc250k (ZINC, free for research): ``zinc250k_smiles.csv.gz`` or ``250k_rndm_zinc_drugs_clean_3.csv``; held-out
  indices ``gdss_valid_idx_zinc250k.json`` or ``valid_idx_zinc250k.json``.

``qm9:train`` and ``qm9:test`` name the two sides of the split, ``qm9:train-even`` and ``qm9:train-odd`` the halves of
the first by the parity of the index: what judges a model must not have seen what guides it. GDSS's QM9 indices are gdb
numbers (1 .. 133885), those of ZINC250k row numbers (from 0).

Reference: Ramakrishnan et al., Quantum chemistry structures and properties of 134 kilo molecules, Sci. Data 2014;
Irwin et al., ZINC, J. Chem. Inf. Model. 2012; the split: Jo, Lee, Hwang, arXiv:2202.02514 (``data/valid_idx_*.json``
in their code).
"""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rdkit import Chem, rdBase

from sciflow.errors import unknown
from sciflow.runtime import downloads

SPLITS = ("train", "test", "all", "train-even", "train-odd")


@dataclass(frozen=True)
class Source:
    """Where a data set lies.

    Args:
        files: Accepted names of the table with a column ``smiles``.
        split: Accepted names of the list of held-out indices.
        key: Columns that hold the index, in order of preference; without one the row number from 0 counts.
        url: Where the table comes from.
        split_url: Where the split comes from.
    """

    files: tuple[str, ...]
    split: tuple[str, ...]
    key: tuple[str, ...]
    url: str
    split_url: str


_GDSS = "https://raw.githubusercontent.com/harryjo97/GDSS/master/data/"

SOURCES = {
    "qm9": Source(
        ("qm9_smiles_props.csv.gz", "qm9.csv", "qm9.csv.gz"),
        ("gdss_valid_idx_qm9.json", "valid_idx_qm9.json"),
        ("idx", "mol_id"),
        "https://deepchemdata.s3-us-west-1.amazonaws.com/datasets/qm9.csv",
        _GDSS + "valid_idx_qm9.json",
    ),
    "zinc250k": Source(
        ("zinc250k_smiles.csv.gz", "250k_rndm_zinc_drugs_clean_3.csv"),
        ("gdss_valid_idx_zinc250k.json", "valid_idx_zinc250k.json"),
        (),
        "https://raw.githubusercontent.com/aspuru-guzik-group/chemical_vae/master/models/"
        "zinc_properties/250k_rndm_zinc_drugs_clean_3.csv",
        _GDSS + "valid_idx_zinc250k.json",
    ),
}


def is_name(text: str) -> bool:
    """True for ``qm9``, ``qm9:train`` and the like."""
    return text.partition(":")[0] in SOURCES


def smiles(name: str) -> list[str]:
    """Return the SMILES of a data set as its file has them.

    Args:
        name: ``<set>`` or ``<set>:<split>`` with one of `SPLITS`.

    Raises:
        SciflowError: The name is unknown, or a file is missing.
    """
    return [row["smiles"].strip() for row in rows(name)]


def rows(name: str) -> list[dict[str, str]]:
    """Return the rows of a data set as its table has them, by column (see `smiles`)."""
    kind, _, split = name.partition(":")
    if kind not in SOURCES:
        raise unknown("data set", kind, SOURCES)
    split = split or "all"
    if split not in SPLITS:
        raise unknown(f"split of {kind}", split, SPLITS)
    source = SOURCES[kind]
    entries = _rows(
        downloads.find(source.files, "molecules", downloads.Remote(source.url)), source.key
    )
    if split == "all":
        return [row for _, row in entries]
    with open(
        downloads.find(source.split, "molecules", downloads.Remote(source.split_url))
    ) as file:
        listed = json.load(file)
    held_out = {int(k) for k in (listed["valid_idxs"] if isinstance(listed, dict) else listed)}
    parity = {"train-even": 0, "train-odd": 1}.get(split)
    return [
        row
        for number, row in entries
        if (number in held_out) == (split == "test") and parity in (None, number % 2)
    ]


def molecules(name: str, count: int | None = None) -> list[Chem.Mol]:
    """Return a data set as kekulised molecules without stereochemistry, unparsable rows left out.

    Args:
        name: See `smiles`.
        count: Draw so many rows at random, the same each time; None takes all.
    """
    return table(name, count)[0]


def table(name: str, count: int | None = None) -> tuple[list[Chem.Mol], list[dict[str, str]]]:
    """Return the molecules of a data set (see `molecules`) and the row of each."""
    found, kept = [], []
    chosen = rows(name)
    if count is not None:
        chosen = random.Random(0).sample(chosen, count)
    with rdBase.BlockLogs():
        for row in chosen:
            mol = Chem.MolFromSmiles(row["smiles"].strip())
            if mol is not None:
                Chem.RemoveStereochemistry(mol)
                Chem.Kekulize(mol, clearAromaticFlags=True)
                found.append(mol)
                kept.append(row)
    return found, kept


def _rows(path: Path, key: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", newline="") as file:
        reader = csv.DictReader(file)
        column = next((k for k in key if k in (reader.fieldnames or ())), None)
        for number, row in enumerate(reader):
            # MoleculeNet writes gdb_17 where others write 17.
            index = int(row[column].removeprefix("gdb_")) if column else number
            yield index, row
