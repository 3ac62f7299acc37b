r"""Processes on crystals: one word (or table) of a configuration to a system of lattice, coordinates and species.

| component | word | path | space, state |
|---|---|---|---|
| coordinates | bayes, von-mises | von Mises Bayesian flow (planar form) | `Circle` ``[B, N, 3, 2]`` |
| | von-mises-steps | the same in finitely many steps, CrysBFN's | `Circle` |
| | linear | geodesic flow matching from uniform noise | `Torus` ``[B, N, 3]`` |
| | ve, edm | wrapped-normal diffusion | `Torus` |
| lattice | bayes | Gaussian Bayesian flow | `Euclidean` ``[B, 6]`` |
| | linear, vp, cosine, ... | any Gaussian path | `Euclidean` |
| species | given | structure prediction: a condition, no component | |
| | bayes | categorical Bayesian flow | `Simplex` ``[B, N, K]`` |
| | mask, marginal, uniform | jumps | `Categorical` ``[B, N]`` |

Sites come in the order of `arrangement`, the anchor first. The anchor lies at the origin and is known at every time:
the mask of the coordinates leaves it out. The six numbers of the lattice (`lattice.Standardised`) have the mean of the
composition taken off, a linear fit over elements of a third of log(V / N).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sciflow import paths
from sciflow.errors import expected, unknown
from sciflow.paths.bayes import AdditiveBayes, CategoricalBayes, belief, certainty
from sciflow.spaces import Categorical, Circle, Euclidean, Simplex, Space, Torus
from sciflow.state import State
from sciflow.system import Component, System

COMPONENTS = ("lattice", "coordinates", "species")
WORDS = {
    "lattice": {"bayes": "gaussian-bayes"},
    "coordinates": {"bayes": "von-mises-bayes", "von-mises": "von-mises-bayes"},
    "species": {"bayes": "categorical-bayes"},
}
"""Words of this domain for paths of the core."""
SPECIES = ("given", "bayes", *paths.JUMPS)
_SETTINGS = ("kind", "weight", "measure")
# Noise that fills the unit period, in place of the core's values for data of unit variance.
_WRAPPED = {
    "ve": {"sigma_min": 0.003, "sigma_max": 0.6},
    "edm": {"sigma_min": 0.003, "sigma_max": 0.6},
}
_DISC = ("von-mises-bayes", "von-mises-steps")


@dataclass(frozen=True, eq=False)
class View:
    """What a network sees of a state.

    Args:
        sites: True on real sites, bool ``[B, N]``.
        known: True where the coordinates are given (the anchor), bool ``[B, N]``.
        directions: Unit vectors (cos, sin) of the angles 2 pi f, ``[B, N, 3, 2]``.
        certainty: How sure the belief is, 0 to about 1, ``[B, N, 3]``; 0 where the path holds no belief.
        lattice: ``[B, 6]``.
        species: Labels int64 ``[B, N]`` or believed probabilities ``[B, N, K]``.
        ranks: int64 ``[B, N]``, 0 on padding.
        allowed: Elements that may be generated, bool ``[B, K]``, or None.
    """

    sites: Tensor
    known: Tensor
    directions: Tensor
    certainty: Tensor
    lattice: Tensor
    species: Tensor
    ranks: Tensor
    allowed: Tensor | None = None

    def part(self, rows: Tensor, sites: int) -> View:
        """Return some of the crystals, with so many sites.

        Args:
            rows: Which ones, int64.
            sites: Number of sites to keep, at least that of the largest of them.
        """
        allowed = None if self.allowed is None else self.allowed[rows]
        lattice = self.lattice[rows]
        sited = (self.sites, self.known, self.directions, self.certainty, self.species, self.ranks)
        seen, known, directions, sure, species, ranks = (x[rows, :sites] for x in sited)
        return View(seen, known, directions, sure, lattice, species, ranks, allowed)


@dataclass(frozen=True)
class Process:
    """How lattice, coordinates and species go from noise to data.

    Args:
        paths: ``{"path": name, ...options}`` of each of `COMPONENTS`.
        frequencies: Shares of the elements in the data ``[K]``.
        anchor: Whether the first site is known to lie at the origin.
    """

    paths: Mapping[str, Mapping[str, Any]]
    frequencies: tuple[float, ...]
    anchor: bool = True
    _system: System = field(init=False, repr=False, compare=False)

    @classmethod
    def of(cls, choice: str | Mapping[str, Any], frequencies: tuple[float, ...]) -> Process:
        """Read the ``process`` of a configuration.

        Args:
            choice: A word for the coordinates, or a table of words or tables for some of `COMPONENTS`, with
                ``anchor`` beside. A component's table has ``path``, its options, and ``kind``, ``weight`` and
                ``measure`` (see `sciflow.component.Component`). What is left out: species are given; the lattice
                follows a Gaussian Bayesian flow, or the straight line where the coordinates do.
            frequencies: Shares of the elements in the data.

        Raises:
            SciflowError: A word, a path or an option is unknown, or does not suit the component.
        """
        given = {"coordinates": choice} if isinstance(choice, str) else dict(choice)
        if "path" in given:  # `--set process.x=` turned a word into a table
            given["coordinates"] = given.pop("path")
        anchor = bool(given.pop("anchor", True))
        for name in given:
            if name not in COMPONENTS:
                raise unknown("component of the process", name, (*COMPONENTS, "anchor"))
        tables = {
            name: _table(name, given[name]) for name in ("species", "coordinates") if name in given
        }
        tables.setdefault("coordinates", {"path": "von-mises-bayes"})
        tables.setdefault("species", {"path": "given"})
        straight = tables["coordinates"]["path"] == "linear"
        default = "linear" if straight else "gaussian-bayes"
        tables["lattice"] = _table("lattice", given.get("lattice", default))
        return cls({name: tables[name] for name in COMPONENTS}, frequencies, anchor)

    def __post_init__(self) -> None:
        components = {
            "lattice": self._lattice(),
            "coordinates": self._coordinates(),
        }
        if not self.given:
            components["species"] = self._species()
        object.__setattr__(self, "_system", System(components))

    def config(self) -> dict[str, Any]:
        """The table from which `of` makes the process again."""
        return {**{name: dict(table) for name, table in self.paths.items()}, "anchor": self.anchor}

    # -- the system --------------------------------------------------------------------------------------------------

    @property
    def given(self) -> bool:
        """Whether species are a condition: structure prediction."""
        return self.paths["species"]["path"] == "given"

    @property
    def on_circle(self) -> bool:
        """Whether coordinates are beliefs in the plane."""
        return self.paths["coordinates"]["path"] in _DISC

    @property
    def states(self) -> int:
        """Number of labels that a site can show: the elements, and states of the path's own."""
        if self.given:
            return len(self.frequencies)
        path = self._system["species"].path
        return path.states if isinstance(path, paths.Jump) else len(self.frequencies)

    @property
    def head(self) -> str:
        """Form of the coordinates in a network's output: ``disc``, ``shift`` or ``vector``."""
        if self.on_circle:
            return "disc"
        return "shift" if self._system["coordinates"].kind == "data" else "vector"

    def system(self) -> System:
        """The system of the process."""
        return self._system

    def _make(self, name: str) -> tuple[paths.Path, dict[str, Any]]:
        table = dict(self.paths[name])
        settings = {key: table.pop(key) for key in _SETTINGS if key in table}
        word = table.pop("path")
        if name == "coordinates" and word in _WRAPPED:
            table = {**_WRAPPED[word], **table}
        return paths.make(word, self.frequencies, table), settings

    def _lattice(self) -> Component:
        path, settings = self._make("lattice")
        bayes = isinstance(path, AdditiveBayes)
        defaults = {"kind": "data", "weight": 0.2, "measure": "clipped" if bayes else None}
        return Component(Euclidean(), path, **{**defaults, **settings})

    def _coordinates(self) -> Component:
        path, settings = self._make("coordinates")
        if self.on_circle:
            measure = "clipped" if isinstance(path, AdditiveBayes) else None
            return Component(Circle(), path, **{"kind": "data", "measure": measure, **settings})
        start = path.at(0.0)
        kind = "noise" if getattr(start, "a", 0.0) == 1.0 else "velocity"
        return Component(Torus(), path, **{"kind": kind, **settings})

    def _species(self) -> Component:
        path, settings = self._make("species")
        classes = len(self.frequencies)
        jump = isinstance(path, paths.Jump)
        if not jump and not isinstance(path, CategoricalBayes):
            raise unknown("process of species", self.paths["species"]["path"], SPECIES)
        space: Space = Categorical(classes) if jump else Simplex(classes)
        defaults = {"kind": "logits", "weight": 0.5, "marginal": self.frequencies}
        return Component(space, path, **{**defaults, **settings})

    # -- states ------------------------------------------------------------------------------------------------------

    def shapes(self, sites: int) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each component, for crystals padded to `sites` sites."""
        shapes: dict[str, tuple[int, ...]] = {
            "lattice": (6,),
            "coordinates": (sites, 3, 2) if self.on_circle else (sites, 3),
        }
        if not self.given:
            jump = isinstance(self._system["species"].path, paths.Jump)
            shapes["species"] = (sites,) if jump else (sites, len(self.frequencies))
        return shapes

    def masks(self, real: Tensor) -> dict[str, Tensor]:
        """Masks of crystals with the given real sites (bool ``[B, N]``)."""
        free = real.clone()
        if self.anchor:
            free[:, :1] = False
        return {"coordinates": free} if self.given else {"coordinates": free, "species": real}

    def condition(self, labels: Tensor, ranks: Tensor) -> dict[str, Tensor]:
        """Condition of crystals: what of them is known before generation.

        Without given species all sites are numbered through, so that only their number is known.

        Args:
            labels: Element labels int64 ``[B, N]``.
            ranks: int64 ``[B, N]``, 0 on padding.
        """
        if self.given:
            return {"species": labels, "ranks": ranks}
        numbers = torch.arange(1, ranks.shape[1] + 1, device=ranks.device)
        return {"ranks": torch.where(ranks > 0, numbers, 0)}

    def show(self, labels: Tensor, ranks: Tensor, coordinates: Tensor, lattice: Tensor) -> State:
        """Turn arranged crystals into a clean state.

        Args:
            labels: Element labels int64 ``[B, N]``.
            ranks: int64 ``[B, N]``, 0 on padding.
            coordinates: Fractional coordinates ``[B, N, 3]`` relative to the anchor.
            lattice: Standardised numbers of the lattice ``[B, 6]``.
        """
        real = ranks > 0
        masks = self.masks(real)
        free = masks["coordinates"]
        fields: dict[str, Tensor] = {"lattice": lattice}
        if self.on_circle:
            vectors = Circle().vectors(coordinates)
            fields["coordinates"] = torch.where(free[..., None, None], vectors, 0.0)
        else:
            fields["coordinates"] = torch.where(free[..., None], coordinates, 0.0)
        if not self.given:
            labels = torch.where(real, labels, 0)
            space = self._system["species"].space
            if isinstance(space, Simplex):
                fields["species"] = space.corners(labels, lattice.dtype) * real.unsqueeze(-1)
            else:
                fields["species"] = labels
        return State(fields, masks, self.condition(labels, ranks))

    def read(self, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Turn a state at t = 1 into arrays: the way back from `show`.

        Returns:
            Labels ``[B, N]``, ranks ``[B, N]``, fractional coordinates ``[B, N, 3]``, lattice ``[B, 6]``.
        """
        labels, ranks = self._labels(state), state.condition["ranks"]
        x, free = state["coordinates"], state.masks["coordinates"].unsqueeze(-1)
        coordinates = Circle().coordinates(x) if self.on_circle else Torus().project(x, None)
        return labels, ranks, torch.where(free, coordinates, 0.0), state["lattice"]

    def _labels(self, state: State) -> Tensor:
        if self.given:
            return state.condition["species"]
        x = state["species"]
        if x.is_floating_point():
            return x.argmax(-1)
        # Before the end a mask state may still be there; it reads as the first element.
        return torch.where(x < len(self.frequencies), x, 0)

    def look(self, state: State, t: Tensor) -> View:
        """Return what a network sees of a state.

        Args:
            state: A state on its way.
            t: Times ``[B]``.
        """
        ranks = state.condition["ranks"]
        sites = ranks > 0
        known = sites & ~state.masks["coordinates"]
        x = state["coordinates"]
        if self.on_circle:
            path = self._system["coordinates"].path
            natural = path.natural(x, t) if isinstance(path, AdditiveBayes) else x
            directions, c = belief(natural)
            sure = certainty(c, getattr(path, "beta_1", 1000.0))
        else:
            directions = Circle().vectors(x)
            sure = torch.zeros_like(x)
        fixed = known.unsqueeze(-1)
        east = directions.new_tensor((1.0, 0.0)).expand_as(directions)
        directions = torch.where(fixed.unsqueeze(-1), east, directions)
        sure = torch.where(fixed, 1.0, sure)
        species = state.condition["species"] if self.given else state["species"]
        if species.is_floating_point():
            path = self._system["species"].path
            assert isinstance(path, CategoricalBayes)
            species = path.belief(species, t)
        allowed = state.condition.get("allowed")
        return View(sites, known, directions, sure, state["lattice"], species, ranks, allowed)


def _table(name: str, choice: Any) -> dict[str, Any]:
    """Return the table of a component with the core's word for its path."""
    table = {"path": choice} if isinstance(choice, str) else dict(choice)
    word = table.get("path")
    if not isinstance(word, str):
        raise expected(f"process of {name}", choice, "a word, or a table with 'path'")
    if name == "species" and word not in (*SPECIES, "categorical-bayes"):
        raise unknown("process of species", word, SPECIES)
    if name != "species" and word in paths.JUMPS:
        raise expected(f"process of {name}", word, "a continuous path")
    table["path"] = WORDS[name].get(word, word)
    return table


def one_hot(species: Tensor, states: int, dtype: torch.dtype) -> Tensor:
    """Return labels ``[B, N]`` as one-hot vectors; probabilities ``[B, N, K]`` as they are."""
    return species if species.is_floating_point() else F.one_hot(species, states).to(dtype)


__all__ = ["COMPONENTS", "SPECIES", "Process", "View", "one_hot"]
