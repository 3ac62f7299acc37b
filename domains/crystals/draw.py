"""Pictures of crystals: a grid of structures with formula and space group, as vectors or as pixels."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from sciflow.errors import SciflowError, expected, unknown

from . import elements, symmetry, validity
from .crystal import Crystal
from .scene import PAPER, Bar, Disc, Scene, colour_of, hexed, mixed, scene

CELL = 190
"""Width of a cell of the grid, in pixels of the SVG; PNG files have twice as many."""
_STRIP = 44  # height of the two lines below a structure
_MARGIN = 16
_SCALE = 2

_INK = "#2b2f36"
_QUIET = "#7a828e"
_RED = "#c0392b"
_BLUSH = "#fdf3f2"
_FONTS = "Helvetica Neue, Helvetica, Arial, DejaVu Sans, sans-serif"
_BELOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class _Cell:
    scene: Scene | None
    title: str
    line: str
    valid: bool


def grid(
    crystals: Sequence[Any],
    path: str | Path,
    columns: int | None = None,
    captions: Sequence[str] | Callable[[Crystal], str] | None = None,
) -> int:
    """Draw crystals in their order into one picture.

    What is no valid structure stands on a red tint with its reason; where it cannot be drawn, without a picture.

    Args:
        crystals: Crystals, pymatgen structures or ASE atoms.
        path: A file ending in ``.svg`` or ``.png``; its folder is made.
        columns: Crystals in a row; default: about a square, 10 at most.
        captions: A line below each formula, or a function that makes one; default: space group and number of sites.

    Returns:
        How many were drawn.

    Raises:
        SciflowError: Nothing can be drawn, the number of columns or captions is wrong, or the file is of another kind
            or cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".svg", ".png"):
        raise unknown(f"{path}: type of picture", kind, (".svg", ".png"))
    if columns is not None and columns < 1:
        raise expected("columns", columns, "1 or more")
    if captions is not None and not callable(captions) and len(captions) != len(crystals):
        raise expected("captions", len(captions), f"one for each of {len(crystals)} crystals")
    cells = []
    for k, thing in enumerate(crystals):
        crystal = Crystal.of(thing)
        own = captions(crystal) if callable(captions) else captions[k] if captions else None
        cells.append(_cell(crystal, own))
    if not cells:
        raise expected("picture", "no crystals", "at least one")
    columns = min(len(cells), columns or _columns(len(cells)))
    _save(path, _svg(cells, columns).encode() if kind == ".svg" else _png(cells, columns))
    return len(cells)


def _columns(count: int) -> int:
    """Return how many cells make a row: about the square root, with few empty places left."""
    best = math.sqrt(1.2 * count)
    near = range(max(1, min(10, round(best)) - 2), min(10, round(best) + 2) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - best)))


def _cell(crystal: Crystal, caption: str | None) -> _Cell:
    problem = validity.problem(crystal)
    if problem == "unknown element" or len(crystal) == 0:
        return _Cell(None, "", problem, False)
    title = crystal.formula.translate(_BELOW)
    if problem in ("not finite", "volume too small"):
        return _Cell(None, title, problem, False)
    if problem:
        return _Cell(scene(crystal), title, problem, False)
    if caption is None:
        group = symmetry.space_group(crystal)
        symbol = (
            re.sub(r"_(\d)", lambda found: found.group(1).translate(_BELOW), group[0])
            if group
            else ""
        )
        parts = [symbol, f"{len(crystal)} sites", f"{crystal.volume:.0f} Å³"]
        caption = "  ·  ".join(part for part in parts if part)
    return _Cell(scene(crystal), title, caption, True)


def _frame(cells: list[_Cell], columns: int) -> tuple[int, int, int]:
    high = CELL + _STRIP
    rows = -(-len(cells) // columns)
    return columns * CELL + 2 * _MARGIN, rows * high + 2 * _MARGIN, high


def _scale(picture: Scene) -> float:
    """Return pixels per angstrom: large cells fill the place, small ones are not blown up beyond reason."""
    return min(0.46 * CELL / max(picture.radius, 1e-6), 26.0)


def _svg(cells: list[_Cell], columns: int) -> str:
    """Compose the grid as SVG, a radial gradient for each element."""
    width, height, high = _frame(cells, columns)
    body: list[str] = []
    shades: dict[str, str] = {}
    for k, cell in enumerate(cells):
        x, y = _MARGIN + k % columns * CELL, _MARGIN + k // columns * high
        if not cell.valid:
            body.append(
                f'<rect x="{x + 4}" y="{y + 4}" width="{CELL - 8}" height="{high - 8}" rx="10" fill="{_BLUSH}"/>'
            )
        middle = x + CELL / 2
        if cell.scene is not None:
            inner = _shapes(cell.scene, shades)
            body.append(f'<g transform="translate({middle:g},{y + CELL / 2:g})">{inner}</g>')
        colour = _INK if cell.valid else _RED
        body.append(
            f'<text x="{middle:g}" y="{y + CELL + 14}" text-anchor="middle" font-size="14" '
            f'fill="{colour}">{escape(_short(cell.title, 22))}</text>'
            f'<text x="{middle:g}" y="{y + CELL + 31}" text-anchor="middle" font-size="11" '
            f'fill="{_QUIET if cell.valid else _RED}">{escape(_short(cell.line, 34))}</text>'
        )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="{_FONTS}"><defs>{"".join(shades.values())}</defs>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    )
    return "\n".join([head, *body, "</svg>\n"])


