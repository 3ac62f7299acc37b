"""Which charges an element may carry, for the test whether a composition can be neutral.

The set is pinned: that of SMACT as compiled in 2014, with which the validity of generated crystals has been published
since CDVAE. Later sets of SMACT (ICSD 2016, ICSD 2024) give other figures for the same crystals: 98.6 % and 98.3 % for
the test set of Perov-5. Electronegativities are those of the same source; for sixteen elements it keeps Pauling's
earlier values, or has none.

Reference: Davies et al., SMACT: Semiconducting Materials by Analogy and Chemical Theory, J. Open Source Softw. 4(38),
1361, 2019; Davies et al., Computational screening of all stoichiometric inorganic materials, Chem 1, 617, 2016.
"""

from __future__ import annotations

import re
from math import nan

from .elements import ELECTRONEGATIVITIES, atomic_number

_STATES = """
H-1+1 He Li+1 Be+1+2 B+1+2+3 C-4-3-2-1+1+2+3+4 N-3-2-1+1+2+3+4+5 O-2-1+1+2 F-1 Ne Na-1+1 Mg+1+2
Al+1+2+3 Si-4-3-2-1+1+2+3+4 P-3-2-1+1+2+3+4+5 S-2-1+1+2+3+4+5+6 Cl-1+1+2+3+4+5+6+7 Ar K-1+1
Ca+1+2 Sc+1+2+3 Ti-1+1+2+3+4 V-1+1+2+3+4+5 Cr-2-1+1+2+3+4+5+6 Mn-3-2-1+1+2+3+4+5+6+7
Fe-2-1+1+2+3+4+5+6 Co-1+1+2+3+4+5 Ni-1+1+2+3+4 Cu+1+2+3+4 Zn+1+2 Ga+1+2+3 Ge-4-3-2-1+1+2+3+4
As-3+1+2+3+5 Se-2+1+2+4+6 Br-1+1+2+3+4+5+7 Kr+2 Rb-1+1 Sr+1+2 Y+1+2+3 Zr+1+2+3+4 Nb-1+1+2+3+4+5
Mo-2-1+1+2+3+4+5+6 Tc-3-1+1+2+3+4+5+6+7 Ru-2+1+2+3+4+5+6+7+8 Rh-1+1+2+3+4+5+6 Pd+1+2+4+6
Ag+1+2+3+4 Cd+1+2 In+1+2+3 Sn-4+2+4 Sb-3+3+5 Te-2+2+4+5+6 I-1+1+3+4+5+7 Xe+1+2+4+6+8 Cs-1+1 Ba+2
La+2+3 Ce+2+3+4 Pr+2+3+4 Nd+2+3+4 Pm+2+3 Sm+2+3 Eu+2+3 Gd+1+2+3 Tb+1+2+3+4 Dy+2+3+4 Ho+2+3
Er+2+3 Tm+2+3 Yb+2+3 Lu+3 Hf+2+3+4 Ta-1+2+3+4+5 W-2-1+1+2+3+4+5+6 Re-3-1+1+2+3+4+5+6+7
Os-2-1+1+2+3+4+5+6+7+8 Ir-3-1+1+2+3+4+5+6+7+8 Pt-2-1+1+2+3+4+5+6 Au-1+1+2+3+5 Hg+1+2+4 Tl-1+1+3
Pb-4+2+4 Bi-3+1+3+5+7 Po-2+2+4+5+6 At-1+1+3+5+7 Rn+2+6 Fr+1 Ra+2 Ac+2+3 Th+2+3+4 Pa+2+3+4+5
U+2+3+4+5+6 Np+3+4+5+6+7 Pu+2+3+4+5+6+7+8 Am+2+3+4+5+6+7 Cm+2+3+4+6+8 Bk+2+3+4 Cf+2+3+4 Es+2+3+4
Fm+2+3 Md+2+3 No+2+3 Lr+3
"""

_METALS = """
Li Be Na Mg Al K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn
Sb Cs Ba La Ce Pr Nd Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po Fr Ra
Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No
"""

_EARLIER = {
    "Tc": 2.1, "Tb": 1.2, "Lu": 1.0, "W": 1.7, "Pt": 2.2, "Au": 2.4, "Hg": 1.9, "Tl": 1.8, "Pb": 1.8, "Bi": 1.9,
    "U": 1.7, "Np": 1.3, "Pu": 1.3, "Pm": nan, "Rn": nan, "Lr": nan,
}  # fmt: skip

STATES: dict[int, tuple[int, ...]] = {
    atomic_number(word.group(1)): tuple(map(int, re.findall(r"[+-]\d", word.group(2))))
    for word in re.finditer(r"([A-Z][a-z]?)((?:[+-]\d)*)", _STATES)
}
"""Oxidation states by atomic number; none for a noble gas that forms no compound."""

METALS = frozenset(map(atomic_number, _METALS.split()))
"""Atomic numbers of the elements whose compounds with each other are taken for alloys."""

PAULING: dict[int, float] = {z: ELECTRONEGATIVITIES[z - 1] for z in STATES} | {
    atomic_number(symbol): value for symbol, value in _EARLIER.items()
}
"""Electronegativity by atomic number; NaN where there is none."""
