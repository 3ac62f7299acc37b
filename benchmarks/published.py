"""Figures that papers publish on GDSS's protocol for QM9 and ZINC250k: 10,000 molecules against the held-out split.

Validity without correction (per cent), NSPDK MMD and FCD, as the tables named beside them have them. Validity there
counts what GDSS's correction leaves untouched, charges that it adds included; see `sciflow.domains.molecules.metrics`.
Systems on other splits or with other distances (DeFoG's and Cometh's own tables, for instance) are left out.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """A row: name, share valid without correction, NSPDK MMD, FCD, and the table it is taken from."""

    system: str
    valid: float
    nspdk: float
    fcd: float
    source: str


_GDSS = "arXiv:2202.02514, table 2"
_GRUM = "arXiv:2302.03596, table of 2-D molecules"

PAPERS: dict[str, tuple[Published, ...]] = {
    "qm9": (
        Published("MoFlow", 0.9136, 0.017, 4.467, _GDSS),
        Published("EDP-GNN", 0.4752, 0.005, 2.680, _GDSS),
        Published("GraphEBM", 0.0822, 0.030, 6.143, _GDSS),
        Published("GDSS", 0.9572, 0.003, 2.900, _GDSS),
        Published("DiGress", 0.9819, 0.0003, 0.095, _GRUM),
        Published("GruM", 0.9969, 0.0002, 0.108, _GRUM),
    ),
    "zinc250k": (
        Published("MoFlow", 0.6311, 0.046, 20.93, _GDSS),
        Published("EDP-GNN", 0.8297, 0.049, 16.74, _GDSS),
        Published("GraphEBM", 0.0529, 0.212, 35.47, _GDSS),
        Published("GDSS", 0.9701, 0.019, 14.66, _GDSS),
        Published("DiGress", 0.9499, 0.0021, 3.482, _GRUM),
        Published("GruM", 0.9865, 0.0015, 2.257, _GRUM),
    ),
}

__all__ = ["PAPERS", "Published"]
