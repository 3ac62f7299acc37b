r"""Conditions that are numbers: properties of samples that generation can be asked for, as inputs of a network.

A condition is two numbers per sample, the standardised value and whether it is given,

    (z, 1) with z = (value - mean) / std over the training data,   (0, 0) where nothing is known or wished,

so any subset of the properties may be given, and a sample of the training data may lack some.

Reference: Ho, Salimans, arXiv:2207.12598 (guidance without a classifier); Hoogeboom et al., arXiv:2203.17003, section
5.3 (properties as conditions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .errors import expected
from .streams import Streams


@dataclass(frozen=True)
class Scale:
    """How a property is spread over the training data.

    Args:
        mean: Mean.
        std: Standard deviation.
        low: Smallest value.
        high: Largest value.
    """

    mean: float
    std: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, values: np.ndarray) -> Scale:
        """Measure the known values.

        Raises:
            SciflowError: There are none, or all are equal: then there is nothing to learn.
        """
        known = values[np.isfinite(values)].astype(np.float64)
        if not len(known) or not known.std() > 0:
            got = f"{len(known)} equal values" if len(known) else "no value"
            raise expected(f"condition {name}", got, "numbers that differ among the samples")
        return cls(*(float(f(known)) for f in (np.mean, np.std, np.min, np.max)))


@dataclass(frozen=True)
class Conditions:
    """The properties that a model can be asked for.

    Args:
        scales: Scale of each, by name.
    """

    scales: Mapping[str, Scale] = field(default_factory=dict)

    @classmethod
    def of(cls, properties: Mapping[str, np.ndarray]) -> Conditions:
        """Measure the properties of training data, float64 ``[M]`` each."""
        return cls({name: Scale.of(name, values) for name, values in properties.items()})

    @classmethod
    def from_config(cls, config: Mapping[str, Mapping[str, float]]) -> Conditions:
        """Make what `config` described."""
        return cls({name: Scale(**scale) for name, scale in config.items()})

    def config(self) -> dict[str, dict[str, float]]:
        """Plain values from which `from_config` makes it again."""
        return {name: asdict(scale) for name, scale in self.scales.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the properties."""
        return tuple(self.scales)

    def null(self) -> dict[str, float]:
        """Value of each condition that says "not given"."""
        return dict.fromkeys(self.scales, 0.0)

    def show(self, values: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
        """Return the conditions of some samples.

        Args:
            values: Properties float ``[count]``, NaN where unknown; missing ones are not given.
            count: Number of samples.

        Returns:
            For each property float32 ``[count, 2]``: standardised value, and 1 where it is given.
        """
        shown = {}
        for name, scale in self.scales.items():
            value = values.get(name)
            if value is None:
                shown[name] = torch.zeros(count, 2)
                continue
            z = (value.double() - scale.mean) / scale.std
            known = z.isfinite()
            shown[name] = torch.stack([torch.where(known, z, 0.0), known.double()], 1).float()
        return shown

    def wish(self, wishes: Mapping[str, Any], streams: Streams) -> dict[str, Tensor]:
        """Return the conditions that a user wishes.

        Args:
            wishes: Property to value; a list is dealt out in turn, sample i takes value i modulo their number.
            streams: Random streams of the batch, whose numbers are those of the samples.

        Raises:
            SciflowError: A value is no number, or lies outside those of the training data.
        """
        values = {}
        for name, wish in wishes.items():
            scale = self.scales[name]
            many = (
                list(wish) if isinstance(wish, Sequence) and not isinstance(wish, str) else [wish]
            )
            for value in many:
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise expected(f"option {name}", value, "a number, or a list of numbers")
                if not scale.low <= value <= scale.high:
                    known = f"a number from {scale.low:.4g} to {scale.high:.4g}"
                    raise expected(f"option {name}", value, f"{known}, as in the training data")
            if not many:
                raise expected(f"option {name}", wish, "a number, or a list of numbers")
            turn = (streams.index.cpu() % len(many)).long()
            values[name] = torch.tensor([float(v) for v in many], dtype=torch.float64)[turn]
        device = streams.index.device
        return {k: x.to(device) for k, x in self.show(values, len(streams)).items()}


class Given(nn.Sequential):
    """Reads conditions into features; it says nothing at the start of training, so that it may join trained weights.

    Args:
        names: Names of the conditions.
        width: Number of features.
    """

    def __init__(self, names: Sequence[str], width: int) -> None:
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        super().__init__(nn.Linear(2 * len(names), width), nn.SiLU(), last)
        self.names = tuple(names)

    def forward(self, condition: Mapping[str, Tensor]) -> Tensor:
        """Return features ``[B, width]`` of conditions ``[B, 2]`` by name."""
        shown = torch.cat([condition[name] for name in self.names], -1)
        return super().forward(shown.to(next(self.parameters()).dtype))


__all__ = ["Conditions", "Given", "Scale"]
