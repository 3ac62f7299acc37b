r"""U-Net on grids of wavelet coefficients, of one to three axes and any length.

Every component of the state stands on a grid: the stacked bands on one, the levels of a pyramid each on its own. The
finest enters at the first stage, the next coarser at the second, and so on; each leaves the network where it entered.
Between stages the grid is halved by means (odd lengths are rounded up) and comes back by its nearest values. A block is

    h + conv(silu(norm(conv(silu(norm(h) (1 + a(t)) + b(t))))))

with a, b linear in an embedding of the time. Convolutions wrap around on periodic axes and see zeros beyond the other
ends; along the latter the network is told where it is, from -1 to 1.

Reference: Ronneberger, Fischer, Brox, U-Net, MICCAI 2015; Ho et al., arXiv:2006.11239, appendix B; Dhariwal, Nichol,
arXiv:2105.05233, section 3 (adaptive normalisation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciflow.errors import expected, unknown
from sciflow.preconditioning import Preconditioned
from sciflow.state import State
from sciflow.system import System

MERGES = ("join", "sum")
_FREQUENCIES = 32
_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_DROP = {1: F.dropout1d, 2: F.dropout2d, 3: F.dropout3d}
_POOL = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


@dataclass(frozen=True)
class Port:
    """Where a component enters and leaves.

    Args:
        channels: Its channels.
        given: Channels of the condition ``given.<component>`` on the same grid.
        stage: Number of its stage, 0 the finest.
        heads: Values that are predicted for each element.
    """

    channels: int
    given: int
    stage: int = 0
    heads: int = 1


class Conv(nn.Module):
    """Convolution that keeps the grid: periodic axes wrap around, the others are padded with zeros."""

    def __init__(self, inside: int, outside: int, periodic: Sequence[bool], size: int = 3) -> None:
        super().__init__()
        half = size // 2
        self.wrap = [n for p in reversed(periodic) for n in ((half, half) if p else (0, 0))]
        padding = tuple(0 if p else half for p in periodic)
        self.conv = _CONV[len(periodic)](inside, outside, size, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, inside, *grid] -> [B, outside, *grid]``."""
        if any(self.wrap):
            x = _wrapped(x, self.wrap)
        return self.conv(x)


