"""The exact network of normal data."""

from __future__ import annotations

import pytest
import torch

from sciflow import Component, State, Streams, System
from sciflow.domains.fields.networks.gaussian import Gaussian
from sciflow.paths import Cosine
from sciflow.spaces import Euclidean


@pytest.mark.parametrize("t", [0.2, 0.6, 0.95])
def test_its_beliefs_are_those_of_the_closed_form(t: float) -> None:
    """E[x_1 | x_t] = a C (a^2 C + s^2)^-1 x_t, with C that of the data; its basis is kept in 16 bits."""
    mix = torch.randn(8, 8)
    data = (Streams.range(0, 0, 500).normal((8,)) @ mix).view(500, 2, 4)
    path = Cosine()
    system = System({"x": Component(Euclidean(), path, kind="data")})
    network = Gaussian(system, {"x": (2, 4)}, {"x": [0, 1]}, directions=8).fit(State({"x": data}))
    x = 2 * Streams.range(1, 0, 20).normal((2, 4))
    found = network(State({"x": x}), torch.full((20,), t))["x"].flatten(1)
    covariance = data.flatten(1).T @ data.flatten(1) / len(data)
    c = path.at(t)
    a, s = float(c.a), float(c.s)
    wanted = (
        x.flatten(1) @ torch.linalg.inv(a**2 * covariance + s**2 * torch.eye(8)) @ (a * covariance)
    )
    assert float((found - wanted).abs().max()) < 5e-3 * float(wanted.abs().max())
