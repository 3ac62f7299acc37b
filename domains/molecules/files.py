"""Molecules in and out of files: SMILES lists, tables and SD files.

Reading gives raw molecules (kekulised, hydrogens implicit, no stereo). A row that cannot be read
is named with its reason and counted, never fatal; a file in which nothing can be read is one
error.

    suffix       reads                            writes
    .smi .txt    first word of each line          one SMILES per line
    .csv         column `smiles`, in any case     smiles, valid, connected, atoms
    .sdf         every record, as a graph         the graph as generated, with 2-D coordinates

Each may be read with `.gz` behind it. A SMILES does not keep the order of the atoms, an SD file
does.
"""

from __future__ import annotations

import csv
import gzip
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, cast

from rdkit import Chem, rdBase

from sciflow.errors import SciflowError, unknown

from . import validity

SUFFIXES = (".smi", ".txt", ".csv", ".sdf")
"""File types that are read and written."""

# A graph without atoms in a .smi file: no SMILES, and this name. A blank line is nothing.
_EMPTY = "\tempty"
_COLUMNS = ("smiles", "valid", "connected", "atoms")
_SHOWN = 60


class Skip(NamedTuple):
    """A row that was not read: its number (from 1), its text, and why."""

    row: int
    text: str
    reason: str


@dataclass(frozen=True)
class Read:
    """Molecules read, and the rows that were not.

    Attributes:
        mols: Raw molecules, in the order of the file.
        rows: For each molecule the number of its row, from 1: the line of a `.smi` file, the row
            of a table below its header, the record of an SD file.
        skipped: The rows left out.
    """

    mols: list[Chem.Mol]
    rows: list[int]
    skipped: list[Skip]

    def __len__(self) -> int:
        return len(self.mols)

    def report(self, most: int = 5) -> str:
        """Return what was skipped and why, in a few lines; empty where nothing was."""
        if not self.skipped:
            return ""
        total = len(self.mols) + len(self.skipped)
        lines = [f"{len(self.skipped)} of {total} rows skipped"]
        lines += [f"  row {s.row}: {s.text!r}: {s.reason}" for s in self.skipped[:most]]
        if len(self.skipped) > most:
            lines.append(f"  and {len(self.skipped) - most} more")
        return "\n".join(lines)

    def reasons(self) -> Counter[str]:
        """Return how often each reason occurred."""
        return Counter(skip.reason for skip in self.skipped)


def read(
    path: str | Path, raw: bool = False, progress: Callable[[int], object] | None = None
) -> Read:
    """Read a file of molecules.

    Args:
        path: A file ending in one of `SUFFIXES`, `.gz` allowed behind it.
        raw: Keep graphs as they are written, valid or not: for the evaluation of generated
            molecules. Otherwise a row that RDKit refuses is skipped, and so is one whose hydrogens
            the graph alone cannot tell (a radical, P-H of pentavalent phosphorus).
        progress: Called with the number of rows since the last call, about every thousand rows.

    Returns:
        The raw molecules and the rows skipped.

    Raises:
        SciflowError: The file cannot be opened, is of another kind, lacks the column `smiles`, or
            nothing in it can be read.
    """
    path = Path(path)
    suffix = _suffix(path)
    entries = {".csv": _table, ".sdf": _records}.get(suffix, _lines)
    try:
        result = _collect(entries(path), raw, progress)
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise SciflowError(f"{path}: {_why(error)}, expected a readable {suffix} file") from error
    if not result.mols:
        if not result.skipped:
            raise SciflowError(f"{path}: got no molecules, expected at least one row")
        first = result.skipped[0]
        raise SciflowError(
            f"{path}: none of {len(result.skipped)} rows can be read, expected molecules; "
            f"row {first.row} is {first.text!r}: {first.reason}"
        )
    return result


def parse(items: Iterable[str | Chem.Mol], raw: bool = False) -> Read:
    """Return SMILES or RDKit molecules as raw molecules, under the rules of `read`."""
    entries = ((k, item) for k, item in enumerate(items, 1))
    return _collect(entries, raw, None)