def _shapes(picture: Scene, shades: dict[str, str]) -> str:
    scale = _scale(picture)
    parts = []
    for shape in picture.shapes:
        if isinstance(shape, Bar):
            parts.append(
                f'<path d="M{shape.x1 * scale:.1f} {-shape.y1 * scale:.1f}L{shape.x2 * scale:.1f} '
                f'{-shape.y2 * scale:.1f}" stroke="{hexed(shape.colour)}" '
                f'stroke-width="{max(shape.width * scale, 0.9):.1f}" stroke-linecap="round"/>'
            )
            continue
        name = f"{shape.element}{round(shape.fade * 20)}"
        if name not in shades:
            shades[name] = _gradient(name, shape)
        parts.append(
            f'<circle cx="{shape.x * scale:.1f}" cy="{-shape.y * scale:.1f}" r="{shape.radius * scale:.1f}" '
            f'fill="url(#{name})"/>'
        )
    return "".join(parts)


def _gradient(name: str, disc: Disc) -> str:
    stops = "".join(
        f'<stop offset="{offset}" stop-color="{hexed(colour)}"/>'
        for offset, colour in _shading(disc)
    )
    return f'<radialGradient id="{name}" cx=".5" cy=".5" r=".5" fx=".34" fy=".3">{stops}</radialGradient>'


def _shading(disc: Disc) -> list[tuple[float, tuple[float, float, float]]]:
    """Return colours from the light to the rim."""
    base = disc.colour
    dark = mixed(base, (0.08, 0.09, 0.12), 0.42 * (1 - disc.fade))
    return [
        (0.0, mixed(base, PAPER, 0.72)),
        (0.35, mixed(base, PAPER, 0.22)),
        (0.72, base),
        (1.0, dark),
    ]


def _png(cells: list[_Cell], columns: int) -> bytes:
    """Compose the grid as pixels."""
    from matplotlib import rc_context
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
    from matplotlib.path import Path as Line

    width, height, high = _frame(cells, columns)
    with rc_context(
        {"font.family": "sans-serif", "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"]}
    ):
        figure = Figure(figsize=(width / 100, height / 100), dpi=100 * _SCALE, facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        for k, cell in enumerate(cells):
            x, y = _MARGIN + k % columns * CELL, _MARGIN + k // columns * high
            if not cell.valid:
                box = FancyBboxPatch(
                    (x + 12, y + 12),
                    CELL - 24,
                    high - 24,
                    "round,pad=8,rounding_size=10",
                    lw=0,
                    fc=_BLUSH,
                )
                axes.add_patch(box)
            middle = x + CELL / 2
            if cell.scene is not None:
                scale = _scale(cell.scene)
                patches, faces, edges, widths = [], [], [], []
                for shape in cell.scene.shapes:
                    if isinstance(shape, Bar):
                        ends = [
                            (middle + shape.x1 * scale, y + CELL / 2 - shape.y1 * scale),
                            (middle + shape.x2 * scale, y + CELL / 2 - shape.y2 * scale),
                        ]
                        patches.append(PathPatch(Line(ends)))
                        faces.append("none")
                        edges.append(shape.colour)
                        widths.append(max(shape.width * scale, 0.9) * 0.72)
                        continue
                    for radius, shift, colour in _layers(shape):
                        centre = (
                            middle + (shape.x - shift * shape.radius) * scale,
                            y + CELL / 2 - (shape.y + 1.25 * shift * shape.radius) * scale,
                        )
                        patches.append(Circle(centre, radius * shape.radius * scale))
                        faces.append(colour)
                        edges.append("none")
                        widths.append(0.0)
                axes.add_collection(
                    PatchCollection(
                        patches,
                        facecolors=faces,
                        edgecolors=edges,
                        linewidths=widths,
                        capstyle="round",
                    )
                )
            ink, quiet = (_INK, _QUIET) if cell.valid else (_RED, _RED)
            axes.text(
                middle,
                y + CELL + 9,
                _short(cell.title, 22),
                ha="center",
                va="center",
                color=ink,
                size=10,
            )
            axes.text(
                middle,
                y + CELL + 27,
                _short(cell.line, 34),
                ha="center",
                va="center",
                color=quiet,
                size=7.6,
            )
        out = BytesIO()
        figure.savefig(out, format="png", metadata={"Creation Time": None, "Software": None})
    return out.getvalue()


def _layers(disc: Disc) -> list[tuple[float, float, tuple[float, float, float]]]:
    """Return (radius, shift to the light, colour) of the circles that make a sphere, the rim first."""
    stops = _shading(disc)
    count = 9
    found = []
    for k in range(count):
        along = 1.0 - k / (count - 1) * 0.93
        for (low, first), (up, second) in zip(stops, stops[1:], strict=False):
            if low <= along <= up:
                found.append(
                    (along, (1 - along) * 0.32, mixed(first, second, (along - low) / (up - low)))
                )
                break
    return found


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def legend(crystal: Crystal) -> dict[str, str]:
    """Return the colour of each element of a crystal, as ``#rrggbb`` by symbol."""
    return {elements.symbol(z): hexed(colour_of(z)) for z in crystal.composition}


def _save(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SciflowError(
            f"{path}: cannot be written ({reason}), expected a writable file; name another"
        ) from error
