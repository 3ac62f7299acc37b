"""Pictures of molecules: a grid of structures, and histograms beside the data's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from sciflow.errors import SciflowError, expected, unknown

from . import validity
from .profile import Shape

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 180
"""Width of a cell of the grid, in pixels of the SVG; PNG files have twice as many."""
_STRIP = 26  # height of the caption below a structure
_MARGIN = 18
_SCALE = 2  # of PNG over SVG
_BOND = 27.0  # length of a bond in pixels, the same in every cell that it fits in

_INK = "#2b2f36"
_QUIET = "#7a828e"
_RED = "#c0392b"
_BLUSH = "#fdf3f2"
_BLUE = "#2f6f9f"
_GREY = "#c3cad3"
# Colours of the elements, dark enough for thin lines on white.
_PALETTE = {
    -1: (0.17, 0.18, 0.21),
    6: (0.17, 0.18, 0.21),
    7: (0.13, 0.35, 0.76),
    8: (0.82, 0.18, 0.15),
    9: (0.10, 0.55, 0.38),
    15: (0.85, 0.46, 0.08),
    16: (0.72, 0.55, 0.02),
    17: (0.10, 0.55, 0.38),
    35: (0.55, 0.23, 0.13),
    53: (0.44, 0.18, 0.60),
}
_FONTS = "Helvetica Neue, Helvetica, Arial, DejaVu Sans, sans-serif"


@dataclass(frozen=True)
class Drawn:
    """What a grid shows.

    Attributes:
        shown: Number of molecules drawn.
        invalid: Number of them that are no valid molecule and are drawn as bare graphs.
        skipped: Number of molecules left out, because they are invalid and were not wanted or have
            no atom.
    """

    shown: int
    invalid: int
    skipped: int


@dataclass(frozen=True)
class _Cell:
    mol: Chem.Mol
    caption: str
    valid: bool


def grid(
    mols: Sequence[Chem.Mol],
    path: str | Path,
    columns: int | None = None,
    captions: Sequence[str] | Callable[[Chem.Mol], str] | None = None,
    invalid: bool = True,
) -> Drawn:
    """Draw molecules in their order into one picture.

    A graph that is no valid molecule is drawn as it is, on a red tint with its reason as the
    caption; a valid one in several pieces keeps the white ground and says so in red.

    Args:
        mols: Raw molecules.
        path: A file ending in `.svg` or `.png`; its folder is made.
        columns: Molecules in a row; default: about a square, 10 at most.
        captions: A line below each molecule, or a function that makes one of a molecule; default:
            nothing below a valid molecule.
        invalid: Draw invalid graphs; otherwise they are left out and counted.

    Returns:
        How many were drawn and left out.

    Raises:
        SciflowError: Nothing can be drawn, the number of columns or captions is wrong, or the file
            is of another kind or cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".svg", ".png"):
        raise unknown(f"{path}: type of picture", kind, (".svg", ".png"))
    if columns is not None and columns < 1:
        raise expected("columns", columns, "1 or more")
    if captions is not None and not callable(captions) and len(captions) != len(mols):
        raise expected("captions", f"{len(captions)}", f"one for each of {len(mols)} molecules")
    cells = []
    for k, mol in enumerate(mols):
        own = captions(mol) if callable(captions) else captions[k] if captions else ""
        cell = _cell(mol, own)
        if cell is not None and (cell.valid or invalid):
            cells.append(cell)
    if not cells:
        raise expected("picture", f"{len(mols)} molecules, none to draw", "at least one")
    columns = min(len(cells), columns or _columns(len(cells)))
    with_captions = any(cell.caption for cell in cells)
    if kind == ".svg":
        _save(path, _svg(cells, columns, with_captions).encode())
    else:
        out = BytesIO()
        _png(cells, columns, with_captions).save(out, "PNG", optimize=True)
        _save(path, out.getvalue())
    bad = sum(not cell.valid for cell in cells)
    return Drawn(len(cells), bad, len(mols) - len(cells))


def _columns(count: int) -> int:
    """Return how many cells make a row: about the square root, with few empty places left."""
    best = math.sqrt(1.1 * count)
    near = range(max(1, min(10, round(best)) - 2), min(10, round(best) + 2) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - best)))


