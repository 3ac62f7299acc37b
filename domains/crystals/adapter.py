"""The adapter of the crystals domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sciflow.adapter import Adapter, Read
from sciflow.conditions import Conditions
from sciflow.errors import built, expected, unknown
from sciflow.hooks import Hook
from sciflow.hooks.guidance import Null
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import System

from . import elements as table
from . import occupation, perovskite
from . import wishes as named
from .arrangement import sites
from .cells import Cells
from .crystal import Crystal
from .files import SUFFIXES
from .labels import facts, labels_of, widened
from .process import Process
from .structures import Crystals as Encoded
from .structures import encode
from .training import CrystalDataset, load

NETWORKS = ("periodic", "e3nn")
REMEMBERED = 1000
"""Number of compositions of the data that a model keeps, to draw from where no formula is given."""
_DATA = ("train", "niggli", "max_sites", "representation", "inversion", "conditions", "prototype")


class Crystals(Adapter):
    """Crystals: a lattice, fractional coordinates and species.

    Args:
        elements: Symbols of the elements; a label is a place in this list.
        size_counts: Number of training crystals of each number of sites.
        frequencies: Shares of the elements among the sites ``[K]``.
        formulas: Contents of cells of the data, such as ``SrTiO3``.
        cells: How lattices are written (`Cells.config`).
        process: Paths of coordinates, lattice and species (see `Process.of`).
        network: ``{"name": one of NETWORKS, ...options}``; ``facts = true`` shows it `labels.facts` of the elements,
            ``metric = true`` distances in space.
        inversion: Whether a crystal and its inversion are one in the data.
        prototype: One of `arrangement.PROTOTYPES`, whose sites show their roles; None where they have none.
        conditions: Properties that can be asked for, with their scales (`sciflow.conditions.Conditions.config`).
    """

    name: ClassVar[str] = "crystals"
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES

    def __init__(
        self,
        elements: Sequence[str],
        size_counts: Mapping[int, int],
        frequencies: Sequence[float],
        formulas: Sequence[str],
        cells: Mapping[str, Any],
        process: str | Mapping[str, Any] = "bayes",
        network: Mapping[str, Any] | None = None,
        inversion: bool = False,
        prototype: str | None = None,
        conditions: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.elements = tuple(elements)
        self.numbers = tuple(map(table.atomic_number, self.elements))
        self.size_counts = dict(sorted((int(n), int(c)) for n, c in size_counts.items()))
        if not self.elements or not self.size_counts or min(self.size_counts) < 1:
            raise expected("crystals", "no elements or no sizes", "at least one of each")
        self.formulas, self.inversion, self.prototype = tuple(formulas), inversion, prototype
        self.cells = Cells.from_config(cells)
        self.conditions = Conditions.from_config(conditions or {})
        self.network_options = dict(network or {"name": "periodic"})
        self.network_name = self.network_options.pop("name", "periodic")
        if self.network_name not in NETWORKS:
            raise unknown("network", self.network_name, NETWORKS)
        self.process = Process.of(process, tuple(map(float, frequencies)))

    # -- configuration ---------------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Crystals:
        """Make the adapter that `config` described."""
        return cls(**config)

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs."""
        return {
            "elements": list(self.elements),
            "size_counts": {str(n): c for n, c in self.size_counts.items()},
            "frequencies": list(self.process.frequencies),
            "formulas": list(self.formulas),
            "cells": self.cells.config(),
            "process": self.process.config(),
            "network": {"name": self.network_name, **self.network_options},
            "inversion": self.inversion,
            "prototype": self.prototype,
            **({"conditions": self.conditions.config()} if self.conditions.names else {}),
        }

    @classmethod
    def of(
        cls,
        crystals: Encoded,
        process: str | Mapping[str, Any] = "bayes",
        network: Mapping[str, Any] | None = None,
        representation: str = "logarithm",
        inversion: bool = False,
        prototype: str | None = None,
    ) -> Crystals:
        """Make an adapter for encoded data.

        Args:
            crystals: The data; their properties become conditions.
            process: See `Process.of`.
            network: Name and options.
            representation: One of `lattice.REPRESENTATIONS`.
            inversion: See the class.
            prototype: See the class.
        """
        numbers = crystals.elements()
        labels = labels_of(crystals.species.long(), numbers)
        counts = torch.bincount(labels[crystals.mask], minlength=len(numbers)).double()
        cells = Cells.fit(
            crystals.matrix(torch.float64), labels, crystals.mask, len(numbers), representation
        )
        step = max(1, -(-len(crystals) // REMEMBERED))
        kept = (row[row > 0].tolist() for row in crystals.species[::step])
        formulas = dict.fromkeys(table.formula(table.composition(row)) for row in kept)
        return cls(
            [table.symbol(z) for z in numbers],
            crystals.size_counts(),
            (counts / counts.sum()).tolist(),
            list(formulas),
            cells.config(),
            process,
            network,
            inversion,
            prototype,
            Conditions.of({k: v.numpy() for k, v in crystals.properties.items()}).config(),
        )

    @classmethod
    def from_data(
        cls, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Crystals, CrystalDataset]:
        """Make an adapter for training data, and the data set.

        Args:
            data: ``train``: an encoded ``.safetensors`` file, a file of structures or the name of a data set;
                ``niggli`` (take reduced cells), ``max_sites``, ``representation``, ``inversion``, ``prototype``;
                ``conditions``: names of properties that generation can then be asked for (see `training`).
            options: ``process`` and ``network``.
        """
        for name in data:
            if name not in _DATA:
                raise unknown("key in [data]", name, _DATA)
        for name in options:
            if name not in ("process", "network"):
                raise unknown("table", name, ("process", "network"))
        if "train" not in data:
            raise expected("[data]", dict(data), "'train', a file of crystals")
        known = {k: data[k] for k in ("niggli", "max_sites", "conditions") if k in data}
        crystals, left_out = load(data["train"], **known)
        form = {k: data[k] for k in ("representation", "inversion", "prototype") if k in data}
        adapter = cls.of(crystals, **options, **form)
        return adapter, CrystalDataset(crystals, adapter, left_out)

    def carried(self, start: Adapter, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return weights of another model; what a path shows beside elements (a mask) begins at zero."""
        return widened(tensors, self.process.states)

    @property
    def max_sites(self) -> int:
        """Largest number of sites in the training data."""
        return max(self.size_counts)

    def system(self) -> System:
        """The system of lattice, coordinates and species."""
        return self.process.system()

    def network(self) -> nn.Module:
        """A new network for the system."""
        options = dict(self.network_options)
        if options.pop("facts", False):
            options["facts"] = facts(self.numbers)
        if options.pop("metric", False):
            options["metric"] = self.cells.standard
        what = f"network {self.network_name}"
        if self.network_name == "e3nn":
            from .networks.equivariant import Equivariant

            if self.conditions.names:
                raise expected("conditions", self.conditions.names, "network 'periodic'")
            return built(what, Equivariant, options, self.process, self.cells)
        from .networks.periodic import Periodic

        names = self.conditions.names
        return built(what, Periodic, options, self.process, conditions=names)

    # -- objects and states ----------------------------------------------------------------------------------------

    def encode(self, objects: Iterable[Any]) -> State:
        """Encode crystals as a clean state, sites in the order of `arrangement`.

        Raises:
            SciflowError: A crystal does not fit; the first is named.
        """
        objects = list(objects)
        result = encode(objects, species=self.numbers)
        if result.skipped:
            missing = sorted(set(range(len(objects))) - set(result.kept))
            raise expected(
                f"crystal {missing[0]}",
                next(iter(result.skipped)),
                f"a crystal of {', '.join(self.elements)}",
            )
        data = CrystalDataset(result.crystals, self)
        return data.batch(torch.arange(len(objects)))

    def null(self) -> Mapping[str, Null]:
        """The properties, 0 where they are not given."""
        return self.conditions.null()

    def decode(self, state: State) -> list[Crystal]:
        """Decode a clean state; nothing is repaired."""
        labels, ranks, coordinates, numbers = self.process.read(state)
        real = ranks > 0
        matrices = self.cells.decode(numbers.double(), labels, real).cpu().numpy()
        species = torch.tensor(self.numbers, device=labels.device)[labels]
        made = []
        for k, n in enumerate(real.sum(1).tolist()):
            places = coordinates[k, :n].double().cpu().numpy()
            made.append(Crystal(species[k, :n].cpu().numpy(), places, matrices[k]))
        return made

    def frame(self, streams: Streams, options: Mapping[str, Any] | None = None) -> Frame:
        """Lay out crystals.

        Args:
            streams: Random streams of the batch.
            options: ``formula``: contents of the cell, or with ``atoms`` the formula that they are a multiple of;
                ``elements``: symbols, a list or separated by commas, beyond which nothing is used; ``atoms``: number
                of sites; ``spacegroup``: number or symbol, the cell is then a primitive one (see `symmetric`);
                ``like``: known crystals, a file or `templates.Templates`; and the properties of the model, each a
                number or a list of them that is dealt out in turn. Without a formula, structure prediction takes
                compositions of its training data; generation takes no formula, and draws numbers of sites from the
                data.

        Raises:
            SciflowError: A wish cannot be fulfilled.
        """
        options = dict(options or {})
        asked = {name: options.pop(name) for name in self.conditions.names if name in options}
        wishes = named.Wishes.of(options, self.elements, self.max_sites, self.conditions.names)
        frame = self._sited(streams, wishes)
        given = {**self.conditions.wish(asked, streams)}
        if options.get("like") is not None:
            given["template"] = streams.index
        if wishes.group is not None:
            own = Streams(streams.seed, streams.index, f"{streams.purpose} symmetry")
            lots = own.bits(1)[:, 0]
            given["symmetry"] = torch.stack((torch.full_like(lots, wishes.group), lots), 1)
        return replace(frame, condition={**frame.condition, **given})

    def _sited(self, streams: Streams, wishes: named.Wishes) -> Frame:
        """Lay out the sites."""
        formula, size = wishes.formula, wishes.size
        if not self.process.given:
            if formula is not None:
                raise expected(
                    "formula",
                    formula,
                    "no formula for a model that makes compositions itself",
                    "give elements=..., or take a model of structure prediction",
                )
            return self._by_size(streams, wishes)
        if formula is not None:
            choices = [named.contents(formula, size, self.elements, self.max_sites)]
        else:
            known = map(table.parse, self.formulas)
            choices = [c for c in known if size in (None, sum(c.values()))]
        names = None if wishes.allowed is None else {self.numbers[k] for k in wishes.allowed}
        fitting = [c for c in choices if names is None or set(c) <= names]
        if fitting:
            choices = occupation.fitting(wishes.group, fitting, lambda c: tuple(c.values()))
            return self._by_composition(streams, choices)
        got = "any" if names is None else ", ".join(sorted(map(table.symbol, names)))
        if formula is not None:
            raise expected("elements", got, f"those of {formula}")
        known = f"those of a known composition of {size or 'any number of'} atoms"
        raise expected("elements", got, known, "give a formula")

    def _by_composition(self, streams: Streams, choices: Sequence[dict[int, int]]) -> Frame:
        device, count = streams.index.device, len(streams)
        flat = torch.ones(count, len(choices), dtype=torch.float64, device=device)
        return self.frame_of([choices[k] for k in streams.categorical(flat).tolist()], device)

    def frame_of(
        self,
        compositions: Sequence[Mapping[int, int]],
        device: torch.device | str = "cpu",
    ) -> Frame:
        """Lay out one crystal for each composition: structure prediction for a list of targets.

        Args:
            compositions: Number of atoms in the cell by atomic number, of elements of the model.
            device: Where to.

        Raises:
            SciflowError: The model makes compositions itself, or does not know an element.
        """
        if not self.process.given:
            raise expected("process of species", "one that makes them", "'given'")
        width = max(sum(composition.values()) for composition in compositions)
        labels = torch.zeros(len(compositions), width, dtype=torch.int64)
        ranks = torch.zeros_like(labels)
        for row, composition in enumerate(compositions):
            species, own = sites(composition)
            for z in composition:
                if z not in self.numbers:
                    raise unknown("element", table.symbol(z), self.elements)
            labels[row, : len(own)] = torch.tensor([self.numbers.index(z) for z in species])
            ranks[row, : len(own)] = torch.tensor(own)
        frame = self._frame(labels.to(device), ranks.to(device))
        none = {k: torch.zeros(len(labels), 2, device=device) for k in self.conditions.names}
        return replace(frame, condition={**frame.condition, **none})

    def _by_size(self, streams: Streams, wishes: named.Wishes) -> Frame:
        device, count, size = streams.index.device, len(streams), wishes.size
        choices = list(self.size_counts) if size is None else [size]
        choices = occupation.fitting(wishes.group, choices, lambda n: (n,))
        # A number that is asked for need not be one of the data.
        weights = torch.tensor([self.size_counts.get(n, 1) for n in choices], dtype=torch.float64)
        drawn = streams.categorical(weights.to(device).expand(count, -1))
        sizes = torch.tensor(choices, device=device)[drawn]
        place = torch.arange(int(sizes.max()), device=device)
        ranks = torch.where(place < sizes[:, None], place + 1, 0)
        frame = self._frame(torch.zeros_like(ranks), ranks)
        if wishes.allowed is None:
            return frame
        chosen = torch.zeros(count, len(self.elements), dtype=torch.bool, device=device)
        chosen[:, wishes.allowed] = True
        return replace(frame, condition={**frame.condition, "allowed": chosen})

    def _frame(self, labels: Tensor, ranks: Tensor) -> Frame:
        p = self.process
        condition = p.condition(labels, ranks)
        lot = self._roles if self.prototype and p.given else None
        return Frame(p.shapes(ranks.shape[1]), p.masks(ranks > 0), condition, lot)

    def _roles(self, condition: Mapping[str, Tensor], streams: Streams) -> Mapping[str, Tensor]:
        """Draw what the composition leaves open of a prototype."""
        labels, ranks = condition["species"], condition["ranks"]
        species = torch.tensor(self.numbers, device=labels.device)[labels] * (ranks > 0)
        return {"ranks": perovskite.toss(species, ranks, streams)}

    def hooks(self, frame: Frame, options: Mapping[str, Any] | None = None) -> Sequence[Hook]:
        """Hold crystals to their space group, or to known crystals, where that is asked for."""
        return named.hooks(self, frame, options or {})

    def rewards(self) -> Mapping[str, Callable[[Any], float]]:
        """Rewards by name (see `rewards`)."""
        from . import rewards

        return rewards.named()

    def judged(self, thing: Any) -> Any:
        """Return a crystal, None where it is no valid structure."""
        from . import validity

        return None if validity.problem(thing) else thing

    # -- files, metrics, pictures ----------------------------------------------------------------------------------

    @classmethod
    def knows(cls, name: str) -> bool:
        """True for a data set by name, such as ``perov5:test``."""
        from . import datasets

        return datasets.is_name(name)

    @classmethod
    def read(
        cls,
        path: str | Path,
        raw: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Read:
        """Read crystals from a file with one of `suffixes`, or a data set by name."""
        from . import datasets, files

        if datasets.is_name(str(path)):
            return datasets.read(str(path), progress)
        return files.read(path, raw=raw, progress=progress)

    @classmethod
    def writer(cls, path: str | Path) -> Any:
        """Open a file of crystals for writing."""
        from . import files

        return files.Writer(path)

    @classmethod
    def metrics(
        cls,
        objects: Sequence[Any],
        reference: Sequence[Any] | None = None,
        train: Sequence[Any] | None = None,
        *,
        unreadable: int = 0,
        device: str = "cpu",
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Any:
        """Judge crystals (see `metrics.evaluate`; `matching.match` compares predictions with their targets)."""
        from .metrics import evaluate

        return evaluate(objects, reference, train, unreadable=unreadable, progress=progress)

    @classmethod
    def draw(cls, objects: Sequence[Any], path: str | Path) -> None:
        """Draw a grid of crystals."""
        from .draw import grid

        grid(objects, path)

    @classmethod
    def describe(cls, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """One row per crystal: formula, validity, space group, density, lattice."""
        from dataclasses import asdict

        from .metrics import evaluate

        return [asdict(row) for row in evaluate(objects).table]


__all__ = ["NETWORKS", "Crystals"]
