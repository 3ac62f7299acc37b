r"""Space groups in generation: what a model believes is drawn to the nearest crystal that has one.

Given the orbits of the sites (see `occupation`), coordinates relative to the anchor are y = A theta + c modulo 1. For
believed angles m with weights r, theta maximises the likelihood of von Mises beliefs,

    sum_i r_i cos 2 pi (m - A theta - c)_i;

each step solves a least-squares problem that lies below it, theta + (A^T r A)^-1 A^T r sin(2 pi residual) / 2 pi, from
several starts. The answer has these angles, known where theta has no say, and as sure as the beliefs of its orbit
agree. The lattice takes the mean of the metric over the point group, G <- mean of W^T G W, at the same volume.
Of a component of species, all sites of an orbit take one label.

So every network call is answered by a symmetric crystal, whatever path and solver, and the last one is the sample.
Identical sites are shown to the network with the ranks that the symmetric crystal nearest to the state gives them.

Reference: Jiao, Huang, Liu, Zhao, Liu: Space group constrained crystal generation, arXiv:2402.03992 (lattices and
orbits of a group in generation; there by orthogonal projections of a network's output, for given Wyckoff positions).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sciflow.errors import expected
from sciflow.hooks import Hook
from sciflow.hooks.base import repeated
from sciflow.hooks.steer import moved
from sciflow.paths.base import Ends
from sciflow.spaces import Circle
from sciflow.state import State
from sciflow.streams import Streams
from sciflow.system import Network, System

from .lattice import Standardised
from .occupation import occupy
from .process import Process

_ITERATIONS = 15
_GRAIN = 1000  # as `arrangement` orders sites
_LEAST = 1e-3  # how sure a symmetric place is at least


@dataclass(frozen=True, eq=False)
class Symmetric(Hook):
    """Hold crystals to their space groups.

    Args:
        process: The process of the model.
        standard: How its lattices are written.
        matrix: A, ``[B, 3 N, P]``.
        offset: c, ``[B, 3 N]``.
        guess: Starts of theta ``[B, S, P, 3 N]``.
        shift: What is added to them ``[B, S, P]``.
        orbits: ``[B, N, N]``, shares of the sites of an orbit.
        blocks: Sites that are ranked among each other, int64 ``[B, N]``.
        metric: Mean over the point group ``[B, 9, 9]``.
    """

    process: Process
    standard: Standardised
    matrix: Tensor
    offset: Tensor
    guess: Tensor
    shift: Tensor
    orbits: Tensor
    blocks: Tensor
    metric: Tensor

    @classmethod
    def of(
        cls, process: Process, standard: Standardised, condition: Mapping[str, Tensor]
    ) -> Symmetric:
        """Make the hook for a batch.

        Args:
            process: The process of the model.
            standard: How its lattices are written.
            condition: Condition of the frame, with ``symmetry`` int64 ``[B, 2]``: the number of the space group, and of
                the draw of the orbits.

        Raises:
            SciflowError: The model has no anchor.
        """
        if not process.anchor:
            raise expected("spacegroup", "a model without an anchor", "one whose origin is a site")
        ranks = condition["ranks"].cpu()
        sites, cells = ranks.shape[1], []
        for row, (number, lot) in enumerate(condition["symmetry"].tolist()):
            counts = [int((ranks[row] > 0).sum())]
            if process.given:
                labels = condition["species"][row, : counts[0]]
                counts = torch.unique_consecutive(labels, return_counts=True)[1].tolist()
            cells.append(occupy(number, counts, lot, mixed=not process.given))
        free = max(1, *(cell.matrix.shape[-1] for cell in cells))
        batch, starts = len(cells), len(cells[0].guess)
        a, c = np.zeros((batch, sites, 3, free)), np.zeros((batch, sites, 3))
        guess = np.zeros((batch, starts, free, sites, 3))
        shift, metric = np.zeros((batch, starts, free)), np.zeros((batch, 9, 9))
        orbits, blocks = np.zeros((batch, sites, sites)), np.full((batch, sites), sites)
        for row, cell in enumerate(cells):
            n, _, p = cell.matrix.shape
            a[row, :n, :, :p], c[row, :n] = cell.matrix, cell.offset
            guess[row, :, :p, :n], shift[row, :, :p] = cell.guess, cell.shift
            same = cell.orbits[:, None] == cell.orbits
            orbits[row, :n, :n] = same / same.sum(1, keepdims=True)
            blocks[row, :n] = cell.elements if process.given else cell.orbits
            turned = [np.kron(w.T, w.T) for w in cell.rotations]
            metric[row] = np.mean(turned, 0)
        a = a.reshape(batch, 3 * sites, free)
        c, guess = c.reshape(batch, -1), guess.reshape(*guess.shape[:3], -1)
        a, c, guess, shift, orbits = (
            torch.from_numpy(x).float() for x in (a, c, guess, shift, orbits)
        )
        own = torch.from_numpy(blocks), torch.from_numpy(metric)
        return cls(process, standard, a, c, guess, shift, orbits, *own)

    # -- what the hook does ------------------------------------------------------------------------------------------

    def network(self, network: Network, t: float) -> Network:
        """Show the network the ranks of identical sites by their believed places."""

        def ranked(state: State, times: Tensor) -> Mapping[str, Tensor]:
            view = self.process.look(state, times)
            turns = Circle().coordinates(view.directions)
            places, _ = self._fit(turns, view.certainty.clamp_min(1e-3))
            ranks = self._ranks(places, state.condition["ranks"])
            return network(state.with_condition(ranks=ranks), times)

        return ranked

    def ends(
        self, system: System, state: State, t: float, ends: Mapping[str, Ends]
    ) -> Mapping[str, Ends]:
        """Draw the believed data to symmetric ones."""
        points = self._project(state, {name: end.x1 for name, end in ends.items()})
        return {name: moved(system, name, t, end, points[name]) for name, end in ends.items()}

    def state(self, system: System, state: State, t: float, streams: Streams) -> State:
        """Give all sites of an orbit the label of the first that has one."""
        if "species" not in system or state["species"].is_floating_point():
            return state
        labels = state["species"]
        known = labels < len(self.process.frequencies)
        orbit = self._like(self.orbits, labels, "orbits") > 0
        named = orbit & known.unsqueeze(1)
        first = named.int().argmax(-1)
        taken = labels.gather(1, first)
        return state.replace(species=torch.where(named.any(-1), taken, labels))

    def close(self, state: State) -> State:
        """Draw the sample to a symmetric one: solvers whose last step is no answer of the network end beside it."""
        fields = {name: x for name, x in state.items() if x.is_floating_point()}
        return state.replace(**self._project(state, fields))

    # -- projections -------------------------------------------------------------------------------------------------

    def _project(self, state: State, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        points = dict(x)
        points["lattice"] = self._lattice(x["lattice"], state.condition["ranks"] > 0)
        u, free = x["coordinates"], state.masks["coordinates"].unsqueeze(-1)
        if self.process.on_circle:
            places, sure = self._fit(Circle().coordinates(u), u.norm(dim=-1).clamp(max=1) * free)
            u = Circle().vectors(places) * sure.unsqueeze(-1) * free.unsqueeze(-1)
        else:
            places, _ = self._fit(u % 1, torch.ones_like(u) * free)
            away = places - u
            u = torch.where(free, u + away - away.round(), u)
        points["coordinates"] = u
        if "species" in x:
            p = x["species"]
            points["species"] = self._like(self.orbits, p, "orbits") @ p
        return points

    def _fit(self, turns: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return symmetric coordinates near to believed ones ``[B, N, 3]``, and how sure they are ``[B, N, 3]``."""
        shape = turns.shape
        m, r = turns.flatten(1), weights.flatten(1)
        a, c = (self._like(x, m, "orbits") for x in (self.matrix, self.offset))
        guess, shift = (self._like(x, m, "orbits") for x in (self.guess, self.shift))
        theta = torch.einsum("bspn,bn->bsp", guess, m) + shift
        moves = a.abs().amax(-1) > 0
        scale = r * moves
        scale = scale / scale.amax(1, keepdim=True).clamp_min(1e-6) + 1e-3 * moves
        normal = a.mT @ (scale.unsqueeze(-1) * a)
        ridge = 1e-5 * torch.eye(a.shape[-1], dtype=m.dtype, device=m.device)
        step = torch.linalg.solve(normal + ridge, a.mT * scale.unsqueeze(1) / (2 * math.pi))

        def residual(theta: Tensor) -> Tensor:
            return (m - c).unsqueeze(1) - theta @ a.mT

        for _ in range(_ITERATIONS):
            theta = theta + (2 * math.pi * residual(theta)).sin() @ step.mT
        agree = r.unsqueeze(1) * (2 * math.pi * residual(theta)).cos()
        score = agree.sum(-1)
        # The first of the best: rounding must not choose between starts that have come to one place.
        near = score.amax(1, keepdim=True) - 1e-3 * r.sum(1, keepdim=True)
        best = (score >= near).int().argmax(1)
        rows = torch.arange(len(m), device=m.device)
        places = (torch.einsum("bnp,bp->bn", a, theta[rows, best]) + c) % 1
        # One number for all coordinates of an orbit that theta moves; the others are known.
        e = self._like(self.orbits, m, "orbits")
        total = e @ (agree[rows, best] * moves).view(shape).sum(-1, keepdim=True)
        number = e @ moves.view(shape).to(m.dtype).sum(-1, keepdim=True)
        # Above nothing, even where the beliefs speak against it: a place that is held at no length is none.
        sure = (total / number.clamp_min(1e-6)).clamp(_LEAST, 1).expand(shape)
        return places.view(shape), torch.where(moves.view(shape), sure, 1.0)

    def _lattice(self, numbers: Tensor, real: Tensor) -> Tensor:
        """Return numbers of the lattice ``[B, 6]`` with the symmetry of the point group."""
        sizes, exact = real.sum(1), numbers.double()
        rows = self.standard.decode(exact, sizes)
        metric = rows @ rows.mT
        mean = self._like(self.metric, exact, "point group") @ metric.flatten(1).unsqueeze(-1)
        mean = mean.view_as(metric)
        ratio = torch.linalg.det(metric) / torch.linalg.det(mean)
        mean = mean * ratio.clamp_min(1e-12)[:, None, None] ** (1 / 3)
        symmetric = torch.linalg.cholesky((mean + mean.mT) / 2)
        return self.standard.encode(symmetric, sizes).to(numbers.dtype)

    def _ranks(self, places: Tensor, ranks: Tensor) -> Tensor:
        """Rank the sites of every block by (y, z, x), the anchor first."""
        x, y, z = ((places * _GRAIN).round().long() % _GRAIN).unbind(-1)
        key = self._like(self.blocks, ranks, "blocks")
        other = torch.ones_like(key)
        other[:, 0] = 0
        for digit in (other, y, z, x):
            key = key * _GRAIN + digit
        order = key.argsort(dim=1, stable=True)
        return torch.zeros_like(ranks).scatter(1, order, ranks)

    def _like(self, x: Tensor, like: Tensor, what: str) -> Tensor:
        dtype = like.dtype if like.is_floating_point() and x.is_floating_point() else x.dtype
        return repeated(x, len(like), what).to(like.device, dtype)


__all__ = ["Symmetric"]
