r"""The periodic network: dense message passing over all pairs of sites, in torch alone.

With the angles m = 2 pi f of the believed coordinates and d_ij = m_j - m_i, a layer is

    e_ij = SiLU(W_1 h_i + W_2 h_j + W_3 g + W_4 phi(d_ij)),
    h_i <- h_i + MLP(h_i, mean_j SiLU(V e_ij)),

with a LayerNorm before it. It is the network of DiffCSP and CrysBFN with the first linear map on the concatenation
[h_i, h_j, g, phi_ij] split into its blocks: the same function, but h and g are multiplied once for each site and each
crystal, not once for each pair.

Pair features phi, all of them periodic in every coordinate:

* sin and cos of k d for k = 1 .. `harmonics` on each axis;
* plane waves cos and sin of k . d for k in {-1, 0, 1}^3 with two or three entries that are not zero (up to sign),
  which couple the axes: which of the sites of a perovskite is meant takes a product of them;
* Gaussians of the length of the wrapped fractional difference;
* with ``metric``, Gaussians of the distances in space, summed over the nearest 27 images (see `metric`): those that the
  believed lattice gives, in units of the volume that its composition is expected to take.

Crystals of unlike size are not padded to the largest of the batch: they pass in groups of about equal size.

Sites see their species, their rank among identical atoms and how sure each coordinate is (entropy conditioning); the
graph part g holds the lattice and the time. The output for coordinates turns with them: in the ``disc`` form
u = (1 + o_1 + i o_2) e^{im}, drawn back to the unit disc, the mean vector of the angle; and where an anchor says what
the origin is, plus a vector in its frame. So a shift of all coordinates turns all outputs, a permutation of the sites
permutes them, and a rotation of the crystal in space changes nothing, since no part of the state has an orientation.

Reference: Jiao et al., Crystal structure prediction by joint equivariant diffusion, arXiv:2309.04475, equations 6-8;
Wu et al., arXiv:2502.02016, section 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciflow.conditions import Given
from sciflow.errors import expected
from sciflow.shapes import expand
from sciflow.state import State

from ..lattice import Standardised
from ..metric import DISTANCES, distances
from ..process import Process, View, one_hot

_WAVES = 10  # plane waves: 6 over pairs of axes, 4 over all three
_FAR = 0.87  # just above sqrt(3) / 2, the longest wrapped difference
MOST = 32
"""Ranks above this are taken as this one."""
_MANY = 32  # from so many harmonics on, half the products pay for the gathering
_STRIDE = 4  # crystals whose numbers of sites differ by less pass together


def waves(u: Tensor, v: Tensor, harmonics: int, radial: int) -> Tensor:
    """Return the pair features of all pairs.

    Args:
        u: Unit vectors ``[B, I, 3, 2]``.
        v: Unit vectors ``[B, J, 3, 2]``.
        harmonics: Number of harmonics of each axis.
        radial: Number of Gaussians.

    Returns:
        Features of v_j - u_i, ``[B, I, J, 6 harmonics + 20 + radial]``.
    """
    (a, p), (b, q) = u.unsqueeze(2).unbind(-1), v.unsqueeze(1).unbind(-1)
    return _waves(a, p, b, q, harmonics, radial).movedim(0, -1)


def _waves(a: Tensor, p: Tensor, b: Tensor, q: Tensor, harmonics: int, radial: int) -> Tensor:
    """Return the features ``[F, ...]`` of the pairs (a + ip, b + iq) ``[..., 3]``: even ones, odd ones, Gaussians."""
    # Feature by feature, each in one block of memory: faster than pair by pair.
    first = torch.complex(a * b + p * q, a * q - p * b).movedim(-1, 0).contiguous()  # e^{id}
    powers = [first]
    for _ in range(harmonics - 1):
        powers.append(powers[-1] * first)
    x, y, z = first.unbind(0)
    yc, zc = y.conj(), z.conj()
    xy, xy_ = x * y, x * yc
    planes = (xy, xy_, x * z, x * zc, y * z, y * zc, xy * z, xy * zc, xy_ * z, xy_ * zc)
    both = torch.view_as_real(torch.cat((*powers, torch.stack(planes))))
    if not radial:
        return torch.cat((both[..., 0], both[..., 1]))
    turns = torch.atan2(first.imag, first.real) / (2 * math.pi)
    length = ((turns**2).sum(0) + 1e-12).sqrt()
    centres = torch.linspace(0, _FAR, radial, dtype=length.dtype, device=length.device)
    centres = centres.view(-1, *(1 for _ in length.shape))
    bumps = torch.exp(-0.5 * ((length - centres) * ((radial - 1) / _FAR)) ** 2)
    return torch.cat((both[..., 0], both[..., 1], bumps))


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Features of all pairs ``[B, N, N, F]``."""

    phi: Tensor

    def first(self) -> Tensor:
        """Those of the pairs with the first site, ``[B, N, F]``."""
        return self.phi[:, 0]

    def linear(self, weight: Tensor) -> Tensor:
        """Return ``[B, N, N, H]``."""
        return F.linear(self.phi, weight)


