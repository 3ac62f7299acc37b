"""The picture of one crystal as flat shapes from back to front: atoms, bonds, the edges of the cell.

An orthographic view from a little above and beside the first axis. What lies on a face of the cell is shown on the
opposite face, too. A bond is drawn between unlike atoms nearer than 1.12 times the sum of their radii; between elements
far apart in electronegativity, or between like ones, only where nothing else is bound, so that cations in cages stand
free.

Colours are by family: alkali metals violet, alkaline earths green, transition metals from steel blue to bronze along
the row, rare earths teal, the metals after them grey, non-metals in the colours chemists give them.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from . import elements, validity
from .crystal import Crystal, standard_matrix

Colour = tuple[float, float, float]
Array = NDArray[np.float64]

PAPER: Colour = (1.0, 1.0, 1.0)
EDGE: Colour = (0.62, 0.66, 0.72)
_BOND = 1.12
_IONIC = 2.0  # difference of electronegativity above which a contact is no bond
_TAKING = 2.54  # electronegativity from carbon on: what can be an anion
_MOST = 400  # atoms drawn of one crystal
_FOG = 0.42  # how far the farthest atom fades into the paper


@dataclass(frozen=True)
class Disc:
    """An atom: centre, radius, colour of its element faded by its depth, element."""

    x: float
    y: float
    radius: float
    colour: Colour
    element: str
    fade: float


@dataclass(frozen=True)
class Bar:
    """A piece of a bond or an edge of the cell: ends, width, colour."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    colour: Colour


@dataclass(frozen=True)
class Scene:
    """Shapes from back to front, in angstrom, centred at the middle of the cell.

    Attributes:
        shapes: What to draw.
        radius: A circle about the middle that holds everything.
    """

    shapes: tuple[Disc | Bar, ...]
    radius: float


@dataclass(frozen=True, eq=False)
class Model:
    """A crystal as it is shown, in space: standard orientation, the middle of the cell at the origin, in angstrom.

    Attributes:
        species: Atomic numbers of the atoms shown, images on faces included, ``[K]``.
        points: Their places, ``[K, 3]``.
        bonds: Pairs of atoms.
        corners: Corners of the cell, ``[8, 3]``.
    """

    species: NDArray[np.int16]
    points: Array
    bonds: tuple[tuple[int, int], ...]
    corners: Array

    @property
    def edges(self) -> list[tuple[Array, Array]]:
        """The twelve edges of the cell, each as its two ends."""
        pairs = [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit]
        return [(self.corners[i], self.corners[j]) for i, j in pairs]


def model(crystal: Crystal) -> Model:
    """Return a crystal as it is shown.

    Args:
        crystal: A crystal of finite numbers and positive volume.
    """
    lattice = standard_matrix(crystal.lengths, crystal.angles)
    sites, places = _with_images(crystal)
    species, middle = crystal.species[sites], lattice.sum(0) / 2
    points = places @ lattice - middle
    corners = np.array(list(product((0, 1), repeat=3))) @ lattice - middle
    return Model(species, points, tuple(_bonds(species, points)), corners)


def scene(crystal: Crystal, azimuth: float = 24.0, elevation: float = 14.0) -> Scene:
    """Return the picture of a crystal.

    Args:
        crystal: A crystal of finite numbers and positive volume.
        azimuth: Degrees by which the view turns away from the first axis.
        elevation: Degrees by which it looks down.
    """
    shown, view = model(crystal), _view(azimuth, elevation)
    points, corners = shown.points @ view, shown.corners @ view
    depth = np.concatenate((points[:, 2], corners[:, 2]))
    near, far = depth.max(), depth.min()

    def fade(z: float) -> float:
        return _FOG * (near - z) / max(near - far, 1e-9)

    items: list[tuple[float, Disc | Bar]] = []
    for z, (x, y, height) in zip(shown.species.tolist(), points.tolist(), strict=True):
        colour = mixed(colour_of(z), PAPER, fade(height))
        items.append(
            (height, Disc(x, y, drawn_radius(z), colour, elements.symbol(z), fade(height)))
        )
    for i, j in shown.bonds:
        half = (points[i] + points[j]) / 2
        for end in (i, j):
            colour = mixed(colour_of(int(shown.species[end])), PAPER, fade(half[2]))
            items.append((float(half[2]) - 0.05, _bar(points[end], half, 0.16, colour)))
    for start, end in shown.edges:
        start, end = start @ view, end @ view
        for k in range(6):
            a, b = start + (end - start) * k / 6, start + (end - start) * (k + 1) / 6
            height = float((a[2] + b[2]) / 2)
            items.append((height, _bar(a, b, 0.05, mixed(EDGE, PAPER, 0.6 * fade(height)))))
    items.sort(key=lambda item: item[0])
    reach = max(
        float(np.linalg.norm(corners[:, :2], axis=1).max()),
        max(
            (float(np.hypot(s.x, s.y)) + s.radius for _, s in items if isinstance(s, Disc)),
            default=0.0,
        ),
    )
    return Scene(tuple(shape for _, shape in items), reach)


