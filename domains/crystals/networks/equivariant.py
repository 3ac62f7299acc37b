r"""The e3nn network: messages between periodic neighbours in representations of O(3), as a denoiser.

Sites see what the periodic network shows them (species, rank, certainty of their coordinates, lattice and time, place
relative to the anchor); then they interact with their neighbours within a cutoff in the lattice of the state
(`interactions`), the coordinates being the believed ones. What comes out turns with the crystal. A prediction is asked
for along the axes of the cell, where features h of degree l are read off as

    sum_m h_m Y_m(n),

with n = a_k / |a_k| and (a_j + a_k) / |a_j + a_k| for the lattice, n = b*_k / |b*_k| for the coordinates. So a rotation
of the crystal changes nothing, and vectors become fractional steps. As axes have names in the data (ranks are numbered
along them), degree 0 answers for each axis by itself, too.

The state holds a lattice only up to noise: its numbers are held within `RANGE` standard deviations of the data before
they become a cell with neighbours.

Reference: as for `interactions` and `periodic`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sciflow.errors import expected
from sciflow.shapes import expand
from sciflow.state import State

from ..cells import Cells
from ..process import Process, View, one_hot
from .interactions import DEGREES, Features, Interactions, harmonics
from .periodic import MOST, waves

RANGE = 3.0
"""Numbers of a lattice go smoothly to at most this before they become a cell."""


class Equivariant(nn.Module):
    """The e3nn network; see the module.

    Args:
        process: The process, which says what a state shows and which form the output has.
        cells: How six numbers become a lattice.
        channels: Number of channels of each degree.
        layers: Rounds of interactions.
        cutoff: Distance in angstrom up to which sites interact.
        radial: Number of Bessel functions.
        harmonics: Harmonics in the features of a site's place relative to the anchor.
        facts: Numbers about each element, ``[K, F]`` (see `labels.facts`).
    """

    def __init__(
        self,
        process: Process,
        cells: Cells,
        channels: int = 32,
        layers: int = 2,
        cutoff: float = 5.0,
        radial: int = 8,
        harmonics: int = 4,
        facts: Sequence[Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        if layers < 1 or harmonics < 1:
            raise expected(
                "layers and harmonics of network e3nn", (layers, harmonics), "at least 1"
            )
        self.process, self.cells = process, cells
        self.count, self.harmonics, self.frame = channels, harmonics, process.anchor
        elements = len(process.frequencies)
        self.species = nn.Linear(process.states, channels, bias=False)
        nn.init.normal_(self.species.weight, std=0.5)
        self.facts: Tensor | None
        if facts is None:
            self.facts = None
        else:
            table = torch.zeros(process.states, len(facts[0]))
            table[:elements] = torch.tensor(facts)
            self.register_buffer("facts", table, persistent=False)
            self.properties = nn.Linear(table.shape[1], channels, bias=False)
        self.ranks = nn.Embedding(MOST + 1, channels)
        nn.init.normal_(self.ranks.weight, std=0.5)
        self.sure = nn.Linear(4, channels)
        self.graph = nn.Sequential(
            nn.Linear(6 + 16, channels), nn.SiLU(), nn.Linear(channels, channels)
        )
        if self.frame:
            self.place = nn.Linear(6 * harmonics + 20, channels, bias=False)
        self.start = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels), nn.SiLU()
        )
        self.body = Interactions(channels, layers, DEGREES, cutoff, radial)
        self.norm = nn.LayerNorm(channels)
        self.head_lattice = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.SiLU(), nn.Linear(channels, 6)
        )
        self.stretch = nn.Linear(channels, 1, bias=False)
        self.shear = nn.Linear(channels, 1, bias=False)
        self.disc = process.head == "disc"
        self.head = nn.Linear(channels, 6 if self.disc else 3)
        self.steps = nn.Linear(channels, 1, bias=False)
        zero: list[nn.Module] = [
            self.head, self.head_lattice[-1], self.stretch, self.shear, self.steps
        ]  # fmt: skip
        if self.disc:
            self.sharpen = nn.Linear(channels, 1, bias=False)
            zero.append(self.sharpen)
            if self.frame:
                self.head_frame = nn.Linear(channels, 6)
                zero.append(self.head_frame)
        if not process.given:
            self.head_species = nn.Linear(channels, elements)
            zero.append(self.head_species)
        for layer in zero:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Return the prediction for every component.

        Args:
            state: State at `t`.
            t: Times ``[B]``.
        """
        view = self.process.look(state, t)
        real = view.sites.to(view.lattice.dtype)
        share = (real / real.sum(1, keepdim=True).clamp_min(1)).unsqueeze(-1)
        g = self.graph(torch.cat((view.lattice.asinh(), _times(t)), -1))
        h = self._sites(view, g)
        features, matrix = self._interact(h, view)
        scalars = self.norm(features[0].squeeze(-1))
        free = state.masks["coordinates"]
        mean = (scalars * share).sum(1)
        output = {
            "lattice": self.head_lattice(torch.cat((mean, g), -1))
            + self._strain(features[2], matrix, share),
            "coordinates": self._coordinates(
                scalars, features, matrix, view.directions, state["coordinates"], free
            ),
        }
        if not self.process.given:
            logits = self.head_species(scalars)
            if view.allowed is not None:
                logits = logits.masked_fill(~view.allowed.unsqueeze(1), -1e4)
            output["species"] = logits * real.unsqueeze(-1)
        return output

    def _sites(self, view: View, g: Tensor) -> Tensor:
        """What is known of each site alone, ``[B, N, C]``."""
        species = one_hot(view.species, self.process.states, g.dtype)
        known = view.known.to(g.dtype).unsqueeze(-1)
        h = self.species(species) + self.ranks(view.ranks.clamp(max=MOST)) + g.unsqueeze(1)
        h = h + self.sure(torch.cat((view.certainty, known), -1))
        if self.facts is not None:
            h = h + self.properties(species @ self.facts)
        if self.frame:
            phi = waves(view.directions[:, :1], view.directions, self.harmonics, 2)[:, 0]
            h = h + self.place(phi[..., : self.place.in_features])
        return self.start(h)

    def _interact(self, h: Tensor, view: View) -> tuple[Features, Tensor]:
        labels = view.species
        if not self.process.given:
            # What is not known yet, a mask say, may be any element, as often as the data have it.
            frequencies = h.new_tensor(self.process.frequencies)
            shown = one_hot(labels, self.process.states, h.dtype)[..., : len(frequencies)]
            labels = shown + (1 - shown.sum(-1, keepdim=True)) * frequencies
        numbers = RANGE * torch.tanh(view.lattice / RANGE)
        matrix = self.cells.decode(numbers, labels, view.sites)
        cos, sin = view.directions.unbind(-1)
        coordinates = torch.atan2(sin, cos) / (2 * torch.pi)
        return self.body(h, coordinates, matrix, view.sites)[0], matrix

    def _strain(self, x: Tensor, matrix: Tensor, share: Tensor) -> Tensor:
        """Features of degree 2 along the axes and between them, ``[B, 6]``."""
        whole = (x * share.unsqueeze(-1)).sum(1)
        axes = matrix / matrix.norm(dim=-1, keepdim=True)
        between = axes[:, [1, 0, 0]] + axes[:, [2, 2, 1]]
        between = between / between.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        along = _along(whole, axes, 2), _along(whole, between, 2)
        return torch.cat([f(v).squeeze(-1) for f, v in zip(self._axial, along, strict=True)], -1)

    @property
    def _axial(self) -> tuple[nn.Linear, nn.Linear]:
        return self.stretch, self.shear

    def _coordinates(
        self,
        h: Tensor,
        features: Features,
        matrix: Tensor,
        directions: Tensor,
        x: Tensor,
        free: Tensor,
    ) -> Tensor:
        faces = torch.linalg.inv(matrix).mT  # rows b*_k
        normals = (faces / faces.norm(dim=-1, keepdim=True)).unsqueeze(1)
        step = self.steps(_along(features[1], normals, 1)).squeeze(-1)
        if not self.disc:
            o = self.head(h) + step
            o = x + o if self.process.head == "shift" else o
            return o * expand(free, o).to(o.dtype)
        p, q = self.head(h).unflatten(-1, (3, 2)).unbind(-1)
        p, q = p + self.sharpen(_along(features[2], normals, 2)).squeeze(-1), q + step
        cos, sin = directions.unbind(-1)
        u = torch.stack(((1 + p) * cos - q * sin, (1 + p) * sin + q * cos), -1)
        if self.frame:
            u = u + self.head_frame(h).unflatten(-1, (3, 2))
        length = (u.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        return u / length.clamp_min(1) * expand(free, u).to(u.dtype)


def _times(t: Tensor) -> Tensor:
    """Features of the time, ``[B, 16]``."""
    rates = torch.pi * 2.0 ** torch.arange(-1, 7, dtype=t.dtype, device=t.device)
    angle = t.unsqueeze(-1) * rates
    return torch.cat((angle.sin(), angle.cos()), -1)


def _along(x: Tensor, directions: Tensor, degree: int) -> Tensor:
    """Read features ``[..., C, 2 l + 1]`` off along unit vectors ``[..., D, 3]``: ``[..., D, C]``."""
    y = harmonics(directions, (degree,))[degree]
    return torch.einsum("...cm,...dm->...dc", x, y.expand(*x.shape[:-2], *y.shape[-2:]))


__all__ = ["RANGE", "Equivariant"]