def _wrapped(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Wrap around; an axis shorter than the padding goes round more than once."""
    for k in range(len(pads) // 2):
        pad = pads[2 * k]
        if pad:
            dim, size = x.dim() - 1 - k, x.shape[-1 - k]
            x = x.index_select(dim, torch.arange(-pad, size + pad, device=x.device) % size)
    return x


class Block(nn.Module):
    """Residual block with adaptive normalisation; it starts as the identity."""

    def __init__(
        self,
        inside: int,
        outside: int,
        embedding: int,
        periodic: Sequence[bool],
        groups: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm = _norm(groups, inside)
        self.scale = nn.Linear(embedding, 2 * inside)
        self.first = Conv(inside, outside, periodic)
        self.middle = _norm(groups, outside)
        self.dropout = dropout
        self.second = Conv(outside, outside, periodic)
        self.skip = nn.Identity() if inside == outside else Conv(inside, outside, periodic, 1)
        nn.init.zeros_(self.second.conv.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """``[B, inside, *grid] -> [B, outside, *grid]``."""
        scale, shift = self.scale(embedding)[(..., *[None] * (x.dim() - 2))].chunk(2, dim=1)
        h = self.first(F.silu(torch.addcmul(shift, self.norm(x), 1 + scale)))
        h = F.silu(self.middle(h))
        if self.dropout:
            # Whole channels: neighbours are alike.
            h = _DROP[x.dim() - 2](h, self.dropout, self.training)
        return self.skip(x) + self.second(h)


class UNet(nn.Module):
    """U-Net over a system of components on grids; see the module.

    Args:
        system: The system, by which inputs are scaled to unit variance.
        ports: Where each component enters.
        periodic: Whether each axis is periodic.
        width: Channels of the first stage.
        multiples: Channels of each stage, in units of `width`.
        blocks: Blocks per stage, on the way down and on the way up.
        groups: Groups of the normalisation.
        merge: How the way up takes in what the way down kept: ``"join"`` lays the channels side by side, ``"sum"`` adds
            them to what comes from below, brought to the same number: a quarter fewer operations.
        dropout: Share of the channels within each block that training leaves out.
    """

    def __init__(
        self,
        system: System,
        ports: Mapping[str, Port],
        periodic: Sequence[bool],
        width: int = 32,
        multiples: Sequence[int] = (1, 2, 3),
        blocks: int = 1,
        groups: int = 8,
        merge: str = "join",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise expected("dropout", dropout, "a number in [0, 1)")
        if merge not in MERGES:
            raise unknown("merge", merge, MERGES)
        if width < 1 or blocks < 1 or not multiples or min(multiples) < 1:
            raise expected(
                "width, blocks, multiples", (width, blocks, multiples), "positive numbers"
            )
        if len(multiples) <= max(port.stage for port in ports.values()):
            need = 1 + max(port.stage for port in ports.values())
            raise expected(
                "multiples", list(multiples), f"at least {need} stages for this pyramid"
            )
        self.system, self.ports, self.periodic = system, dict(ports), tuple(periodic)
        widths = [width * m for m in multiples]
        size = 4 * width
        self.embed = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, size), nn.SiLU(), nn.Linear(size, size), nn.SiLU()
        )

        def block(inside: int, outside: int) -> Block:
            return Block(inside, outside, size, self.periodic, groups, dropout)

        places = sum(not p for p in periodic)
        self.enter, self.leave = nn.ModuleDict(), nn.ModuleDict()
        for name, port in self.ports.items():
            wide = widths[port.stage]
            self.enter[name] = Conv(port.channels + port.given + places, wide, self.periodic)
            out = Conv(wide, port.channels * port.heads, self.periodic)
            nn.init.zeros_(out.conv.weight)
            self.leave[name] = nn.Sequential(_norm(groups, wide), nn.SiLU(), out)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.rise = nn.ModuleList()
        for k, wide in enumerate(widths):
            before = widths[max(k - 1, 0)]
            ways = [before, *[wide] * (blocks - 1)]
            self.down.append(nn.ModuleList(block(n, wide) for n in ways))
            below = wide if k + 1 == len(widths) else widths[k + 1]
            if merge == "sum":
                self.rise.append(Conv(below, wide, self.periodic, 1))
            ways = [wide if merge == "sum" else below + wide, *[wide] * (blocks - 1)]
            self.up.append(nn.ModuleList(block(n, wide) for n in ways))
        # What enters below the first stage meets the means of the stage above.
        self.join = nn.ModuleDict(
            {
                name: Conv(widths[port.stage], widths[port.stage - 1], self.periodic, 1)
                for name, port in self.ports.items()
                if port.stage
            }
        )
        self.middle = block(widths[-1], widths[-1])

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Predict every component.

        Args:
            state: Components ``[B, channels, *grid]``, conditions ``given.<component>`` ``[B, given, *grid]``.
            t: Times ``[B]``.

        Returns:
            ``[B, channels, *grid]``, with a last dimension of `Port.heads` where there are more than one.
        """
        return dict(Preconditioned(self._predict, self.system)(state, t))

    def _predict(self, state: State, t: Tensor) -> dict[str, Tensor]:
        embedding = self.embed(_waves(t))
        h: Tensor | None = None
        kept: list[Tensor] = []
        for k, stage in enumerate(self.down):
            names = [name for name, port in self.ports.items() if port.stage == k]
            if h is not None:
                grid = [math.ceil(n / 2) for n in h.shape[2:]]
                if names:
                    grid = list(state[names[0]].shape[2:])
                h = _POOL[len(grid)](h, grid)
            for name in names:
                entered = self.enter[name](self._inputs(name, state))
                if h is None or h.shape[1] == entered.shape[1]:
                    h = entered if h is None else h + entered
                else:
                    h = h + self.join[name](entered)
            assert h is not None
            x: Tensor = h
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, embedding)
            kept.append(x)
            h = x
        y: Tensor = self.middle(kept[-1], embedding)
        found = {}
        for k in reversed(range(len(self.up))):
            grid = kept[k].shape[2:]
            if len(self.rise):
                y = self.rise[k](y)
            if y.shape[2:] != grid:
                y = F.interpolate(y, size=grid, mode="nearest")
            y = y + kept[k] if len(self.rise) else torch.cat((y, kept[k]), dim=1)
            for block in self.up[k]:  # type: ignore[attr-defined]
                y = block(y, embedding)
            for name, port in self.ports.items():
                if port.stage == k:
                    out = self.leave[name](y)
                    if port.heads > 1:
                        out = out.unflatten(1, (port.channels, port.heads)).movedim(2, -1)
                    found[name] = out
        return found

    def _inputs(self, name: str, state: State) -> Tensor:
        x = state[name]
        parts = [x]
        if self.ports[name].given:
            parts.append(state.condition[f"given.{name}"].to(x.dtype))
        for k, periodic in enumerate(self.periodic):
            if not periodic:
                place = torch.linspace(-1, 1, x.shape[2 + k], dtype=x.dtype, device=x.device)
                shape = [-1 if j == k else 1 for j in range(len(self.periodic))]
                parts.append(place.reshape(1, 1, *shape).expand(x.shape[0], 1, *x.shape[2:]))
        return torch.cat(parts, dim=1)


def _norm(groups: int, channels: int) -> nn.GroupNorm:
    """Normalisation in at most so many groups, of two channels or more: a grid of one point leaves one number each."""
    count = math.gcd(groups, channels)
    return nn.GroupNorm(
        count if count < channels else math.gcd(groups, max(1, channels // 2)), channels
    )


def _waves(t: Tensor) -> Tensor:
    """Sines and cosines of the time: ``[B] -> [B, 2 _FREQUENCIES]``, from half a turn to hundreds."""
    turns = torch.linspace(0, math.log(500), _FREQUENCIES, device=t.device, dtype=t.dtype).exp()
    angle = math.pi * t[:, None] * turns
    return torch.cat((angle.sin(), angle.cos()), dim=1)


__all__ = ["MERGES", "Port", "UNet"]
