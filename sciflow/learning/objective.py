"""The objective: a system and a network as one module whose output is the loss.

It is what a trainer calls and what distributed wrappers wrap; it works just as well in a plain loop or under Lightning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..coupling import Coupling, Independent
from ..errors import expected
from ..state import State
from ..streams import Streams
from ..system import Network, System
from .dropout import Dropout


@dataclass(frozen=True)
class Times:
    """How training times are drawn: t = 1 - (1 - u)^power with u stratified over the batch.

    Args:
        power: 1 is uniform; above 1 favours the data end, where a discrete decision is made.
        low: Smallest t.
        high: Largest t; below 1 where a path is singular at the data end.
    """

    power: float = 1.0
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise expected("times.power", self.power, "a positive number")
        if not 0 <= self.low < self.high <= 1:
            raise expected("times", (self.low, self.high), "0 <= low < high <= 1")

    def draw(self, streams: Streams, position: Tensor, batch_size: int) -> Tensor:
        """Draw the times of a batch.

        Args:
            streams: Random streams of the batch.
            position: Place of each sample in the (global) batch, ``[B]``.
            batch_size: Size of the (global) batch.
        """
        u = (position + streams.uniform(())) / batch_size
        return self.low + (self.high - self.low) * (1 - (1 - u) ** self.power)


class Objective(nn.Module):
    """Loss of a system under a network.

    Args:
        system: The system.
        network: The network, a module.
        times: Law of the training times.
        dropout: Hides the condition now and then, for classifier-free guidance.
        coupling: Which noise goes with which data (see `sciflow.coupling`); None lets the paths draw it. Where a batch
            is shared among processes, each couples its share.
    """

    def __init__(
        self,
        system: System,
        network: nn.Module,
        times: Times | None = None,
        dropout: Dropout | None = None,
        coupling: Coupling | None = None,
    ) -> None:
        super().__init__()
        self.system = system
        self.network = network
        self.times = times or Times()
        self.dropout = dropout
        self.coupling = coupling or Independent()

    def forward(
        self,
        fields: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        condition: Mapping[str, Tensor],
        seed: int,
        sample: Tensor,
        batch_size: int,
    ) -> dict[str, Tensor]:
        """Return the loss ``"loss"`` and its parts, scalars.

        The state comes in parts (see `State`), since distributed wrappers rebuild mappings they do not know.

        Args:
            fields: Clean components.
            masks: Their masks.
            condition: Condition.
            seed: Seed of the run.
            sample: Global numbers of the samples, int64 ``[B]``: step times batch size plus place in the batch.
            batch_size: Global batch size.
        """
        if not self.network.training and torch.is_grad_enabled():
            raise expected("network", "evaluation mode", "training mode", "call .train()")
        streams = Streams(seed, sample, "training")
        t = self.times.draw(streams, sample % batch_size, batch_size)
        network: Network = self.network
        # Before dropout, which makes samples look alike whose conditions differ.
        state, noise = self.coupling.pair(self.system, State(fields, masks, condition), streams)
        if self.dropout is not None:
            state = self.dropout(state, Streams(seed, sample, "condition dropout"))
        loss = self.system.loss(network, state, t, streams, noise)
        return {"loss": loss.total, **{f"loss/{name}": part for name, part in loss.parts.items()}}
