"""The public data sets of the field, by name, with the split of CDVAE: ``perov5``, ``mp20``, ``carbon24``, ``mpts52``.

The files are not part of the package: they are downloaded once (see `sciflow.runtime.downloads`), or taken from the
folder named by the environment variable SCIFLOW_DATA, or its subfolder ``crystals``, as ``perov_5_train.csv`` and so
on (``.gz`` allowed); ``perov5:train``, ``perov5:val`` and ``perov5:test`` name the sides of the split, ``perov5`` all
three.

Where only a part of MP-20's training file is at hand, call it ``mp_20_train_subset.csv.gz``: it is taken where the
whole is missing, and `is_subset` says so.

Reference: Perov-5: Castelli et al., Energy Environ. Sci. 5, 5814 and 9034, 2012; Carbon-24: Pickard, AIRSS data for
carbon at 10 GPa, Materials Cloud, 2020; MP-20 and MPTS-52: Jain et al., The Materials Project, APL Mater. 1, 011002,
2013 (CC BY 4.0); the splits: Xie et al., arXiv:2110.06197, and Jiao et al., arXiv:2309.04475.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sciflow.adapter import Read
from sciflow.errors import SciflowError, expected, unknown
from sciflow.runtime import downloads

from . import cif, files
from .crystal import Crystal

SPLITS = ("train", "val", "test", "all")
NAMES = {"perov5": "perov_5", "mp20": "mp_20", "carbon24": "carbon_24", "mpts52": "mpts_52"}
URL = (
    "https://raw.githubusercontent.com/jiaor17/DiffCSP/"
    "7121d159826efa2ba9500bf299250d96da37f146/data"
)
CHECKSUMS = {
    "perov_5_train": "sha256:6144a97ead4828a781a1c269c56fedc34b65945977c6433a055a720c47bf77f6",
    "perov_5_val": "sha256:efb9c832756439747f093e03a35daf073fcc9a5fc43a8a5292addee2f3d7ce90",
    "perov_5_test": "sha256:2511340f0e08b25699e9386e100ae0b30cd9b9c8a5b29622c3533644e04c95fa",
    "mp_20_train": "sha256:9c5a34b3684ff4b86d87a86c1c42298d1d28322ea0f03059d9e80ab6a2b729a7",
    "mp_20_val": "git:6070ef70053415f6436eddc30f2f4137fcac19eb",
    "mp_20_test": "git:133f5697e1d3fd94f9bf0ab6a3b6c5054d325955",
    "carbon_24_train": "git:0c6428f80e99040cbade289a3168590b226e6c76",
    "carbon_24_val": "git:883bdfde2a30bc55536e31e96e9f1f648be2ebd8",
    "carbon_24_test": "git:1bf4df81530defe1e103ac080b3ebce127ca2bff",
}
"""What the files of DiffCSP's repository have, and where."""


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
        name: ``<set>`` or ``<set>:<train|val|test|all>``; ``<set>:train+val`` are two sides.

    Raises:
        SciflowError: The name is unknown, or a file is missing.
    """
    kind, _, split = name.partition(":")
    if kind not in NAMES:
        raise unknown("data set", kind, NAMES)
    sides = SPLITS[:3] if split in ("", "all") else tuple(split.split("+"))
    for side in sides:
        if side not in SPLITS[:3]:
            raise unknown(f"split of {kind}", side, SPLITS)
    return [_find(NAMES[kind], side) for side in sides]


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
    names = [
        f"{stem}_{side}{middle}.csv{end}" for middle in ("", "_subset") for end in (".gz", "")
    ]
    name = f"{stem}_{side}"
    remote = downloads.Remote(f"{URL}/{stem}/{side}.csv", CHECKSUMS.get(name, ""), f"{name}.csv")
    return downloads.find(names, "crystals", remote)