def _cell(mol: Chem.Mol, caption: str) -> _Cell | None:
    """Return a molecule prepared for drawing with its caption; `None` without atoms."""
    if mol.GetNumAtoms() == 0:
        return None
    clean = validity.sanitized(mol)
    pieces = Shape.of(mol).fragments
    with rdBase.BlockLogs():
        if clean is None:
            copy = Chem.Mol(mol)
            copy.UpdatePropertyCache(strict=False)
            Chem.FastFindRings(copy)
            caption = _reason(mol)
        else:
            copy = clean
            if pieces > 1:
                caption = f"{pieces} pieces"
        rdDepictor.Compute2DCoords(copy)
        rdDepictor.StraightenDepiction(copy)
        return _Cell(copy, caption, clean is not None)


def _reason(mol: Chem.Mol) -> str:
    """Return in two or three words why RDKit refuses a graph."""
    problems = Chem.DetectChemistryProblems(mol)
    for problem in problems:
        if problem.GetType() == "AtomValenceException":
            atom = mol.GetAtomWithIdx(problem.GetAtomIdx())
            bonds = sum(int(bond.GetBondTypeAsDouble()) for bond in atom.GetBonds())
            return f"invalid: {atom.GetSymbol()} with {bonds} bonds"
    return "invalid"


def _svg(cells: list[_Cell], columns: int, captions: bool) -> str:
    """Compose the grid as SVG: one nested picture per cell, captions as text."""
    high = CELL + (_STRIP if captions else 0)
    rows = -(-len(cells) // columns)
    width, height = columns * CELL + 2 * _MARGIN, rows * high + 2 * _MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="{_FONTS}" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for k, cell in enumerate(cells):
        x, y = _MARGIN + k % columns * CELL, _MARGIN + k // columns * high
        if not cell.valid:
            parts.append(
                f'<rect x="{x + 4}" y="{y + 4}" width="{CELL - 8}" height="{high - 8}" rx="10" '
                f'fill="{_BLUSH}"/>'
            )
        drawer = rdMolDraw2D.MolDraw2DSVG(CELL, CELL)
        _draw(drawer, cell, 1.0)
        text = drawer.GetDrawingText()
        body = text[text.index("<!-- END OF HEADER -->") + 22 : text.rindex("</svg>")]
        parts.append(f'<g transform="translate({x},{y})">{body.strip()}</g>')
        if cell.caption:
            parts.append(
                f'<text x="{x + CELL / 2:g}" y="{y + CELL + 10}" text-anchor="middle" '
                f'fill="{_colour(cell)}">{escape(_short(cell.caption))}</text>'
            )
    return "\n".join([*parts, "</svg>\n"])


def _png(cells: list[_Cell], columns: int, captions: bool) -> Image:
    """Compose the grid as a picture of pixels."""
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    high = CELL + (_STRIP if captions else 0)
    rows = -(-len(cells) // columns)
    size = (columns * CELL + 2 * _MARGIN, rows * high + 2 * _MARGIN)
    page = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), "#ffffff")
    pen = ImageDraw.Draw(page)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 12 * _SCALE)
    for k, cell in enumerate(cells):
        x, y = _MARGIN + k % columns * CELL, _MARGIN + k // columns * high
        if not cell.valid:
            box = [v * _SCALE for v in (x + 4, y + 4, x + CELL - 4, y + high - 4)]
            pen.rounded_rectangle(box, radius=10 * _SCALE, fill=_BLUSH)
        drawer = rdMolDraw2D.MolDraw2DCairo(CELL * _SCALE, CELL * _SCALE)
        _draw(drawer, cell, _SCALE)
        layer = Image.open(BytesIO(drawer.GetDrawingText())).convert("RGBA")
        page.paste(layer, (x * _SCALE, y * _SCALE), layer)
        if cell.caption:
            place = ((x + CELL / 2) * _SCALE, (y + CELL + 6) * _SCALE)
            pen.text(place, _short(cell.caption), _colour(cell), font, anchor="mm")
    return page


