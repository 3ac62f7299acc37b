"""The adapter of the molecules domain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from sciflow.adapter import Adapter, Read
from sciflow.conditions import Conditions
from sciflow.errors import built, expected, unknown
from sciflow.hooks import Hook
from sciflow.hooks.guidance import Null
from sciflow.spaces import pair_index
from sciflow.state import Frame, State
from sciflow.streams import Streams
from sciflow.system import System

from .graphs import MolecularGraphs, encode, to_mol
from .process import Process
from .properties import COMPUTED, MEASURED
from .training import GraphDataset, load_graphs
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .scaffold import Scaffold

_DATA = ("train", "vocabulary", "max_atoms", "conditions")
_OPTIONS = ("atoms", "scaffold", "repeats", "rings", "connected")
REPEATS = 3
"""How often each step is made around a scaffold, by default."""
NETWORKS = ("graph-transformer", "gdss")


class Molecules(Adapter):
    """Molecular graphs: atoms and kekulised bonds, hydrogens implicit.

    Args:
        vocabulary: Atom types.
        size_counts: Number of training molecules of each size; sizes of samples are drawn from it.
        atom_frequencies: Share of each atom type ``[K]``.
        bond_frequencies: Share of each bond order 0..3 among the pairs ``[4]``.
        process: Path of atoms and bonds (see `Process.of`).
        network: ``{"name": one of NETWORKS, ...options}``.
        conditions: Properties that can be asked for, with their scales (`Conditions.config`).
    """

    name: ClassVar[str] = "molecules"
    suffixes: ClassVar[tuple[str, ...]] = (".smi", ".sdf", ".csv")

    def __init__(
        self,
        vocabulary: Vocabulary,
        size_counts: Mapping[int, int],
        atom_frequencies: Sequence[float],
        bond_frequencies: Sequence[float],
        process: str | Mapping[str, Any] = "marginal",
        network: Mapping[str, Any] | None = None,
        conditions: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.conditions = Conditions.from_config(conditions or {})
        self.size_counts = dict(sorted((int(n), int(c)) for n, c in size_counts.items()))
        self.network_options = dict(network or {"name": "graph-transformer"})
        self.network_name = self.network_options.pop("name", "graph-transformer")
        if self.network_name not in NETWORKS:
            raise unknown("network", self.network_name, NETWORKS)
        if not self.size_counts or min(self.size_counts) < 1:
            raise expected("size_counts", self.size_counts, "at least one size of at least 1 atom")
        self.process = Process.of(
            process,
            self.network_name,
            tuple(float(f) for f in atom_frequencies),
            tuple(float(f) for f in bond_frequencies),
        )

    # -- configuration ---------------------------------------------------------------------------------------------

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Molecules:
        """Make the adapter that `config` described."""
        return cls(**{**config, "vocabulary": Vocabulary(tuple(config["vocabulary"]))})

    def config(self) -> dict[str, Any]:
        """Everything that `from_config` needs."""
        return {
            "vocabulary": list(self.vocabulary.names),
            "size_counts": {str(n): c for n, c in self.size_counts.items()},
            "atom_frequencies": list(self.process.atom_frequencies),
            "bond_frequencies": list(self.process.bond_frequencies),
            "process": self.process.config(),
            "network": {"name": self.network_name, **self.network_options},
            **({"conditions": self.conditions.config()} if self.conditions.names else {}),
        }

    @classmethod
    def from_graphs(
        cls,
        graphs: MolecularGraphs,
        process: str | Mapping[str, Any] = "marginal",
        network: Mapping[str, Any] | None = None,
    ) -> Molecules:
        """Make an adapter for encoded data."""
        return cls(
            graphs.vocabulary,
            graphs.size_counts(),
            graphs.atom_frequencies(),
            graphs.bond_frequencies(),
            process,
            network,
            Conditions.of(graphs.properties).config(),
        )

    @classmethod
    def from_data(
        cls, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Molecules, GraphDataset]:
        """Make an adapter for training data, and the data set.

        Args:
            data: ``train``: an encoded ``.safetensors`` file, or a file of molecules that is encoded on the spot;
                ``vocabulary`` (list of names, default: found in the data) and ``max_atoms`` for the latter;
                ``conditions``: names of properties that generation can then be asked for (see `properties`).
            options: ``process`` and ``network``.
        """
        for name in data:
            if name not in _DATA:
                raise unknown("key in [data]", name, _DATA)
        for name in options:
            if name not in ("process", "network"):
                raise unknown("table", name, ("process", "network"))
        if "train" not in data:
            raise expected("[data]", dict(data), "'train', a file of molecules")
        graphs, left_out = load_graphs(
            **{"path" if k == "train" else k: v for k, v in data.items()}
        )
        adapter = cls.from_graphs(graphs, **options)
        return adapter, GraphDataset(graphs, adapter.process, adapter.conditions, left_out)

    @classmethod
    def from_start(
        cls, start: Adapter, data: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[Molecules, GraphDataset]:
        """As `from_data`, with the vocabulary, the largest size, the process and the network of `start`.

        A vocabulary with more atom types, and a larger ``max_atoms``, are taken where they are given (see
        `transplant`).
        """
        assert isinstance(start, Molecules)
        names = list(start.vocabulary.names)
        wanted = list(data.get("vocabulary", names))
        if wanted != names and not (
            set(names) <= set(wanted) and start.network_name == "graph-transformer"
        ):
            what = f"that of the model to start from, {names}, or one with more atom types"
            raise expected("vocabulary", wanted, what)
        known = {k: start.config()[k] for k in ("process", "network")}
        found = {"vocabulary": names, "max_atoms": start.max_atoms}
        found |= {"conditions": start.conditions.names} if start.conditions.names else {}
        adapter, dataset = cls.from_data({**found, **data}, {**known, **options})
        # The weights know the properties on their old scale.
        scales = {**adapter.conditions.scales, **start.conditions.scales}
        adapter.conditions = Conditions({k: scales[k] for k in adapter.conditions.names})
        dataset.conditions = adapter.conditions
        adapter.size_counts.setdefault(start.max_atoms, 0)  # the network has a place for it
        return adapter, dataset

    def carried(self, start: Adapter, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights of a model to start from, for this vocabulary, these sizes and these inputs."""
        assert isinstance(start, Molecules)
        if self.network_name != "graph-transformer":
            return tensors
        from .networks.transformer import more_inputs
        from .transplant import transplant

        names = ("alternation", "paths")
        new, old = ([k for k in names if a.network_options.get(k)] for a in (self, start))
        if new[: len(old)] != old:
            what = f"at first {old}, as the weights of recipe.start"
            raise expected("inputs of the network", new, what)
        more = more_inputs(**dict.fromkeys(new[len(old) :], True))
        return transplant(tensors, self.max_atoms, self.vocabulary, start.vocabulary, more)

    @property
    def max_atoms(self) -> int:
        """Largest number of atoms in the training data."""
        return max(self.size_counts)

    def system(self) -> System:
        """The system of atoms and bonds."""
        return self.process.system()

    def network(self) -> nn.Module:
        """A new network for the system."""
        if self.network_name == "gdss":
            from . import gdss

            if self.conditions.names:
                raise expected("conditions", self.conditions.names, "network 'graph-transformer'")
            return gdss.network(len(self.vocabulary), self.network_options)
        from .networks.transformer import GraphTransformer

        return built(
            f"network {self.network_name}",
            GraphTransformer,
            self.network_options,
            self.process.states("atoms"),
            self.process.states("bonds"),
            len(self.vocabulary),
            len(self.process.bond_frequencies),
            self.vocabulary.valences,
            self.max_atoms,
            conditions=self.conditions.names,
        )

    # -- objects and states ----------------------------------------------------------------------------------------

    def encode(self, objects: Iterable[Any]) -> State:
        """Encode molecules as a clean state; raises if one does not fit the vocabulary."""
        objects = list(objects)
        result = encode(objects, self.vocabulary)
        if result.skipped:
            missing = sorted(set(range(len(objects))) - set(result.kept))
            raise expected(
                f"molecule {missing[0]}",
                next(iter(result.skipped)),
                f"a molecule of {', '.join(self.vocabulary.names)}",
            )
        return self._show(result.graphs, slice(None))

    def _show(self, graphs: MolecularGraphs, index: Any) -> State:
        data = GraphDataset(graphs, self.process, self.conditions)
        return data.batch(torch.arange(len(graphs))[index])

    def null(self) -> Mapping[str, Null]:
        """The properties, 0 where they are not given."""
        return self.conditions.null()

    def decode(self, state: State) -> list[Any]:
        """Decode a clean state to raw molecules; nothing is repaired."""
        atoms, bonds, sizes = (x.cpu().numpy() for x in self.process.read(state))
        mols = []
        for labels, orders, size in zip(atoms, bonds, sizes, strict=True):
            n = int(size)
            keep = [k for k in range(n) if labels[k] >= 0]
            if len(keep) < n:
                i, j = (x.numpy() for x in pair_index(n))
                both = np.isin(i, keep) & np.isin(j, keep)
                orders = orders[: len(i)][both]
            mols.append(to_mol([int(labels[k]) for k in keep], orders.tolist(), self.vocabulary))
        return mols

    def frame(self, streams: Streams, options: Mapping[str, Any] | None = None) -> Frame:
        """Draw numbers of atoms from the training data's; option ``atoms`` fixes them.

        Args:
            streams: Random streams of the batch.
            options: Any of ``atoms`` (a number), ``scaffold`` (a SMILES, see `scaffold`) with ``repeats`` (how often
                each step is made to fit the rest to it), ``rings`` (atoms of the largest ring), ``connected`` (true:
                of one piece), and the model's properties (a number, or a list of them that is dealt out in turn).
        """
        options = dict(options or {})
        for name in options:
            if name in (*_OPTIONS, *self.conditions.names):
                continue
            if name in (*COMPUTED, *MEASURED) and not self.conditions.names:
                do = "qm9-properties has gap, mu, logp and qed; or train one with conditions"
                raise expected("option", name, "a model that has learnt it", do)
            raise unknown("option", name, (*_OPTIONS, *self.conditions.names))
        fixed, scaffold = options.pop("atoms", None), self.scaffold(options)
        least = len(scaffold) if scaffold else 1
        if fixed is not None:
            if isinstance(fixed, bool) or not isinstance(fixed, int):
                raise expected("atoms", fixed, "a whole number")
            if not least <= fixed <= self.max_atoms:
                raise expected("atoms", fixed, f"a number from {least} to {self.max_atoms}")
            sizes = torch.full((len(streams),), fixed, device=streams.index.device)
        else:
            # Of the sizes that hold the scaffold, its own where the data have none.
            fit = {n: float(c) for n, c in self.size_counts.items() if n >= least and c}
            fit = fit or {least: 1.0}
            counts = torch.tensor(list(fit.values()), dtype=torch.float64)
            counts = counts.to(streams.index.device).expand(len(streams), -1)
            known = torch.tensor(list(fit), device=streams.index.device)
            sizes = known[streams.categorical(counts)]
        nodes = int(sizes.max())
        wishes = {k: v for k, v in options.items() if k in self.conditions.names}
        condition = self.conditions.wish(wishes, streams)
        return Frame(self.process.shapes(nodes), self.process.masks(sizes, nodes), condition)

    def scaffold(self, options: Mapping[str, Any]) -> Scaffold | None:
        """Return the scaffold that the options ask for, or None."""
        from .scaffold import Scaffold

        text, repeats = options.get("scaffold"), options.get("repeats", REPEATS)
        if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
            raise expected("repeats", repeats, "a whole number >= 1")
        if text is None:
            if "repeats" in options:
                raise expected("repeats", repeats, "a scaffold beside it")
            return None
        return Scaffold.of(text, self.vocabulary, self.max_atoms)

    def hooks(self, frame: Frame, options: Mapping[str, Any] | None = None) -> Sequence[Hook]:
        """Hold the scaffold, keep larger rings away and the molecule together, where that is asked for."""
        options, hooks = options or {}, []
        scaffold = self.scaffold(options)
        if scaffold is not None:
            hooks.append(scaffold.inpaint(self.process, frame, options.get("repeats", REPEATS)))
        for name in ("rings", "connected"):
            if name in options and self.process.form == "adjacency":
                got = f"{options[name]} with network {self.network_name!r}"
                raise expected(name, got, "a model that believes in kinds of bonds")
        if "rings" in options:
            from .rings import LargestRing

            hooks.append(LargestRing(options["rings"]))
        connected = options.get("connected", False)
        if not isinstance(connected, bool):
            raise expected("connected", connected, "true or false")
        if connected:
            from .pieces import OnePiece

            hooks.append(OnePiece(self.vocabulary.valences))
        return hooks

    def rewards(self) -> Mapping[str, Callable[[Any], float]]:
        """The properties that RDKit computes."""
        from functools import partial

        from .properties import compute

        return {name: partial(compute, name) for name in COMPUTED}

    def judged(self, thing: Any) -> Any:
        """Return a molecule sanitised, None where it is not valid or not of one piece."""
        from . import validity

        return validity.sanitized(thing) if validity.connected(thing) else None

    # -- files, metrics, pictures ----------------------------------------------------------------------------------

    @classmethod
    def knows(cls, name: str) -> bool:
        """True for a data set by name, such as ``qm9:test``."""
        from . import datasets

        return datasets.is_name(name)

    @classmethod
    def read(
        cls,
        path: str | Path,
        raw: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> Read:
        """Read molecules from a ``.smi``, ``.csv`` or ``.sdf`` file, or a data set by name."""
        from . import datasets, files

        if datasets.is_name(str(path)):
            return Read(datasets.molecules(str(path)))
        result = files.read(path, raw=raw, progress=progress)
        return Read(result.mols, [(s.row, s.text, s.reason) for s in result.skipped])

    @classmethod
    def writer(cls, path: str | Path) -> Any:
        """Open a file of molecules for writing."""
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
        """Judge molecules (see `metrics.evaluate`)."""
        from .metrics import evaluate

        return evaluate(
            objects,
            reference=reference,
            train=train,
            unreadable=unreadable,
            device=device,
            progress=progress,
        )

    @classmethod
    def draw(cls, objects: Sequence[Any], path: str | Path) -> None:
        """Draw a grid of molecules."""
        from .draw import grid

        grid(objects, path)

    @classmethod
    def describe(cls, objects: Sequence[Any]) -> list[dict[str, Any]]:
        """One row per molecule: SMILES, validity, connectedness, number of atoms."""
        from dataclasses import asdict

        from .metrics import evaluate

        return [asdict(row) for row in evaluate(objects, distances=False).table]

    @classmethod
    def importers(cls) -> dict[str, Any]:
        """Readers of foreign weights: ``gdss``."""

        def gdss(path: str | Path) -> Any:
            from .gdss import import_weights

            return import_weights(path)

        return {"gdss": gdss}