def write(mols: Sequence[Chem.Mol], path: str | Path) -> None:
    """Write raw molecules to a file in one move: it is there whole, or as it was.

    Raises:
        SciflowError: The suffix is unknown or the path cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    with _refusal(path), Writer(path):
        pass  # asks whether it may be written
    try:
        with Writer(part) as out:
            out.append(mols)
            out.append([])
        with _refusal(path):
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


class Writer:
    """A file of molecules that grows batch by batch; what was appended stays, whatever happens.

    Opening asks whether the file may be written, before anything is generated; a file already
    there is overwritten by the first batch, not sooner. Each batch is on disk when `append`
    returns. Missing folders are made.

    Args:
        path: A file ending in one of `SUFFIXES`. A valid molecule is written as canonical SMILES,
            any other graph as kekulised SMILES of its bonds; an SD file holds the graph as it is.

    Raises:
        SciflowError: The suffix is unknown or the path cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._suffix = _suffix(self.path, packed=False)
        self._file: IO[str] | None = None
        self.count = 0
        with _refusal(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._new = not self.path.exists()
            with open(self.path, "a"):
                pass

    def append(self, mols: Sequence[Chem.Mol]) -> None:
        """Write a batch of raw molecules.

        Raises:
            SciflowError: The disk refuses (it is full, the folder is gone ...).
        """
        text = "".join(self._text(mol) for mol in mols)
        with _refusal(self.path):
            if self._file is None:
                self._file = open(self.path, "w", encoding="utf-8", newline="")  # noqa: SIM115
                if self._suffix == ".csv":
                    text = ",".join(_COLUMNS) + "\n" + text
            self._file.write(text)
            self._file.flush()
            os.fsync(self._file.fileno())
        self.count += len(mols)

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

    def _text(self, mol: Chem.Mol) -> str:
        if self._suffix == ".sdf":
            return _record(mol)
        clean = validity.smiles(mol)
        text = validity.raw_smiles(mol) if clean is None else clean
        if self._suffix != ".csv":
            return (text or _EMPTY) + "\n"
        connected = int(validity.connected(mol))
        return f"{text},{int(clean is not None)},{connected},{mol.GetNumAtoms()}\n"


# -- reading ----------------------------------------------------------------------------------

_Entries = Iterable[tuple[int, "str | Chem.Mol | None"]]


def _collect(entries: _Entries, raw: bool, progress: Callable[[int], object] | None) -> Read:
    mols: list[Chem.Mol] = []
    rows: list[int] = []
    skipped: list[Skip] = []
    told = seen = 0
    with rdBase.BlockLogs():
        for seen, (row, item) in enumerate(entries, 1):
            try:
                mols.append(_understand(item, raw))
                rows.append(row)
            except SciflowError as error:
                skipped.append(Skip(row, _shown(item), str(error)))
            if progress is not None and seen - told >= 1000:
                progress(seen - told)
                told = seen
    if progress is not None and seen > told:
        progress(seen - told)
    return Read(mols, rows, skipped)


def _understand(item: str | Chem.Mol | None, raw: bool) -> Chem.Mol:
    """Return the raw molecule of a SMILES or a molecule; the error is the reason of a skip."""
    if item is None:
        raise SciflowError("not a record of an SD file")
    if isinstance(item, str):
        mol = Chem.MolFromSmiles(item, sanitize=False)
        if mol is None:
            raise SciflowError("not a SMILES")
    else:
        mol = item
    if raw:
        return validity.raw(mol)
    clean = Chem.Mol(mol)
    if clean.GetNumAtoms() == 0:
        raise SciflowError("no atoms")
    if Chem.SanitizeMol(clean, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
        problems = Chem.DetectChemistryProblems(mol)
        raise SciflowError(problems[0].Message() if problems else "RDKit refuses the graph")
    bare = validity.raw(clean)
    if bare.GetNumAtoms() == 0:
        raise SciflowError("no heavy atoms")
    if not _same_hydrogens(clean, bare):
        raise SciflowError("its hydrogens do not follow from its bonds (a radical, or P-H, S-H)")
    return bare


def _same_hydrogens(clean: Chem.Mol, bare: Chem.Mol) -> bool:
    """Return whether the bare graph takes the hydrogens that the molecule had."""
    atoms = [clean.GetAtomWithIdx(k) for k in range(clean.GetNumAtoms())]
    if not any(atom.GetNoImplicit() or atom.GetNumRadicalElectrons() for atom in atoms):
        return True
    again = validity.sanitized(bare)
    if again is None:
        return False
    heavy = [atom for atom in atoms if not validity.is_plain_hydrogen(atom)]
    return all(
        old.GetTotalNumHs(includeNeighbors=True) == new.GetTotalNumHs(includeNeighbors=True)
        for old, new in zip(heavy, again.GetAtoms(), strict=True)
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with _open(path) as file:
        for row, line in enumerate(file, 1):
            if line.rstrip("\r\n") == _EMPTY:
                yield row, ""
                continue
            words = line.split()
            if not words or (row == 1 and words[0].lower() in ("smiles", "smiles,")):
                continue
            yield row, words[0]


def _table(path: Path) -> Iterator[tuple[int, str]]:
    with _open(path) as file:
        rows = csv.reader(file)
        header = [name.strip().lower() for name in next(rows, [])]
        if not header:
            return
        if "smiles" not in header:
            shown = ", ".join(header[:8])
            raise SciflowError(
                f"{path}: got the columns {shown[:200]}, expected a column named smiles; rename it"
            )
        column = header.index("smiles")
        number = 0
        for row in rows:
            if row:
                number += 1
                yield number, row[column].strip() if column < len(row) else ""


def _records(path: Path) -> Iterator[tuple[int, Chem.Mol | None]]:
    with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
        supplier = Chem.ForwardSDMolSupplier(file, sanitize=False, removeHs=False)
        yield from enumerate(supplier, 1)


def _open(path: Path) -> IO[str]:
    # A byte that is no UTF-8 (another encoding, a foreign file) is replaced: its row is then
    # skipped by name.
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    file = opened(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return cast("IO[str]", file)


def _suffix(path: Path, packed: bool = True) -> str:
    bare = path.with_suffix("") if packed and path.suffix.lower() == ".gz" else path
    suffix = bare.suffix.lower()
    if suffix not in SUFFIXES:
        raise unknown(f"{path}: file type", suffix, SUFFIXES)
    return suffix


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@contextmanager
def _refusal(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error of the user."""
    try:
        yield
    except OSError as error:
        raise SciflowError(
            f"{path}: cannot be written ({_why(error)}), expected a writable file; name another"
        ) from error


def _shown(item: str | Chem.Mol | None) -> str:
    if item is None or isinstance(item, str):
        text = item or ""
    else:
        text = item.GetProp("_Name") if item.HasProp("_Name") else ""
        text = text or validity.raw_smiles(item)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _record(mol: Chem.Mol) -> str:
    """Return the record of an SD file: the graph as it is, with 2-D coordinates."""
    from rdkit.Chem import rdDepictor

    copy = Chem.Mol(mol)
    with rdBase.BlockLogs():
        copy.UpdatePropertyCache(strict=False)
        Chem.FastFindRings(copy)
        rdDepictor.Compute2DCoords(copy)
        block = Chem.MolToMolBlock(copy, kekulize=False, includeStereo=False)
    return block + "$$$$\n"
