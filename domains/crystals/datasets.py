"""The public data sets of the field, by name, with the split of CDVAE: ``perov5``, ``mp20``, ``carbon24``, ``mpts52``.

The files are not part of the package. Put them into the folder named by the environment variable SCIFLOW_DATA, or its
subfolder ``crystals``, as ``perov_5_train.csv`` and so on (``.gz`` allowed); ``perov5:train``, ``perov5:val`` and
``perov5:test`` name the sides of the split, ``perov5`` all three.

Where only a part of MP-20's training file is at hand, call it ``mp_20_train_subset.csv.gz``: it is taken where the
whole is missing, and `is_subset` says so.

Reference: Perov-5: Castelli et al., Energy Environ. Sci. 5, 5814 and 9034, 2012; Carbon-24: Pickard, AIRSS data for
carbon at 10 GPa, Materials Cloud, 2020; MP-20 and MPTS-52: Jain et al., The Materials Project, APL Mater. 1, 011002,
2013 (CC BY 4.0); the splits: Xie et al., arXiv:2110.06197, and Jiao et al., arXiv:2309.04475.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sciflow.adapter import Read
from sciflow.errors import SciflowError, expected, unknown

from . import cif, files
from .crystal import Crystal

SPLITS = ("train", "val", "test", "all")
NAMES = {"perov5": "perov_5", "mp20": "mp_20", "carbon24": "carbon_24", "mpts52": "mpts_52"}
URL = "https://github.com/jiaor17/DiffCSP/tree/main/data"


@dataclass(frozen=True)
class Table:
    """A data set with its properties.

    Attributes:
        crystals: The crystals, in the order of the files.
        properties: Numbers by column, one per crystal, NaN where there is none.
        skipped: (row, text, reason) of what could not be read.
    """

    crystals: list[Crystal]
    properties: dict[str, list[float]]
    skipped: list[tuple[int, str, str]] = field(default_factory=list)


def is_name(text: str) -> bool:
    """True for ``perov5``, ``perov5:train`` and the like."""
    return text.partition(":")[0] in NAMES


def paths(name: str) -> list[Path]:
    """Return the files of a data set.

    Args:
        name: ``<set>`` or ``<set>:<train|val|test|all>``.

    Raises:
        SciflowError: The name is unknown, or a file is missing.
    """
    kind, _, split = name.partition(":")
    if kind not in NAMES:
        raise unknown("data set", kind, NAMES)
    split = split or "all"
    if split not in SPLITS:
        raise unknown(f"split of {kind}", split, SPLITS)
    return [_find(NAMES[kind], side) for side in (SPLITS[:3] if split == "all" else (split,))]


def is_subset(name: str) -> bool:
    """True where a file of the data set is a part of the published one."""
    return any("subset" in path.name for path in paths(name))


def read(name: str, progress: Callable[[int], object] | None = None) -> Read:
    """Return the crystals of a data set.

    Args:
        name: As for `paths`.
        progress: Called now and then with the number of crystals since the last call.
    """
    found = table(name, progress)
    return Read(found.crystals, found.skipped)


def table(name: str, progress: Callable[[int], object] | None = None) -> Table:
    """Return a data set with every column that holds numbers.

    Args:
        name: As for `paths`.
        progress: Called now and then with the number of crystals since the last call.

    Raises:
        SciflowError: The name is unknown, a file is missing, or nothing in it can be read.
    """
    crystals: list[Crystal] = []
    skipped: list[tuple[int, str, str]] = []
    columns: dict[str, list[float]] = {}
    count = 0
    for count, row in enumerate(_rows(name), 1):
        try:
            crystal = cif.parse(row["cif"])
        except SciflowError as error:
            skipped.append((count, row["cif"][:60], str(error)))
            continue
        for key in row:
            if key and key not in columns and not key.startswith("cif"):
                columns[key] = [math.nan] * len(crystals)
        for key, values in columns.items():
            values.append(_number(row.get(key)))
        crystals.append(crystal)
        if progress is not None and count % 500 == 0:
            progress(500)
    if progress is not None:
        progress(count % 500)
    if not crystals:
        raise expected(name, f"{len(skipped)} rows, none readable", "crystals")
    numbers = {key: values for key, values in columns.items() if not all(map(math.isnan, values))}
    return Table(crystals, numbers, skipped)


def _rows(name: str) -> Iterator[dict[str, str]]:
    for path in paths(name):
        yield from files.rows(path)


def _number(text: str | None) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan


def _find(stem: str, side: str) -> Path:
    root = os.environ.get("SCIFLOW_DATA")
    names = [
        f"{stem}_{side}{middle}.csv{end}" for middle in ("", "_subset") for end in (".gz", "")
    ]
    for folder in (Path(root), Path(root) / "crystals") if root else ():
        for name in names:
            if (folder / name).is_file():
                return folder / name
    wanted = f"a folder with {names[1]}"
    raise expected(
        "SCIFLOW_DATA", root or "nothing", wanted, f"download {stem}/{side}.csv from {URL}"
    )
