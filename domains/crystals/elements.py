"""The elements: symbols, masses, electronegativities and radii, by atomic number.

Tables of facts, so that a structure can be encoded, weighed and named without a materials library.

Reference: standard atomic weights (IUPAC); electronegativities on Pauling's scale (Allred, J. Inorg. Nucl. Chem. 17,
215, 1961, and the CRC Handbook); atomic radii of Slater, J. Chem. Phys. 41, 3199, 1964.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import reduce
from math import gcd, nan

import numpy as np
from numpy.typing import NDArray

from sciflow.errors import expected, unknown


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(nan if word == "-" else float(word) for word in text.split())


SYMBOLS = tuple(
    """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br
Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er
Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md
No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
""".split()
)
"""Symbol of element Z at place Z - 1."""

MASSES = _numbers("""
1.0079 4.0026 6.941 9.0122 10.811 12.0107 14.0067 15.9994 18.9984 20.1797 22.9898 24.305 26.9815
28.0855 30.9738 32.065 35.453 39.948 39.0983 40.078 44.9559 47.867 50.9415 51.9961 54.938 55.845
58.9332 58.6934 63.546 65.409 69.723 72.64 74.9216 78.96 79.904 83.798 85.4678 87.62 88.9059
91.224 92.9064 95.94 98 101.07 102.9055 106.42 107.8682 112.411 114.818 118.71 121.76 127.6
126.9045 131.293 132.9055 137.327 138.9055 140.116 140.9076 144.242 145 150.36 151.964 157.25
158.9254 162.5 164.9303 167.259 168.9342 173.04 174.967 178.49 180.9479 183.84 186.207 190.23
192.217 195.084 196.9666 200.59 204.3833 207.2 208.9804 210 210 220 223 226 227 232.0381
231.0359 238.0289 237 244 243 247 247 251 252 257 258 259 262 267 268 269 270 270 278 281 282
285 286 289 290 293 294 294
""")
"""Atomic mass in u, of the longest-lived isotope where there is no natural one."""

ELECTRONEGATIVITIES = _numbers("""
2.2 - 0.98 1.57 2.04 2.55 3.04 3.44 3.98 - 0.93 1.31 1.61 1.9 2.19 2.58 3.16 - 0.82 1 1.36 1.54
1.63 1.66 1.55 1.83 1.88 1.91 1.9 1.65 1.81 2.01 2.18 2.55 2.96 3 0.82 0.95 1.22 1.33 1.6 2.16
1.9 2.2 2.28 2.2 1.93 1.69 1.78 1.96 2.05 2.1 2.66 2.6 0.79 0.89 1.1 1.12 1.13 1.14 1.13 1.17
1.2 1.2 1.1 1.22 1.23 1.24 1.25 1.1 1.27 1.3 1.5 2.36 1.9 2.2 2.2 2.28 2.54 2 1.62 2.33 2.02 2
2.2 2.2 0.7 0.9 1.1 1.3 1.5 1.38 1.36 1.28 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3 1.3 - - - - - - - - -
- - - - - -
""")
"""Electronegativity on Pauling's scale; NaN where there is none."""

RADII = _numbers("""
0.25 - 1.45 1.05 0.85 0.7 0.65 0.6 0.5 - 1.8 1.5 1.25 1.1 1 1 1 0.71 2.2 1.8 1.6 1.4 1.35 1.4
1.4 1.4 1.35 1.35 1.35 1.35 1.3 1.25 1.15 1.15 1.15 - 2.35 2 1.8 1.55 1.45 1.45 1.35 1.3 1.35
1.4 1.6 1.55 1.55 1.45 1.45 1.4 1.4 - 2.6 2.15 1.95 1.85 1.85 1.85 1.85 1.85 1.85 1.8 1.75 1.75
1.75 1.75 1.75 1.75 1.75 1.55 1.45 1.35 1.35 1.3 1.35 1.35 1.35 1.5 1.9 1.8 1.6 1.9 - - - 2.15
1.95 1.8 1.8 1.75 1.75 1.75 1.75 - - - - - - - - - - - - - - - - - - - - - - -
""")
"""Empirical atomic radius in angstrom; NaN where there is none."""

_NUMBERS = {symbol: z for z, symbol in enumerate(SYMBOLS, 1)}


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element; deuterium and tritium are hydrogen.

    Raises:
        SciflowError: There is no such element.
    """
    z = _NUMBERS.get(symbol) or {"D": 1, "T": 1}.get(symbol)
    if z is None:
        raise unknown("element", symbol, SYMBOLS)
    return z


def symbol(z: int) -> str:
    """Return the symbol of an atomic number.

    Raises:
        SciflowError: There is no such element.
    """
    if not 1 <= z <= len(SYMBOLS):
        raise expected("atomic number", int(z), f"a number from 1 to {len(SYMBOLS)}")
    return SYMBOLS[z - 1]


def mass(species: NDArray[np.integer]) -> float:
    """Return the mass of some atoms in u.

    Args:
        species: Atomic numbers, any shape.
    """
    return float(np.asarray(MASSES)[np.asarray(species, dtype=np.int64) - 1].sum())


def composition(species: Iterable[int]) -> dict[int, int]:
    """Return the number of atoms of each element, by atomic number in ascending order."""
    return dict(sorted(Counter(map(int, species)).items()))


def reduced(counts: Mapping[int, int]) -> dict[int, int]:
    """Return the smallest whole numbers in the same ratio: Na4Cl4 becomes NaCl."""
    divisor = reduce(gcd, counts.values(), 0) or 1
    return {z: n // divisor for z, n in counts.items()}


def formula(counts: Mapping[int, int]) -> str:
    """Return a formula, the least electronegative element first: ``SrTiO3``.

    Args:
        counts: Number of atoms by atomic number.
    """

    def order(z: int) -> tuple[float, int]:
        chi = ELECTRONEGATIVITIES[z - 1]
        return (chi if chi == chi else 9.0, z)

    return "".join(
        symbol(z) + (str(counts[z]) if counts[z] > 1 else "") for z in sorted(counts, key=order)
    )


def parse(text: str) -> dict[int, int]:
    """Return the composition that a formula names; brackets are multiplied out.

    Args:
        text: A formula such as ``SrTiO3`` or ``Ca(OH)2``.

    Raises:
        SciflowError: The text is no formula: an unknown element, a fraction of an atom, an open bracket.
    """
    stack: list[Counter[int]] = [Counter()]
    k = 0
    while k < len(text):
        word = text[k]
        if word in "([":
            stack.append(Counter())
            k += 1
            continue
        if word in ")]":
            if len(stack) == 1:
                raise expected("formula", text, "every bracket opened before it is closed")
            group, k = stack.pop(), k + 1
        elif word.isupper():
            end = k + 1
            while end < len(text) and text[end].islower():
                end += 1
            group, k = Counter({atomic_number(text[k:end]): 1}), end
        elif word.isspace():
            k += 1
            continue
        else:
            raise expected("formula", text, "elements and whole numbers, such as SrTiO3")
        end = k
        while end < len(text) and text[end].isdigit():
            end += 1
        times, k = int(text[k:end] or 1), end
        for z, n in group.items():
            stack[-1][z] += n * times
    if len(stack) > 1:
        raise expected("formula", text, "every bracket closed")
    counts = {z: n for z, n in sorted(stack[0].items()) if n}
    if not counts:
        raise expected("formula", text, "elements and whole numbers, such as SrTiO3")
    return counts
