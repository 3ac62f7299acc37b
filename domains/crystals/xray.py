r"""Computed X-ray powder patterns: what a diffractometer would show of a crystal.

A peak stands at 2 theta with lambda = 2 d sin(theta) for every spacing d of lattice planes, and is as high as

    I = m |F|^2 (1 + cos^2 2 theta) / (sin^2 theta cos theta),   F = sum_j f_j(s) exp(2 pi i h . x_j)

with the multiplicity m and atomic form factors f_j. Heights are scaled to 100 for the highest. A measured pattern has
peaks of a width; `Pattern.curve` gives them one (pseudo-Voigt, half Gauss, half Lorentz).

Reference: de Graef, McHenry, Structure of Materials, 2012, chapter 12; computed by pymatgen's ``XRDCalculator``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import SciflowError, expected, unknown

from . import validity
from .crystal import Crystal

_BLUE = "#2f6f9f"
_INK = "#2b2f36"
_QUIET = "#7a828e"
_COLOURS = (_BLUE, "#c0562b", "#3f8f5f", "#7d5aa6", "#b08b1e")


@dataclass(frozen=True, eq=False)
class Pattern:
    """The peaks of a powder pattern.

    Attributes:
        angles: 2 theta in degrees, ascending, ``[P]``.
        heights: Intensities, 100 for the highest, ``[P]``.
        planes: Miller indices of each peak, as text.
        radiation: Name of the radiation.
    """

    angles: NDArray[np.float64]
    heights: NDArray[np.float64]
    planes: tuple[str, ...]
    radiation: str

    def curve(self, grid: NDArray[np.float64], width: float = 0.2) -> NDArray[np.float64]:
        """Return the pattern with peaks of a width, the highest point 100.

        Args:
            grid: 2 theta in degrees, ``[G]``.
            width: Full width at half height in degrees.
        """
        apart = (grid[:, None] - self.angles) / (width / 2)
        shape = 0.5 * np.exp2(-(apart**2)) + 0.5 / (1 + apart**2)
        total = shape @ self.heights
        return 100 * total / max(float(total.max()), 1e-12)


def pattern(
    thing: Any, radiation: str = "CuKa", least: float = 5.0, most: float = 90.0
) -> Pattern:
    """Return the powder pattern of a crystal.

    Args:
        thing: A crystal, pymatgen structure or ASE atoms.
        radiation: Name of a radiation (``CuKa``, ``MoKa`` ...), as pymatgen has them.
        least: Least 2 theta in degrees.
        most: Largest 2 theta in degrees.

    Raises:
        SciflowError: The crystal is no valid structure, the radiation is unknown, or the angles make no range.
    """
    from pymatgen.analysis.diffraction.xrd import WAVELENGTHS, XRDCalculator

    crystal = Crystal.of(thing)
    if problem := validity.problem(crystal):
        raise expected("crystal", problem, "a valid structure")
    if radiation not in WAVELENGTHS:
        raise unknown("radiation", radiation, WAVELENGTHS)
    if not 0 <= least < most <= 180:
        raise expected("angles", (least, most), "0 <= least < most <= 180 degrees")
    found = XRDCalculator(radiation).get_pattern(
        crystal.to_structure(), two_theta_range=(least, most)
    )
    planes = tuple(
        ", ".join("".join(map(str, plane["hkl"])) for plane in peak[:2]) for peak in found.hkls
    )
    return Pattern(np.asarray(found.x, float), np.asarray(found.y, float), planes, radiation)


def draw(
    things: Sequence[Any],
    path: str | Path,
    names: Sequence[str] | None = None,
    radiation: str = "CuKa",
    width: float = 0.2,
) -> None:
    """Draw powder patterns above one another.

    Args:
        things: Crystals, eight at most.
        path: A file ending in ``.svg``, ``.png`` or ``.pdf``; its folder is made.
        names: A name for each; default: the formula.
        radiation: Name of the radiation.
        width: Full width of the peaks at half height in degrees.

    Raises:
        SciflowError: There are none or too many, one is invalid, or the file is of another kind or cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".svg", ".png", ".pdf"):
        raise unknown(f"{path}: type of picture", kind, (".svg", ".png", ".pdf"))
    if not 1 <= len(things) <= 8:
        raise expected("crystals", len(things), "1 to 8 in one picture")
    crystals = [Crystal.of(thing) for thing in things]
    patterns = [pattern(crystal, radiation) for crystal in crystals]
    titles = list(names) if names is not None else [crystal.formula for crystal in crystals]
    if len(titles) != len(crystals):
        raise expected("names", len(titles), f"one for each of {len(crystals)} crystals")
    grid = np.linspace(5, 90, 4001)
    style: Any = {
        "font.family": "sans-serif",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "sciflow",
    }
    with rc_context(style):
        figure = Figure(figsize=(9.0, 1.3 + 1.7 * len(crystals)), layout="constrained")
        rows = figure.subplots(len(crystals), 1, sharex=True, squeeze=False)[:, 0]
        for k, (axes, found, title) in enumerate(zip(rows, patterns, titles, strict=True)):
            colour = _COLOURS[k % len(_COLOURS)]
            curve = found.curve(grid, width)
            axes.fill_between(grid, curve, color=colour, alpha=0.14, linewidth=0)
            axes.plot(grid, curve, color=colour, linewidth=1.1)
            axes.vlines(found.angles, -7, -2, color=colour, linewidth=0.8)
            for place in np.argsort(found.heights)[::-1][:6]:
                if found.heights[place] > 8:
                    top = float(np.interp(found.angles[place], grid, curve))
                    axes.text(
                        found.angles[place],
                        top + 3,
                        found.planes[place],
                        ha="center",
                        size=7,
                        color=_QUIET,
                    )
            axes.set_title(title, loc="left", fontsize=11, color=_INK, fontweight="bold", pad=4)
            axes.set_ylim(-9, 118)
            axes.set_xlim(5, 90)
            axes.set_yticks([])
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.spines["bottom"].set_color("#c3cad3")
            axes.tick_params(length=3, colors=_INK)
        rows[-1].set_xlabel(f"2θ in degrees, {radiation}", color=_QUIET)
        out = BytesIO()
        dated = {".png": "Creation Time", ".pdf": "CreationDate"}.get(kind, "Date")
        figure.savefig(out, format=kind[1:], dpi=200, facecolor="white", metadata={dated: None})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue())
    except OSError as error:
        reason = error.strerror or str(error)
        raise SciflowError(
            f"{path}: cannot be written ({reason}), expected a writable file; name another"
        ) from error
