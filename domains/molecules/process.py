"""Processes on molecular graphs: one word (or table) of a configuration to a system of atoms and bonds.

The same labels are shown to a system in one of three forms:

| form | atoms | bonds | for |
|---|---|---|---|
| labels | int64 ``[B, N]`` | int64 ``[B, P]`` | jump paths |
| one-hot | ``[B, N, K]`` | ``[B, P, 4]`` | Gaussian paths and beliefs, classes predicted by logits |
| adjacency | ``[B, N, K]`` | ``[B, N, N]``, the bond order as a number | Gaussian paths under GDSS's networks |

with P the unordered pairs in the order of `sciflow.spaces.pair_index`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sciflow import paths
from sciflow.errors import expected
from sciflow.spaces import Categorical, Euclidean, Simplex, Space, Symmetric, pair_index
from sciflow.state import State
from sciflow.system import Component, System

FORMS = ("labels", "one-hot", "adjacency")
COMPONENTS = ("atoms", "bonds")


@dataclass(frozen=True)
class Process:
    """How atoms and bonds go from noise to data.

    Args:
        form: One of `FORMS`.
        paths: Path and options of each component, ``{"atoms": {"path": name, ...}, "bonds": {...}}``.
        atom_frequencies: Class frequencies of the data ``[K]``.
        bond_frequencies: Frequencies of the bond orders ``[4]`` (of other graphs: of no edge and the kinds of edges).
        precondition: Whether logits start from the single-element posterior.
        bond_weight: Weight of the bonds in the loss.
    """

    form: str
    paths: Mapping[str, Mapping[str, Any]]
    atom_frequencies: tuple[float, ...]
    bond_frequencies: tuple[float, ...]
    precondition: bool = True
    bond_weight: float = 1.0

    @classmethod
    def of(
        cls,
        choice: str | Mapping[str, Any],
        network: str,
        atom_frequencies: tuple[float, ...],
        bond_frequencies: tuple[float, ...],
    ) -> Process:
        """Read the ``process`` of a configuration.

        Args:
            choice: Name of a path for both components, or a table with ``path`` and its options, or a table with
                one such table for ``atoms`` and one for ``bonds``; with ``precondition`` and ``bond_weight`` beside.
            network: Name of the network, which decides the form of Gaussian components.
            atom_frequencies: Class frequencies of the data ``[K]``.
            bond_frequencies: Frequencies of the bond orders ``[4]``.

        Raises:
            SciflowError: A path is unknown, or the two components mix jumps and Gaussian paths.
        """
        table: dict[str, Any] = {"path": choice} if isinstance(choice, str) else dict(choice)
        settings = {k: table.pop(k) for k in ("precondition", "bond_weight") if k in table}
        if set(table) != set(COMPONENTS):
            for name in table:
                if name in COMPONENTS:
                    raise expected("process", sorted(table), "a table for atoms and one for bonds")
            table = dict.fromkeys(COMPONENTS, table)
        for component, options in table.items():
            if not isinstance(options, Mapping) or "path" not in options:
                raise expected(f"process of {component}", options, "a table with 'path'")
        jumps = {options["path"] in paths.JUMPS for options in table.values()}
        if len(jumps) > 1:
            names = [options["path"] for options in table.values()]
            raise expected("process", names, "two jump paths or two Gaussian paths")
        form = "labels" if jumps == {True} else "adjacency" if network == "gdss" else "one-hot"
        if form == "labels" and network == "gdss":
            raise expected(
                "process", table["atoms"]["path"], "a Gaussian path for network 'gdss'", "try 'vp'"
            )
        process = cls(form, table, atom_frequencies, bond_frequencies, **settings)
        process.system()
        return process

    def config(self) -> dict[str, Any]:
        """The table from which `of` makes the process again."""
        return {
            **{name: dict(options) for name, options in self.paths.items()},
            "precondition": self.precondition,
            "bond_weight": self.bond_weight,
        }

    def states(self, name: str) -> int:
        """Number of values (or channels) that a component can show."""
        path = self._path(name)
        return path.states if isinstance(path, paths.Jump) else len(self._frequencies(name))

    def _frequencies(self, name: str) -> tuple[float, ...]:
        return self.atom_frequencies if name == "atoms" else self.bond_frequencies

    def _path(self, name: str) -> paths.Path:
        options = dict(self.paths[name])
        return paths.make(options.pop("path"), self._frequencies(name), options)

    def system(self) -> System:
        """The system of the process."""
        return System(
            {name: self._component(name) for name in COMPONENTS},
            reduction="sample" if self.form == "adjacency" else "element",
        )

    def _component(self, name: str) -> Component:
        path, weight = self._path(name), 1.0 if name == "atoms" else self.bond_weight
        if self.form == "adjacency":
            space = Euclidean() if name == "atoms" else Symmetric()
            if path.continuous and getattr(path.at(0.0), "a", 0.0) == 0:
                # No signal at t = 0: there the noise says nothing of the data, but the velocity does.
                return Component(space, path, "velocity", weight)
            # GDSS: the network is the score for VE and the noise for VP; the loss is in units of noise for both.
            kind = "score" if isinstance(path, paths.VE) else "noise"
            return Component(space, path, kind, weight, measure="noise")
        frequencies = self._frequencies(name)
        marginal = frequencies if self.precondition else None
        space: Space = Categorical(len(frequencies)) if self.form == "labels" else Euclidean()
        if self.form == "one-hot" and path.misfit(space):
            space = Simplex(len(frequencies))  # beliefs about labels
        return Component(space, path, "logits", weight, marginal=marginal)

    def shapes(self, nodes: int) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each component, for graphs padded to `nodes` atoms."""
        pairs = nodes * (nodes - 1) // 2
        if self.form == "labels":
            return {"atoms": (nodes,), "bonds": (pairs,)}
        atoms = (nodes, len(self.atom_frequencies))
        return {
            "atoms": atoms,
            "bonds": (nodes, nodes)
            if self.form == "adjacency"
            else (pairs, len(self.bond_frequencies)),
        }

    def masks(self, sizes: Tensor, nodes: int) -> dict[str, Tensor]:
        """Masks of graphs with the given numbers of atoms (int64 ``[B]``), padded to `nodes`."""
        atoms = torch.arange(nodes, device=sizes.device) < sizes[:, None]
        if self.form == "adjacency":
            off = ~torch.eye(nodes, dtype=torch.bool, device=sizes.device)
            return {"atoms": atoms, "bonds": atoms[:, :, None] & atoms[:, None, :] & off}
        i, _ = pair_index(nodes, sizes.device)
        return {"atoms": atoms, "bonds": i < sizes[:, None]}

    def show(self, atoms: Tensor, bonds: Tensor, sizes: Tensor) -> State:
        """Turn labels into a clean state.

        Args:
            atoms: Atom labels int64 ``[B, N]``.
            bonds: Bond orders int64 ``[B, P]``.
            sizes: Numbers of atoms int64 ``[B]``.
        """
        nodes = atoms.shape[1]
        masks = self.masks(sizes, nodes)
        if self.form == "labels":
            return State({"atoms": atoms, "bonds": bonds}, masks)
        one_hot = F.one_hot(atoms, len(self.atom_frequencies)).float()
        one_hot = one_hot * masks["atoms"].unsqueeze(-1)
        if self.form == "one-hot":
            pairs = F.one_hot(bonds, len(self.bond_frequencies)).float()
            pairs = pairs * masks["bonds"].unsqueeze(-1)
            return State({"atoms": one_hot, "bonds": pairs}, masks)
        i, j = pair_index(nodes, atoms.device)
        matrix = torch.zeros(len(atoms), nodes, nodes, device=atoms.device)
        matrix[:, i, j] = matrix[:, j, i] = bonds.float()
        return State({"atoms": one_hot, "bonds": matrix}, masks)

    def read(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        """Turn a state at t = 1 into labels: the way back from `show`.

        The adjacency form is quantised as in GDSS: bond orders at .5, 1.5 and 2.5; an atom is the channel above .5,
        and an atom with none is dropped with its bonds.

        Returns:
            Atom labels ``[B, N]``, -1 where there is no atom; bond orders ``[B, P]``; sizes ``[B]``.
        """
        real = state.masks["atoms"]
        atoms, bonds = state["atoms"], state["bonds"]
        nodes = atoms.shape[1]
        if self.form == "adjacency":
            i, j = pair_index(nodes, atoms.device)
            most = len(self.bond_frequencies) - 1
            bonds = ((bonds[:, i, j] + 0.5).floor()).clamp(0, most).long()
            active = (atoms > 0.5).long()
            # GDSS appends the virtual class 1 - sum and takes the first largest entry.
            virtual = 1 - active.sum(-1, keepdim=True)
            chosen = torch.cat([active, virtual], -1).argmax(-1)
            labels = torch.where(chosen == active.shape[-1], -1, chosen)
        elif self.form == "one-hot":
            labels, bonds = atoms.argmax(-1), bonds.argmax(-1)
        else:
            # Before the end a mask state may still be there; it reads as the first class.
            labels = torch.where(atoms < len(self.atom_frequencies), atoms, 0)
            bonds = torch.where(bonds < len(self.bond_frequencies), bonds, 0)
        return torch.where(real, labels, -1), bonds, real.sum(1)


__all__ = ["COMPONENTS", "FORMS", "Process"]
