"""Distances in the noisy lattice, the polarity of perovskites, groups by size, half of the pairs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from sciflow import grids
from sciflow.domains.crystals.arrangement import Arrangement
from sciflow.domains.crystals.crystal import Crystal
from sciflow.domains.crystals.lattice import Standardised
from sciflow.domains.crystals.metric import DISTANCES, distances
from sciflow.domains.crystals.networks import periodic
from sciflow.domains.crystals.networks.periodic import Periodic
from sciflow.domains.crystals.perovskite import IDEAL, fit, toss
from sciflow.domains.crystals.process import Process
from sciflow.domains.crystals.structures import encode
from sciflow.errors import SciflowError
from sciflow.spaces import Circle
from sciflow.state import State
from sciflow.streams import Streams

PLAIN = Standardised("logarithm", (0.0,) * 6, (0.2,) * 6)


def test_counts_of_neighbours_by_their_definition() -> None:
    torch.manual_seed(0)
    f = torch.rand(1, 3, 3).double()
    matrix = torch.eye(3).double() + 0.2 * torch.randn(1, 3, 3).double()
    phi = distances(Circle().vectors(f), matrix)
    assert phi.shape == (DISTANCES, 1, 3, 3)
    d = f[:, None] - f[:, :, None]
    d = d - d.round()
    for c, (i, j) in product((0, 5, 13), product(range(3), repeat=2)):
        sites = [(d[0, i, j] + torch.tensor(k)) @ matrix[0] for k in product((-1, 0, 1), repeat=3)]
        r = torch.stack(sites).norm(dim=-1).clamp_min(1e-6)
        wanted = torch.exp(-0.5 * ((r - 0.2 - 0.15 * c) / 0.15) ** 2).sum()
        assert abs(phi[c, 0, i, j] - wanted) < 1e-9
    assert torch.allclose(phi, phi.mT)  # a pair is as far apart in both orders


def test_counts_do_not_see_origin_and_orientation() -> None:
    torch.manual_seed(1)
    f, matrix = torch.rand(2, 4, 3).double(), torch.randn(2, 3, 3).double()
    turn, _ = torch.linalg.qr(torch.randn(3, 3).double())
    one = distances(Circle().vectors(f), matrix)
    other = distances(Circle().vectors(f + torch.rand(2, 1, 3)), matrix @ turn)
    assert torch.allclose(one, other, atol=1e-9)


def network_and_state(sizes: tuple[int, ...], **options: object) -> tuple[Periodic, State]:
    """Return a network whose heads are not zero, in float64, and a state on its way."""
    torch.manual_seed(2)
    process = Process.of({"species": "bayes"}, (0.2, 0.3, 0.5))
    network = Periodic(process, 16, 2, **options).double().eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    n = max(sizes)
    ranks = torch.where(torch.arange(n) < torch.tensor(sizes)[:, None], 1, 0)
    f, lattice = torch.rand(len(sizes), n, 3), torch.randn(len(sizes), 6)
    state = process.show(torch.randint(3, ranks.shape), ranks, f.double(), lattice.double())
    return network, state


@pytest.mark.parametrize("metric", [None, PLAIN])
def test_groups_by_size_change_nothing(
    metric: Standardised | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, state = network_and_state((3, 9, 1, 14, 2), metric=metric)
    t = torch.rand(5).double()
    with torch.no_grad():
        grouped = network(state, t)
        monkeypatch.setattr(periodic, "_STRIDE", 100)
        whole = network(state, t)
    for name, value in whole.items():
        assert torch.allclose(grouped[name], value, atol=1e-11), name


def test_half_of_the_pairs_make_all(monkeypatch: pytest.MonkeyPatch) -> None:
    network, state = network_and_state((5, 5, 4), harmonics=6)
    t = torch.rand(3).double()
    with torch.no_grad():
        whole = network(state, t)
        monkeypatch.setattr(periodic, "_MANY", 1)
        half = network(state, t)
    for name, value in whole.items():
        assert torch.allclose(half[name], value, atol=1e-11), name


def displaced(shift: float, a: int = 20, b: int = 22) -> Crystal:
    """A perovskite of which A has left its cage along x."""
    places = IDEAL + np.array([[shift, 0, 0], *[[0, 0, 0]] * 4])
    return Crystal(np.array([a, b, 8, 8, 9], np.int16), places, 4.0 * np.eye(3))


@pytest.mark.parametrize("shift", [0.02, 0.2, 0.33])
def test_polarity_is_that_of_a_whatever_order_and_origin(shift: float) -> None:
    rng = np.random.default_rng(0)
    crystal = displaced(shift)
    for _ in range(5):
        order, origin = rng.permutation(5), rng.random(3)
        species = crystal.species[order].astype(np.int64)
        places = (crystal.coordinates[order] + origin) % 1.0
        found, other = fit(species, places), fit(species, -places)
        assert found is not None
        assert other is not None
        assert (order[found.a], order[found.b]) == (0, 1) == (order[other.a], order[other.b])
        assert found.polarity == pytest.approx(-4 * shift)
        assert other.polarity == pytest.approx(4 * shift)
    assert fit(np.array([8, 8]), np.zeros((2, 3))) is None


def test_perovskites_get_one_hand_and_their_roles() -> None:
    data = encode([displaced(0.3), displaced(-0.3)]).crystals
    arranged = Arrangement.of(data, inversion=True, prototype="perovskite")
    apart = arranged.coordinates[0] - arranged.coordinates[1]
    assert (apart - apart.round()).abs().max() < 1e-5
    assert arranged.species[0].tolist() == [22, 20, 9, 8, 8]
    assert arranged.ranks[0].tolist() == [2, 1, 1, 1, 2]  # titanium is B, calcium A
    twin = encode([displaced(0.3, 22, 20)]).crystals
    assert Arrangement.of(twin, True, "perovskite").ranks[0, :2].tolist() == [1, 2]
    assert Arrangement.of(twin, True).ranks[0, :2].tolist() == [1, 1]
    with pytest.raises(SciflowError, match="prototype"):
        Arrangement.of(data, prototype="chalk")


def test_equal_cations_are_numbered_by_role() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        order, crystal = rng.permutation(5), displaced(0.2, 22, 22)
        moved = Crystal(crystal.species[order], crystal.coordinates[order], crystal.lattice)
        one = Arrangement.of(encode([moved]).crystals, True, "perovskite")
        assert one.species[0].tolist() == [9, 22, 22, 8, 8]
        assert one.ranks[0].tolist() == [1, 1, 2, 1, 2]
        # A lies in the plane of fluorine, B (of the same element) half a cell from it.
        assert one.coordinates[0, 1:3, 2].tolist() == pytest.approx([0.0, 0.5])


def test_roles_are_a_fair_coin_of_each_sample() -> None:
    species = torch.tensor([22, 20, 9, 8, 8]).repeat(4000, 1)
    ranks = torch.tensor([1, 1, 1, 1, 2]).repeat(4000, 1)
    drawn = toss(species, ranks, Streams.range(0, 0, 4000))
    assert (drawn[:, 2:] == ranks[:, 2:]).all()
    assert (drawn[:, :2].sum(1) == 3).all()  # one of each role
    assert abs(float((drawn[:, 0] == 1).double().mean()) - 0.5) < 4 * 0.5 / 4000**0.5
    part = toss(species[:3], ranks[:3], Streams.range(0, 5, 3))
    assert torch.equal(part, drawn[5:8])
    alike = torch.tensor([[22, 22, 8, 8, 8], [22, 20, 8, 8, 0]])
    known = torch.tensor([[1, 2, 1, 2, 3], [1, 1, 1, 2, 0]])
    assert torch.equal(toss(alike, known, Streams.range(0, 0, 2)), known)


def test_a_grid_may_stop_early() -> None:
    system = Process.of("bayes", (1.0,)).system()
    grid = grids.make({"name": "uniform", "stop": 0.6})
    assert grid.knots(4, system) == pytest.approx([0, 0.2, 0.4, 0.6, 1])
    assert grid.knots(1, system) == [0, 1]
    assert grids.make("uniform").knots(2, system) == [0, 0.5, 1]
    with pytest.raises(SciflowError, match="stop"):
        grids.make({"name": "uniform", "stop": 0.0})