def _view(azimuth: float, elevation: float) -> Array:
    """Return the rotation (rows times it) to right, up, towards the eye: first axis to the eye, third up."""
    a, e = np.radians([azimuth, elevation])
    eye = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    return np.stack((right, np.cross(eye, right), eye), 1)


def _with_images(crystal: Crystal) -> tuple[NDArray[np.intp], Array]:
    """Return sites and places, those on a face again on the opposite one."""
    found_sites, found = [], []
    for site, place in enumerate(crystal.wrapped):
        place = np.where(place > 1 - 0.02, place - 1, place)
        shifts = [(0, 1) if abs(x) < 0.02 else (0,) for x in place]
        for shift in product(*shifts):
            found_sites.append(site)
            found.append(place + shift)
    return np.array(found_sites[:_MOST], np.intp), np.array(found[:_MOST])


def _bonds(species: NDArray[np.integer], points: Array) -> list[tuple[int, int]]:
    radius, chi = (
        _table(elements.RADII, 1.4)[species],
        _table(elements.ELECTRONEGATIVITIES, 1.8)[species],
    )
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    close = (distance < _BOND * (radius[:, None] + radius)) & (distance > validity.NEAREST)
    # Where there are anions, metals are not bound to each other, nor are like atoms: what shows is the polyhedra.
    taking = chi > _TAKING
    if taking.any() and not taking.all():
        close &= taking[:, None] | taking
    unlike = close & (species[:, None] != species)
    covalent = unlike & (np.abs(chi[:, None] - chi) <= _IONIC)
    chosen = next((pairs for pairs in (covalent, unlike) if pairs.any()), close)
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(chosen, 1))]


def _bar(a: Array, b: Array, width: float, colour: Colour) -> Bar:
    return Bar(float(a[0]), float(a[1]), float(b[0]), float(b[1]), width, colour)


def _table(values: tuple[float, ...], default: float) -> Array:
    return np.nan_to_num(np.array((default, *values)), nan=default)


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """Return a colour with a share of another in it."""
    r, g, b = (x + share * (y - x) for x, y in zip(colour, other, strict=True))
    return (r, g, b)


def hexed(colour: Colour) -> str:
    """Return a colour as ``#rrggbb``."""
    return "#" + "".join(f"{round(255 * min(max(x, 0.0), 1.0)):02x}" for x in colour)


def drawn_radius(z: int) -> float:
    """Return the radius in angstrom at which an element is drawn."""
    return 0.2 + 0.26 * float(_table(elements.RADII, 1.4)[z])


_OWN = {
    1: "#dfe4ea", 5: "#e8a88c", 6: "#4a4f57", 7: "#3b62d6", 8: "#e0382f", 9: "#7ed957", 14: "#c9a66b",
    15: "#f08a24", 16: "#f2cf3a", 17: "#37c871", 32: "#8a9a7b", 33: "#b07cc6", 34: "#d98e04", 35: "#a1452e",
    51: "#9468a8", 52: "#c77b2b", 53: "#7d3aa8",
}  # fmt: skip


def colour_of(z: int) -> Colour:
    """Return the colour of an element."""
    if z in _OWN:
        text = _OWN[z]
        r, g, b = (int(text[k : k + 2], 16) / 255 for k in (1, 3, 5))
        return (r, g, b)
    if z in (3, 11, 19, 37, 55, 87):
        return colorsys.hls_to_rgb(0.77, 0.62 - 0.002 * z, 0.52)
    if z in (4, 12, 20, 38, 56, 88):
        return colorsys.hls_to_rgb(0.36 - 0.0009 * z, 0.60 - 0.0015 * z, 0.48)
    if z in (2, 10, 18, 36, 54, 86, 118):
        return colorsys.hls_to_rgb(0.52, 0.78, 0.5)
    for first, last, light in ((21, 30, 0.56), (39, 48, 0.62), (72, 80, 0.50), (104, 112, 0.45)):
        if first <= z <= last:
            along = (z - first) / (last - first)
            # Steel blue, through rose, to bronze.
            return colorsys.hls_to_rgb((0.58 + 0.5 * along) % 1.0, light, 0.38 + 0.18 * along)
    if 57 <= z <= 71:
        return colorsys.hls_to_rgb(0.44 + 0.006 * (z - 57), 0.55, 0.42)
    if 89 <= z <= 103:
        return colorsys.hls_to_rgb(0.22 + 0.004 * (z - 89), 0.5, 0.45)
    return colorsys.hls_to_rgb(0.6, 0.62 - 0.001 * z, 0.12)
