"""Preconditioning: the network sees and says numbers of unit variance, whatever the noise."""

from __future__ import annotations

import torch
from torch import Tensor

from sciflow import Component, State, Streams, System
from sciflow.paths import EDM, VE, VP
from sciflow.preconditioning import Preconditioned
from sciflow.spaces import Euclidean
from tests.core.analytic import F64

SYSTEM = System(
    {
        "x": Component(Euclidean(), EDM(sigma_data=0.3), "edm", centre=2.0),
        "y": Component(Euclidean(), VE(), "noise"),
        "z": Component(Euclidean(), VP(), "edm"),
    }
)


def test_inputs_and_targets_of_kind_edm_have_unit_variance() -> None:
    """Here d = .3 around the centre 2 and d = 1 around 0; of kind noise nothing is changed."""
    streams = Streams.range(0, 0, 6)
    x1 = {
        "x": 2 + 0.3 * streams.normal((20000,), F64),
        "y": torch.ones(6, 20000, dtype=F64),
        "z": streams.normal((20000,), F64),
    }
    t = torch.tensor([0.0, 0.2, 0.5, 0.8, 0.95, 1.0], dtype=F64)
    noised = SYSTEM.corrupt(State(x1), t, streams)
    seen = {}

    def network(state: State, t: Tensor) -> dict[str, Tensor]:
        seen.update(state)
        return {name: torch.zeros_like(state[name]) for name in state}

    output = Preconditioned(network, SYSTEM)(noised.state, t)
    for name in ("x", "z"):
        assert torch.allclose(seen[name].std(1), torch.ones(6, dtype=F64), atol=0.02)
        component = SYSTEM[name]
        error = component.error(
            output[name],
            noised.state[name],
            noised.ends[name],
            t,
            SYSTEM.centre(name, noised.state),
        )
        # A network that says nothing has an error of one at every noise level.
        assert torch.allclose(error.mean(1), torch.ones(6, dtype=F64), atol=0.04)
    assert torch.equal(seen["y"], noised.state["y"])