def _draw(drawer: Any, cell: _Cell, scale: float) -> None:
    """Draw one molecule on a transparent ground."""
    options = drawer.drawOptions()
    options.clearBackground = False
    options.fixedBondLength = _BOND * scale
    options.bondLineWidth = 1.5 * scale
    options.scaleBondWidth = False
    options.padding = 0.09
    options.minFontSize = int(13 * scale)
    options.maxFontSize = int(15 * scale)
    options.additionalAtomLabelPadding = 0.06
    options.prepareMolsBeforeDrawing = False
    options.updateAtomPalette(_PALETTE)
    mol = cell.mol
    with rdBase.BlockLogs():
        if cell.valid:
            mol = rdMolDraw2D.PrepareMolForDrawing(mol, kekulize=True, wavyBonds=False)
        drawer.DrawMolecule(mol)
        drawer.FinishDrawing()


def _colour(cell: _Cell) -> str:
    return _RED if not cell.valid or cell.caption.endswith(" pieces") else _QUIET


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def histograms(summary: Mapping[str, Any], path: str | Path) -> None:
    """Draw the histograms of atoms, bonds, rings and sizes, generated beside the reference.

    Args:
        summary: What `Metrics.summary()` returns, or the same read from JSON.
        path: A file ending in `.svg`, `.png` or `.pdf`; its folder is made.

    Raises:
        SciflowError: The summary has no histograms, or the file is of another kind or cannot be
            written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".svg", ".png", ".pdf"):
        raise unknown(f"{path}: type of picture", kind, (".svg", ".png", ".pdf"))
    panels = summary.get("histograms")
    if not panels:
        raise expected("summary", sorted(summary), "the summary of metrics, with histograms")
    titles = {"atoms": "Atoms", "bonds": "Bonds", "rings": "Rings", "sizes": "Sizes"}
    style: Any = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "sciflow",
    }
    with rc_context(style):
        figure = Figure(
            figsize=(10.4, 6.6), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
        )
        for axes, name in zip(figure.subplots(2, 2).flat, titles, strict=True):
            panel = panels.get(name)
            if panel is None or not panel["bins"]:
                axes.set_visible(False)
            else:
                _bars(axes, titles[name], panel)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if len(labels) > 1:
            figure.legend(
                handles, labels, loc="outside upper right", ncols=2, frameon=False, fontsize=10
            )
        out = BytesIO()
        # No date inside: the same figures give the same file.
        dated = {".png": "Creation Time", ".pdf": "CreationDate"}.get(kind, "Date")
        figure.savefig(out, format=kind[1:], dpi=200, facecolor="white", metadata={dated: None})
    _save(path, out.getvalue())


def _bars(axes: Any, title: str, panel: Mapping[str, Any]) -> None:
    """Draw one histogram: the data as a pale bar, the generated beside it."""
    percent = panel["unit"].startswith("share")
    factor = 100.0 if percent else 1.0
    bins, reference = panel["bins"], panel["reference"]
    wide = 0.38 if reference is not None else 0.6
    shift = wide / 2 + 0.01 if reference is not None else 0.0
    places = range(len(bins))
    if reference is not None:
        axes.bar(
            [k - shift for k in places],
            [factor * v for v in reference],
            wide,
            color=_GREY,
            label="data",
        )
    axes.bar(
        [k + shift for k in places],
        [factor * v for v in panel["generated"]],
        wide,
        color=_BLUE,
        label="generated",
    )
    if len(bins) <= 6:
        for bars in axes.containers:
            axes.bar_label(bars, fmt="%.1f" if percent else "%.2f", fontsize=7.5, color=_QUIET)
    step = -(-len(bins) // 20)
    axes.set_xticks(list(places)[::step], list(bins)[::step])
    axes.set_title(title, loc="left", fontsize=12, color=_INK, fontweight="bold", pad=10)
    unit = panel["unit"] + (", %" if percent else "")
    axes.set_ylabel(unit, color=_QUIET)
    what = {"Rings": "ring size", "Sizes": "atoms in the molecule"}.get(title)
    if what:
        axes.set_xlabel(what, color=_QUIET)
    axes.tick_params(length=0, colors=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GREY)
    axes.grid(axis="y", color="#e9ecf0", linewidth=0.8)
    axes.set_axisbelow(True)


def _save(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise SciflowError(
            f"{path}: cannot be written ({error.strerror or error}), expected a writable file; "
            "name another"
        ) from error
