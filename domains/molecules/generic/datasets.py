"""Sets of graphs by name: ``<set>``, ``<set>:train``, ``<set>:test``.

Files of GDSS, downloaded once or taken from the folder named by SCIFLOW_DATA (or its subfolders ``molecules`` and
``molecules/graphs``): the authors' ``community_small.pkl``, ``ego_small.pkl``, ``ENZYMES.pkl`` and ``grid.pkl``, or
``gdss_<set>.json.gz``, a list of ``{"n": nodes, "edges": [[i, j], ...]}`` in the same order. The sets are named
``community_small``, ``ego_small``, ``enzymes`` and ``grid``; the first fifth is the test set.

Drawn on the spot (see `generators`): ``synthetic-community``, ``synthetic-grid``, ``synthetic-planar``,
``synthetic-sbm``; a third word is the seed: ``synthetic-planar:train:7``. 200 graphs, the first 40 are the test set.

Many graphs of ``community_small``, ``ego_small`` and ``grid`` stand in them more than once: 10 of 20, 28 of 40 and
17 of 20 test graphs are isomorphic to a training graph, so a model that copies scores well there.

Reference: Jo, Lee, Hwang, Score-based generative modeling of graphs via the system of stochastic differential
equations, arXiv:2202.02514, section 5.1; Martinkus et al., SPECTRE, arXiv:2204.01613 (200 graphs).
"""

from __future__ import annotations

import networkx as nx

from sciflow.errors import expected, unknown
from sciflow.runtime import downloads

from . import files, generators, pickles

SPLITS = ("train", "test", "all")
FILES = ("community_small", "ego_small", "enzymes", "grid")
SYNTHETIC = "synthetic-"
COUNT = 200
"""Graphs of a synthetic set."""
_URL = "https://raw.githubusercontent.com/harryjo97/GDSS/master/data"


def is_name(text: str) -> bool:
    """True for ``grid``, ``grid:train``, ``synthetic-planar:test:3`` and the like."""
    name = text.partition(":")[0]
    return name in names()


def names() -> list[str]:
    """Names of all sets."""
    return [*FILES, *(SYNTHETIC + kind for kind in generators.GENERATORS)]


def graphs(name: str) -> list[nx.Graph]:
    """Return a set of graphs.

    Args:
        name: ``<set>[:<train|test|all>[:<seed>]]``.

    Raises:
        SciflowError: A word is unknown, or the file is missing.
    """
    kind, *words = name.split(":")
    if kind not in names():
        raise unknown("set of graphs", kind, names())
    split = words[0] if words else "all"
    if split not in SPLITS:
        raise unknown(f"split of {kind}", split, SPLITS)
    if kind in FILES:
        if len(words) > 1:
            raise expected(name, "a seed", "no seed: these graphs are given")
        file = {"enzymes": "ENZYMES"}.get(kind, kind)
        names_of_it = (f"{file}.pkl", f"gdss_{file}.json.gz", f"graphs/gdss_{file}.json.gz")
        path = downloads.find(names_of_it, "molecules", downloads.Remote(f"{_URL}/{file}.pkl"))
        found = pickles.read(path) if path.suffix == ".pkl" else files.read(path).objects
    else:
        seed = words[1] if len(words) > 1 else "0"
        if not seed.isdecimal():
            raise expected(name, seed, "a whole number as seed")
        found = generators.generate(kind.removeprefix(SYNTHETIC), COUNT, int(seed))
    test = len(found) // 5
    return found if split == "all" else found[:test] if split == "test" else found[test:]


__all__ = ["COUNT", "FILES", "SPLITS", "SYNTHETIC", "graphs", "is_name", "names"]
