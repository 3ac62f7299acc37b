"""Condition dropout: now and then training hides the condition, so that one network learns both laws.

It is what classifier-free guidance needs. The null values must be ones that the network can tell from data: a class
above the last for labels, a number outside the range of a property that is standardised, or a flag of its own:

    null = {"target": 0.0, "given": 0.0}       # the condition carries given = 1 beside every target
    Objective(system, network, dropout=Dropout(null, 0.1))
    sample(..., hooks=[Guidance(weight=2.0, null=null)])

Reference: Ho, Salimans, Classifier-free diffusion guidance, arXiv:2207.12598, algorithm 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import expected
from ..hooks.guidance import Null, without
from ..state import State
from ..streams import Streams


@dataclass(frozen=True)
class Dropout:
    """Replace conditions by their null values at random, sample by sample.

    Args:
        null: Null value of each condition that may be hidden.
        probability: Share of the samples that lose theirs.
        together: Whether a sample loses all of them at once; else each has a lot of its own.
        each: Share of those that kept theirs which then loses each condition by a lot of its own, so that the network
            learns to be given any subset of them.
    """

    null: Mapping[str, Null]
    probability: float = 0.1
    together: bool = True
    each: float = 0.0

    def __post_init__(self) -> None:
        if not self.null:
            raise expected("null values of condition dropout", {}, "at least one condition")
        for share in (self.probability, self.each):
            if not 0 <= share <= 1:
                raise expected("probability of condition dropout", share, "between 0 and 1")

    def __call__(self, state: State, streams: Streams) -> State:
        """Return the state with some conditions hidden.

        Args:
            state: A clean batch.
            streams: Random streams of the batch.

        Raises:
            SciflowError: The state lacks a condition.
        """
        if self.together:
            lots = streams.uniform((1,)) < self.probability
            state = without(state, self.null, lots[:, 0])
            return self._one_by_one(state, self.each, streams) if self.each else state
        return self._one_by_one(state, self.probability, streams)

    def _one_by_one(self, state: State, share: float, streams: Streams) -> State:
        lots = streams.uniform((len(self.null),)) < share
        for place, (name, value) in enumerate(self.null.items()):
            state = without(state, {name: value}, lots[:, place])
        return state