@dataclass(frozen=True, eq=False)
class _Half:
    """Features of the pairs i < j, ``[F, B, P]``: those of (j, i) are the same but for the sign of the odd ones.

    Args:
        phi: The features: `odd` even ones, as many odd ones, and more even ones.
        same: Those of a site and itself, ``[F, 1, 1]``.
        odd: Number of odd ones.
        upper: Where the pairs (i, j) stand among all, row by row, ``[P]``.
        lower: Where the pairs (j, i) do.
    """

    phi: Tensor
    same: Tensor
    odd: int
    upper: Tensor
    lower: Tensor

    @classmethod
    def of(cls, u: Tensor, harmonics: int, radial: int) -> _Half:
        """Make them for unit vectors ``[B, N, 3, 2]``."""
        n = u.shape[1]
        i, j = torch.triu_indices(n, n, 1, device=u.device)
        (a, p), (b, q) = u[:, i].unbind(-1), u[:, j].unbind(-1)
        one = u.new_ones(1, 1, 3)
        same = _waves(one, 0 * one, one, 0 * one, harmonics, radial)
        phi = _waves(a, p, b, q, harmonics, radial)
        return cls(phi, same, 3 * harmonics + _WAVES, i * n + j, j * n + i)

    @property
    def sites(self) -> int:
        """N."""
        return math.isqrt(2 * len(self.upper)) + 1  # P = N (N - 1) / 2

    def first(self) -> Tensor:
        """Those of the pairs with the first site, ``[B, N, F]``."""
        own = self.same.expand(-1, self.phi.shape[1], -1)
        return torch.cat((own, self.phi[:, :, : self.sites - 1]), -1).movedim(0, -1)

    def linear(self, weight: Tensor) -> Tensor:
        """Return ``[B, N, N, H]``: half the products, since an even and an odd part make both orders of a pair."""
        r, n = self.odd, self.sites
        even, odd, more = self.phi[:r], self.phi[r : 2 * r], self.phi[2 * r :]
        c = F.linear(even.movedim(0, -1), weight[:, :r])
        if len(more):
            c.add_(F.linear(more.movedim(0, -1), weight[:, 2 * r :]))
        s = F.linear(odd.movedim(0, -1), weight[:, r : 2 * r])
        both = c.new_empty(len(c), n * n, c.shape[-1])
        both[:, self.upper] = c + s
        both[:, self.lower] = c.sub_(s)
        both[:, :: n + 1] = F.linear(self.same.movedim(0, -1), weight)
        return both.unflatten(1, (n, n))


