"""Crystals in and out of files.

    suffix                  reads                                          writes
    .cif                    every data block                               one block each, P 1
    .csv                    column `cif`                                   formula, sites, volume, cif
    .extxyz .xyz            every frame with a `Lattice`                   one frame each
    .vasp .poscar           POSCAR, also several one after the other       the same, direct coordinates
    .safetensors            encoded crystals                               -
    a folder                every such file in it, by name                 -

Each may be read with `.gz` behind it; files named POSCAR or CONTCAR are known without a suffix. What cannot be read is
named with its reason and counted, never fatal; a file in which nothing can be read is one error.
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import shlex
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import IO, cast

import numpy as np

from sciflow.adapter import Read
from sciflow.errors import SciflowError, expected, unknown

from . import cif, elements, validity
from .crystal import Crystal
from .structures import Crystals

SUFFIXES = (".cif", ".csv", ".extxyz", ".xyz", ".vasp", ".poscar")
"""File types that are read and written."""
_COLUMNS = ("formula", "sites", "volume", "cif")

# A row: the text it is shown by, and the crystal or why there is none.
_Entry = tuple[str, "Crystal | SciflowError"]


def read(
    path: str | Path, raw: bool = False, progress: Callable[[int], object] | None = None
) -> Read:
    """Read crystals.

    Args:
        path: A file or a folder of them.
        raw: Keep what is no valid structure (atoms too close, no volume), as evaluation must.
        progress: Called with the number of crystals since the last call, about every hundred.

    Returns:
        `Crystal` objects, and (row, text, reason) of what was left out.

    Raises:
        SciflowError: The file cannot be opened, is of another kind, or nothing in it can be read.
    """
    path = Path(path)
    objects: list[Crystal] = []
    skipped: list[tuple[int, str, str]] = []
    row = told = 0
    try:
        for row, (text, found) in enumerate(_entries(path), 1):
            reason = (
                str(found)
                if isinstance(found, SciflowError)
                else ""
                if raw
                else validity.problem(found)
            )
            if reason:
                skipped.append((row, text[:60], reason))
            elif isinstance(found, Crystal):
                objects.append(found)
            if progress is not None and row - told >= 100:
                progress(row - told)
                told = row
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise SciflowError(f"{path}: {reason}, expected a readable file of crystals") from error
    if progress is not None and row > told:
        progress(row - told)
    if not objects:
        if not skipped:
            raise SciflowError(f"{path}: got no crystals, expected at least one")
        number, text, reason = skipped[0]
        raise SciflowError(
            f"{path}: none of {len(skipped)} can be read, expected crystals; number {number}, {text!r}: {reason}"
        )
    return Read(objects, skipped)


def rows(path: str | Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a table, each a mapping of its columns.

    Raises:
        SciflowError: The table has no column `cif`.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with _open(Path(path)) as file:
        reader = csv.DictReader(file)
        names = {name.strip().lower(): name for name in reader.fieldnames or () if name}
        if "cif" not in names:
            shown = ", ".join(map(str, reader.fieldnames or ()))[:200]
            raise expected(f"{path}: columns", shown, "one named cif", "rename it")
        for row in reader:
            row["cif"] = row.get(names["cif"]) or ""
            yield row


# -- reading -----------------------------------------------------------------------------------


def _entries(path: Path) -> Iterator[_Entry]:
    if path.is_dir():
        files = sorted(
            p for p in path.iterdir() if p.is_file() and _kind(p) in (*SUFFIXES, ".safetensors")
        )
        if not files:
            raise expected(
                str(path), "a folder without them", f"files of crystals: {', '.join(SUFFIXES)}"
            )
        for file in files:
            for text, found in _entries(file):
                yield f"{file.name} {text}".strip(), found
        return
    kind = _kind(path)
    if kind == ".safetensors":
        yield from ((c.formula, c) for c in Crystals.load(path).to_crystals())
    elif kind == ".csv":
        yield from _table(path)
    elif kind in (".cif", ".extxyz", ".xyz", ".vasp", ".poscar"):
        with _open(path) as file:
            text = file.read()
        parse = _cifs if kind == ".cif" else _frames if "xyz" in kind else _poscars
        yield from parse(text)
    else:
        raise unknown(f"{path}: file type", kind, SUFFIXES)


def _attempt(text: str, make: Callable[[], Crystal]) -> _Entry:
    try:
        return text, make()
    except SciflowError as error:
        return text, error
    except (ValueError, IndexError) as error:
        return text, SciflowError(f"broken: {error}")


def _cifs(text: str) -> Iterator[_Entry]:
    for name, body in cif.blocks(text):
        if "_atom_site_" in body.lower() or "_cell_length_a" in body.lower():
            yield _attempt(name, lambda body=body: cif.parse_block(body))


def _table(path: Path) -> Iterator[_Entry]:
    for row in rows(path):
        text = next(cif.blocks(row["cif"]), (row["cif"][:40], ""))[0]
        yield _attempt(text, lambda row=row: cif.parse(row["cif"]))


def _frames(text: str) -> Iterator[_Entry]:
    lines = text.splitlines()
    k = 0
    while k < len(lines):
        if not lines[k].strip():
            k += 1
            continue
        try:
            count = int(lines[k])
        except ValueError:
            yield lines[k], SciflowError("broken: a frame must begin with its number of sites")
            return
        comment = lines[k + 1] if k + 1 < len(lines) else ""
        body = lines[k + 2 : k + 2 + count]
        yield _attempt(
            comment, lambda body=body, comment=comment, count=count: _frame(body, comment, count)
        )
        k += 2 + count


def _frame(body: list[str], comment: str, count: int) -> Crystal:
    """Read one frame of an extended XYZ file."""
    try:
        words = shlex.split(comment)
    except ValueError:
        words = comment.split()
    keys = {name.lower(): value for name, _, value in (word.partition("=") for word in words)}
    if "lattice" not in keys:
        raise SciflowError("no Lattice: not a crystal")
    if keys.get("pbc") and "f" in keys["pbc"].lower():
        raise SciflowError(f"not periodic in all directions: pbc {keys['pbc']}")
    if count < 1 or len(body) < count:
        raise SciflowError(f"broken: {len(body)} of {count} sites")
    lattice = np.array(keys["lattice"].split(), float).reshape(3, 3)
    layout = keys.get("properties", "species:S:1:pos:R:3").split(":")
    starts: dict[str, int] = {}
    column = 0
    for name, width in zip(layout[0::3], layout[2::3], strict=True):
        starts[name.lower()] = column
        column += int(width)
    if "species" not in starts or "pos" not in starts:
        raise SciflowError("broken: Properties without species or pos")
    cells = [line.split() for line in body]
    species = [_species(row[starts["species"]]) for row in cells]
    places = np.array([row[starts["pos"] : starts["pos"] + 3] for row in cells], float)
    return Crystal(np.array(species), _fractional(places, lattice), lattice)


def _poscars(text: str) -> Iterator[_Entry]:
    lines = text.splitlines()
    k = 0
    while k < len(lines) and (k == 0 or lines[k].strip()):
        start, end = k, [len(lines)]
        yield _attempt(
            lines[start].strip(), lambda start=start, end=end: _poscar(lines, start, end)
        )
        k = end[0]


def _poscar(lines: list[str], start: int, end: list[int]) -> Crystal:
    """Read one POSCAR that begins at a line; `end` becomes the line after it."""
    scale = float(lines[start + 1].split()[0])
    lattice = np.array([lines[start + k].split()[:3] for k in (2, 3, 4)], float)
    lattice *= scale if scale > 0 else (-scale / abs(np.linalg.det(lattice))) ** (1 / 3)
    k = start + 5
    symbols = lines[k].split()
    if symbols and symbols[0].isdigit():
        symbols = lines[start].split()  # VASP 4: the elements may stand in the comment
    else:
        k += 1
    counts = [int(word) for word in lines[k].split()]
    if len(symbols) != len(counts):
        raise SciflowError("broken: POSCAR without the symbols of its elements")
    k += 1
    if lines[k].strip().lower().startswith("s"):
        k += 1
    cartesian = lines[k].strip().lower().startswith(("c", "k"))
    count = sum(counts)
    end[0] = k + 1 + count
    places = np.array([line.split()[:3] for line in lines[k + 1 : k + 1 + count]], float).reshape(
        -1, 3
    )
    if len(places) < count or count == 0:
        raise SciflowError(f"broken: {len(places)} of {count} sites")
    if cartesian:
        places = _fractional(places * (scale if scale > 0 else 1.0), lattice)
    species = [
        z for symbol, n in zip(symbols, counts, strict=True) for z in [_species(symbol)] * n
    ]
    return Crystal(np.array(species), places, lattice)


def _species(word: str) -> int:
    symbol = re.match(r"[A-Z][a-z]?", word)
    if word.isdigit():
        return elements.atomic_number(elements.symbol(int(word)))
    if symbol is None:
        raise SciflowError(f"unknown element {word!r}")
    try:
        return elements.atomic_number(symbol.group())
    except SciflowError:
        raise SciflowError(f"unknown element {word!r}") from None


def _fractional(places: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    if abs(np.linalg.det(lattice)) < 1e-9:
        raise SciflowError("the lattice is flat")
    return places @ np.linalg.inv(lattice)


def _kind(path: Path) -> str:
    bare = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    if bare.name.upper().startswith(("POSCAR", "CONTCAR")):
        return ".poscar"
    return bare.suffix.lower()


def _open(path: Path) -> IO[str]:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    return cast("IO[str]", opened(path, "rt", encoding="utf-8-sig", errors="replace", newline=""))


# -- writing -----------------------------------------------------------------------------------


class Writer:
    """A file of crystals that grows batch by batch; what was appended stays, whatever happens.

    Opening asks whether the file may be written; a file already there is overwritten by the first batch, not sooner.

    Args:
        path: A file ending in one of `SUFFIXES`.

    Raises:
        SciflowError: The suffix is unknown or the path cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._kind = self.path.suffix.lower()
        if self._kind not in SUFFIXES:
            raise unknown(f"{path}: file type", self._kind, SUFFIXES)
        self._file: IO[str] | None = None
        self.count = 0
        with _refusal(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._new = not self.path.exists()
            with open(self.path, "a"):
                pass

    def append(self, objects: Sequence[object]) -> None:
        """Write some crystals (or pymatgen structures, or ASE atoms).

        Raises:
            SciflowError: The disk refuses.
        """
        text = "".join(text_of(Crystal.of(thing), self._kind) for thing in objects)
        with _refusal(self.path):
            if self._file is None:
                self._file = open(self.path, "w", encoding="utf-8", newline="")  # noqa: SIM115
                if self._kind == ".csv":
                    text = ",".join(_COLUMNS) + "\n" + text
            self._file.write(text)
            self._file.flush()
            os.fsync(self._file.fileno())
        self.count += len(objects)

    def go_on(self, mark: int, count: int) -> None:
        """Keep the first `mark` bytes of the file, `count` samples; the next batch comes behind them.

        Raises:
            SciflowError: The file is gone, or cannot be written.
        """
        with _refusal(self.path):
            self._file = open(self.path, "r+", encoding="utf-8", newline="")  # noqa: SIM115
            self._file.truncate(mark)
            self._file.seek(0, os.SEEK_END)
        self.count = count

    def close(self) -> None:
        """Close the file; one that was made here and never written to is removed."""
        if self._file is not None:
            self._file.close()
        elif self._new:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write(objects: Sequence[object], path: str | Path) -> None:
    """Write crystals to a file.

    Raises:
        SciflowError: The suffix is unknown or the path cannot be written.
    """
    with Writer(path) as out:
        out.append(objects)


def text_of(crystal: Crystal, kind: str) -> str:
    """Return a crystal as text of a file type, e.g. ``".cif"``."""
    if kind == ".cif":
        return cif.write(crystal)
    if kind == ".csv":
        out = StringIO()
        line = (crystal.formula, len(crystal), f"{crystal.volume:.6f}", cif.write(crystal))
        csv.writer(out, lineterminator="\n").writerow(line)
        return out.getvalue()
    if kind in (".extxyz", ".xyz"):
        cell = " ".join(f"{x:.10g}" for x in crystal.lattice.ravel().tolist())
        lines = [str(len(crystal)), f'Lattice="{cell}" Properties=species:S:1:pos:R:3 pbc="T T T"']
        for z, place in zip(
            crystal.species.tolist(), (crystal.wrapped @ crystal.lattice).tolist(), strict=True
        ):
            lines.append(f"{elements.symbol(z):2} " + " ".join(f"{x:16.10f}" for x in place))
        return "\n".join(lines) + "\n"
    order = np.argsort(crystal.species, kind="stable")
    counts = crystal.composition
    lines = [
        crystal.formula,
        "1.0",
        *(" ".join(f"{x:18.12f}" for x in row) for row in crystal.lattice.tolist()),
    ]
    lines += [
        " ".join(map(elements.symbol, counts)),
        " ".join(map(str, counts.values())),
        "direct",
    ]
    lines += [" ".join(f"{x:16.12f}" for x in place) for place in crystal.wrapped[order].tolist()]
    return "\n".join(lines) + "\n"


@contextmanager
def _refusal(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error of the user."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise SciflowError(
            f"{path}: cannot be written ({reason}), expected a writable file; name another"
        ) from error
