"""Crystals as CIF text: a quick way in for cells written out in full, pymatgen's parser for the rest.

Most CIFs that a program wrote list every site of the cell (space group P 1); reading these takes a fortieth of the time
of a general parser. A block with symmetry operations, with text fields or with anything else out of the ordinary goes
to pymatgen. Written is P 1, in the standard orientation, with all sites.

Reference: Hall, Allen, Brown, The crystallographic information file, Acta Cryst. A47, 655, 1991.
"""

from __future__ import annotations

import math
import re
import shlex
import warnings
from collections.abc import Iterator

import numpy as np

from sciflow.errors import SciflowError

from . import elements
from .crystal import Crystal, standard_matrix

_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_PLACES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_OPERATIONS = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
_GROUPS = ("_symmetry_int_tables_number", "_space_group_it_number")
_SYMBOL = re.compile(r"[A-Z][a-z]?")


class _General(Exception):
    """The block needs a general parser."""


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each data block."""
    parts = re.split(r"(?im)^[ \t]*data_(\S*)", text)
    yield from zip(parts[1::2], parts[2::2], strict=True)


def parse(text: str) -> Crystal:
    """Return the crystal of the first data block with sites.

    Raises:
        SciflowError: There is none, or it cannot be understood; the message names what is wrong in a few words.
    """
    found = [body for _, body in blocks(text) if _PLACES[0] in body.lower()]
    if not found:
        raise SciflowError("no sites in the CIF" if "data_" in text.lower() else "not a CIF")
    return parse_block(found[0])


def parse_block(body: str) -> Crystal:
    """Return the crystal of the text of one data block.

    Raises:
        SciflowError: It cannot be understood; the message names what is wrong in a few words.
    """
    try:
        return _plain(body)
    except _General:
        return _general(body)


def _number(word: str, what: str) -> float:
    """Return a number as CIFs have it, ``3.905(2)`` included."""
    try:
        value = float(word.partition("(")[0])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SciflowError(f"broken CIF: {what} is {word!r}")
    return value


def _split(line: str) -> list[str]:
    if "'" not in line and '"' not in line and "#" not in line:
        return line.split()
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        raise _General from None


def _plain(body: str) -> Crystal:
    """Read a block that lists all its sites."""
    values: dict[str, str] = {}
    loops: list[tuple[list[str], list[list[str]]]] = []
    header: list[str] | None = None
    for raw in body.splitlines():
        line = raw.strip()
        if raw.startswith(";"):
            raise _General
        if not line or line.startswith("#"):
            continue
        if line.lower() == "loop_":
            header = []
            loops.append((header, []))
        elif line.startswith("_"):
            if header is not None and not loops[-1][1] and len(line.split()) == 1:
                header.append(line.lower())
                continue
            header = None
            words = _split(line)
            if len(words) != 2:
                raise _General
            values[words[0].lower()] = words[1]
        elif header is not None:
            loops[-1][1].append(_split(line))
        else:
            raise _General
    tables = {name: (head, rows) for head, rows in loops for name in head}
    for name in _OPERATIONS:
        if name in tables:
            head, rows = tables[name]
            column = head.index(name)
            if len(rows) > 1 or any(
                row[column].replace(" ", "").lower() != "x,y,z" for row in rows
            ):
                raise _General
    if not any(name in tables for name in _OPERATIONS) and any(
        values.get(name, "1") != "1" for name in _GROUPS
    ):
        raise _General
    cell = []
    for name in _CELL:
        word = values.get(f"_cell_{name}")
        if word is None:
            raise SciflowError(f"broken CIF: no _cell_{name}")
        cell.append(_number(word, f"_cell_{name}"))
    if min(cell) <= 0:
        raise SciflowError("broken CIF: a length or an angle of the cell is not positive")
    if any(name not in tables for name in _PLACES):
        raise SciflowError("no sites in the CIF")
    return _sites(*tables[_PLACES[0]], cell)


def _sites(head: list[str], rows: list[list[str]], cell: list[float]) -> Crystal:
    if any(len(row) != len(head) for row in rows):
        raise _General
    named = next((n for n in ("_atom_site_type_symbol", "_atom_site_label") if n in head), None)
    if named is None:
        raise SciflowError("broken CIF: sites without a symbol")
    column = head.index(named)
    occupancy = head.index("_atom_site_occupancy") if "_atom_site_occupancy" in head else None
    places = [head.index(name) for name in _PLACES]
    species, coordinates = [], []
    for row in rows:
        if (
            occupancy is not None
            and row[occupancy] not in "?."
            and _number(row[occupancy], "an occupancy") < 1
        ):
            raise SciflowError("partial occupancy")
        symbol = _SYMBOL.match(row[column])
        if symbol is None:
            raise SciflowError(f"unknown element {row[column]!r}")
        species.append(_element(symbol.group()))
        coordinates.append([_number(row[k], "a coordinate") for k in places])
    if not species:
        raise SciflowError("no sites in the CIF")
    return Crystal(np.array(species), np.array(coordinates), standard_matrix(cell[:3], cell[3:]))


def _element(symbol: str) -> int:
    """Return an atomic number; of a label such as ``Ov1`` the first letter counts if the two are no element."""
    for word in (symbol, symbol[0]):
        try:
            return elements.atomic_number(word)
        except SciflowError:
            continue
    raise SciflowError(f"unknown element {symbol!r}")


def _general(body: str) -> Crystal:
    from pymatgen.io.cif import CifParser

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = CifParser.from_str("data_block\n" + body)
            found = parser.parse_structures(primitive=False, check_occu=True, on_error="raise")
    except Exception as error:  # a parser for foreign text fails in any way it likes
        reason = str(error).strip().splitlines()
        raise SciflowError(
            f"broken CIF: {reason[0][:80] if reason else type(error).__name__}"
        ) from error
    if not found:
        raise SciflowError("broken CIF: no structure in it")
    if not found[0].is_ordered:
        raise SciflowError("partial occupancy")
    return Crystal.of(found[0])


def write(crystal: Crystal, name: str = "") -> str:
    """Return a CIF block in P 1 with all sites.

    Args:
        crystal: The crystal, valid or not.
        name: Name of the block; the formula if empty.
    """
    counts = crystal.composition
    lengths, angles = crystal.lengths.tolist(), crystal.angles.tolist()
    total = " ".join(f"{elements.symbol(z)}{n}" for z, n in counts.items())
    lines = [
        f"data_{name or crystal.formula or 'empty'}",
        "_symmetry_space_group_name_H-M   'P 1'",
    ]
    lines += [
        f"_cell_{key:12} {value:.8f}" for key, value in zip(_CELL, lengths + angles, strict=True)
    ]
    lines += [
        "_symmetry_Int_Tables_number   1",
        f"_chemical_formula_sum   '{total}'",
        f"_cell_volume   {crystal.volume:.8f}",
        *(
            "loop_",
            " _symmetry_equiv_pos_site_id",
            " _symmetry_equiv_pos_as_xyz",
            "  1  'x, y, z'",
        ),
        *(
            "loop_",
            " _atom_site_type_symbol",
            " _atom_site_label",
            " _atom_site_symmetry_multiplicity",
        ),
        *(f" {place}" for place in _PLACES),
        " _atom_site_occupancy",
    ]
    for k, (z, place) in enumerate(
        zip(crystal.species.tolist(), crystal.wrapped.tolist(), strict=True)
    ):
        symbol = elements.symbol(z)
        x, y, w = (f"{value:.8f}" for value in place)
        lines.append(f"  {symbol}  {symbol}{k}  1  {x}  {y}  {w}  1")
    return "\n".join(lines) + "\n"