class _Layer(nn.Module):
    """One round of messages."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.shift = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.from_i = nn.Linear(width, width, bias=False)
        self.from_j = nn.Linear(width, width, bias=False)
        self.from_graph = nn.Linear(width, width)
        self.message = nn.Linear(width, width)
        self.update = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, h: Tensor, g: Tensor, pairs: Tensor, share: Tensor) -> Tensor:
        h = h + self.shift(g).unsqueeze(1)
        n = self.norm(h)
        own = self.from_i(n) + self.from_graph(g).unsqueeze(1)
        # In place: what is as large as all pairs costs more to lay out anew than to compute.
        e = pairs.add_(own.unsqueeze(2)).add_(self.from_j(n).unsqueeze(1))
        e = F.silu(self.message(F.silu(e, inplace=True)), inplace=True)
        mean = (share[:, None, None, :] @ e).squeeze(2)
        return h + self.update(torch.cat((n, mean), -1))


class Periodic(nn.Module):
    """The periodic network; see the module.

    Args:
        process: The process, which says what a state shows and which form the output has.
        width: Width H of all layers.
        layers: Number of layers.
        harmonics: Number of harmonics in the pair features.
        radial: Number of Gaussians of the distance in the pair features.
        frame: Whether sites see their place relative to the anchor and may answer in its frame; no anchor, no frame.
        facts: Numbers about each element that sites see beside its embedding, ``[K, F]`` (see `labels.facts`).
        metric: How the numbers of the lattice are read, where distances in space are to be seen.
        conditions: Names of conditions ``[B, 2]`` to read (see `sciflow.conditions`).
    """

    def __init__(
        self,
        process: Process,
        width: int = 128,
        layers: int = 4,
        harmonics: int = 4,
        radial: int = 16,
        frame: bool = True,
        facts: Sequence[Sequence[float]] | None = None,
        metric: Standardised | None = None,
        conditions: Sequence[str] = (),
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("layers", layers), ("harmonics", harmonics)):
            if value < 1:
                raise expected(f"{name} of network periodic", value, "at least 1")
        self.process, self.harmonics, self.radial = process, harmonics, radial
        self.depth, self.frame = layers, frame and process.anchor
        self.metric = metric
        features = 6 * harmonics + 2 * _WAVES + radial + (DISTANCES if metric else 0)
        elements = len(process.frequencies)
        self.species = nn.Linear(process.states, width, bias=False)
        nn.init.normal_(self.species.weight, std=0.5)
        if facts is not None:
            table = torch.zeros(process.states, len(facts[0]))  # a mask state has no properties
            table[:elements] = torch.tensor(facts)
            self.register_buffer("facts", table, persistent=False)
            self.properties = nn.Linear(table.shape[1], width, bias=False)
        else:
            self.facts = None
        self.ranks = nn.Embedding(MOST + 1, width)
        nn.init.normal_(self.ranks.weight, std=0.5)
        self.sure = nn.Linear(4, width)
        self.graph = nn.Sequential(
            nn.Linear(6 + 16 + bool(metric), width), nn.SiLU(), nn.Linear(width, width)
        )
        self.given = Given(conditions, width) if conditions else None
        self.pairs = nn.Linear(features, layers * width, bias=False)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head_lattice = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 6)
        )
        self.disc = process.head == "disc"
        size = 6 if self.disc else 3
        self.head = nn.Linear(width, size)
        zero = [self.head, self.head_lattice[-1]]
        if self.frame:
            self.place = nn.Linear(features, width, bias=False)
        if self.frame and self.disc:
            self.head_frame = nn.Linear(width, 6)
            zero.append(self.head_frame)
        if not process.given:
            self.head_species = nn.Linear(width, elements)
            zero.append(self.head_species)
        for layer in zero:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Return the prediction for every component.

        Args:
            state: State at `t`.
            t: Times ``[B]``.
        """
        view = self.process.look(state, t)
        place = torch.arange(1, view.sites.shape[1] + 1, device=view.sites.device)
        last = (view.sites * place).amax(1)  # real sites need not come first
        groups = _groups(last)
        given = view.lattice.new_zeros(()) if self.given is None else self.given(state.condition)
        if len(groups) == 1:
            return self._pass(view, t, state["coordinates"], given)
        sites = view.sites.shape[1]
        order = torch.cat(groups).argsort()
        parts = []
        for group in groups:
            n = int(last[group].max())
            x = state["coordinates"][group, :n]
            own = given[group] if given.dim() else given
            output = self._pass(view.part(group, n), t[group], x, own)
            parts.append(
                {k: v if k == "lattice" else _padded(v, sites) for k, v in output.items()}
            )
        return {k: torch.cat([part[k] for part in parts])[order] for k in parts[0]}

    def _pass(self, view: View, t: Tensor, x: Tensor, given: Tensor) -> dict[str, Tensor]:
        """Return the prediction for crystals of about equal size, of which all layers see every site.

        Args:
            view: The crystals.
            t: Times ``[B]``.
            x: Coordinates of the state.
            given: What the conditions say, ``[B, H]`` or zero.
        """
        real = view.sites.to(view.lattice.dtype)
        sizes = real.sum(1, keepdim=True)
        share = real / sizes.clamp_min(1)
        # Lattices of unit variance pass as they are; paths that begin with much noise are held in range.
        numbers = [view.lattice.asinh(), _times(t)]
        phi: _Pairs | _Half
        if self.harmonics >= _MANY and self.metric is None:
            phi = _Half.of(view.directions, self.harmonics, self.radial)
        else:
            u = view.directions
            seen = waves(u, u, self.harmonics, self.radial)
            if self.metric is not None:
                matrix = self.metric.decode(view.lattice.clamp(-4, 4), sizes[:, 0].long())
                seen = torch.cat((seen.movedim(-1, 0), distances(u, matrix))).movedim(0, -1)
                numbers.append(sizes.clamp_min(1).log() - 2)
            phi = _Pairs(seen)
        pairs = self.pairs.weight.chunk(self.depth)
        g = self.graph(torch.cat(numbers, -1)) + given
        species = one_hot(view.species, self.process.states, g.dtype)
        h = self.species(species)
        if self.facts is not None:
            h = h + self.properties(species @ self.facts)
        known = view.known.to(g.dtype).unsqueeze(-1)
        h = (
            h
            + self.ranks(view.ranks.clamp(max=MOST))
            + self.sure(torch.cat((view.certainty, known), -1))
        )
        if self.frame:
            h = h + self.place(phi.first())
        for layer, own in zip(self.layers, pairs, strict=True):
            h = layer(h, g, phi.linear(own), share)
        h = self.norm(h)
        free = view.sites & ~view.known
        output = {
            "lattice": self.head_lattice(torch.cat(((h * share.unsqueeze(-1)).sum(1), g), -1)),
            "coordinates": self._coordinates(h, view.directions, x, free),
        }
        if not self.process.given:
            logits = self.head_species(h)
            if view.allowed is not None:
                logits = logits.masked_fill(~view.allowed.unsqueeze(1), -1e4)
            output["species"] = logits * real.unsqueeze(-1)
        return output

    def _coordinates(self, h: Tensor, directions: Tensor, x: Tensor, free: Tensor) -> Tensor:
        if not self.disc:
            o = self.head(h)
            o = x + o if self.process.head == "shift" else o
            return o * expand(free, o).to(o.dtype)
        p, q = self.head(h).unflatten(-1, (3, 2)).unbind(-1)
        cos, sin = directions.unbind(-1)
        u = torch.stack(((1 + p) * cos - q * sin, (1 + p) * sin + q * cos), -1)
        if self.frame:
            u = u + self.head_frame(h).unflatten(-1, (3, 2))  # the anchor points east
        length = (u.square().sum(-1, keepdim=True) + 1e-12).sqrt()
        return u / length.clamp_min(1) * expand(free, u).to(u.dtype)


def _groups(sizes: Tensor) -> list[Tensor]:
    """Rows of crystals by size; one group where all are about as large."""
    kind = (sizes - 1).clamp_min(0) // _STRIDE
    return [(kind == k).nonzero()[:, 0] for k in kind.unique().tolist()] or [kind]


def _padded(x: Tensor, sites: int) -> Tensor:
    """Put zeros behind the sites ``[B, N, ...]``."""
    return torch.cat((x, x.new_zeros(len(x), sites - x.shape[1], *x.shape[2:])), 1)


def _times(t: Tensor) -> Tensor:
    """Features of the time, ``[B, 16]``."""
    rates = torch.pi * 2.0 ** torch.arange(-1, 7, dtype=t.dtype, device=t.device)
    angle = t.unsqueeze(-1) * rates
    return torch.cat((angle.sin(), angle.cos()), -1)


__all__ = ["MOST", "Periodic", "waves"]
