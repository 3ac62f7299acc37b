"""The e3nn network and its parts: what turns with a crystal, what does not see how the crystal is written."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from crystals.test_adapter import alike, crystals
from e3nn import o3

from sciflow.adapter import check
from sciflow.domains.crystals import Adapter, CrystalDataset, encode
from sciflow.domains.crystals.networks.interactions import DEGREES, Interactions, harmonics
from sciflow.domains.crystals.networks.neighbours import bessel, envelope, neighbours
from sciflow.learning import Objective, Recipe, train
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import generate
from sciflow.state import State
from sciflow.streams import Streams

PRECISIONS = [(torch.float32, 1e-5), (torch.float64, 1e-10)]
SMALL = {"name": "e3nn", "channels": 8, "layers": 2, "cutoff": 4.0}


def cell(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return two crystals of 5 and 3 sites: coordinates, skew lattices, real sites."""
    torch.manual_seed(3)
    lattice = 4.0 * torch.eye(3, dtype=dtype) + 0.8 * torch.randn(2, 3, 3, dtype=dtype)
    real = torch.arange(5) < torch.tensor([[5], [3]])
    return torch.rand(2, 5, 3, dtype=dtype), lattice, real


def body(dtype: torch.dtype, out: tuple[int, ...] = DEGREES, layers: int = 2) -> Interactions:
    torch.manual_seed(4)
    return Interactions(6, layers, out, cutoff=4.5).to(dtype)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max().clamp_min(1.0))


def test_neighbours_are_those_of_the_crystal() -> None:
    """A primitive cubic lattice has 6, 12, 8 and 6 neighbours at 1, sqrt 2, sqrt 3 and 2."""
    place, real = torch.rand(1, 1, 3), torch.ones(1, 1, dtype=torch.bool)
    found = neighbours(place, torch.eye(3)[None], real, 2.1)
    lengths, counts = found.lengths.round(decimals=3).unique(return_counts=True)
    assert counts.tolist() == [6, 12, 8, 6]
    assert torch.allclose(lengths, torch.tensor([1, 2, 3, 4]).sqrt(), atol=2e-3)


def test_neighbours_of_a_skew_cell_agree_with_ase() -> None:
    from ase import Atoms
    from ase.neighborlist import neighbor_list

    f, lattice, real = cell(torch.float64)
    found = neighbours(f + torch.tensor([3.0, -2.0, 0.4], dtype=f.dtype), lattice, real, 4.5)
    for k, n in enumerate((5, 3)):
        atoms = Atoms(
            numbers=[1] * n, scaled_positions=f[k, :n].numpy(), cell=lattice[k].numpy(), pbc=True
        )
        own = found.lengths[found.centre // 5 == k].sort().values
        assert np.allclose(own, np.sort(neighbor_list("d", atoms, 4.5)), atol=1e-6)


def test_radial_functions_end_smoothly() -> None:
    x = torch.tensor([0.0, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    assert envelope(x).tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-12)
    (slope,) = torch.autograd.grad(envelope(x).sum(), x, create_graph=True)
    (curve,) = torch.autograd.grad(slope.sum(), x)
    assert slope.abs().max() < 1e-9
    assert curve.abs().max() < 1e-9
    r = torch.linspace(1e-4, 5.0, 20001, dtype=torch.float64)
    b = bessel(r, 5.0, 3) * r[:, None]
    gram = b.mT @ b * (r[1] - r[0])  # orthonormal with the weight r^2
    assert torch.allclose(gram, torch.eye(3, dtype=torch.float64), atol=1e-3)


@pytest.mark.parametrize(("dtype", "atol"), PRECISIONS)
@pytest.mark.parametrize("mirror", [False, True])
def test_features_turn_with_the_crystal(dtype: torch.dtype, atol: float, mirror: bool) -> None:
    f, lattice, real = cell(dtype)
    net = body(dtype)
    turn = o3.rand_matrix(dtype=dtype) * (-1 if mirror else 1)
    with torch.no_grad():
        h = torch.randn(2, 5, 6, dtype=dtype)
        one, _ = net(h, f, lattice, real)
        two, _ = net(h, f, lattice @ turn.mT, real)  # rows are turned: v R^T = R v
    points = torch.nn.functional.normalize(torch.randn(30, 3, dtype=torch.float64), dim=-1)
    before, after = harmonics(points), harmonics(points @ turn.double().mT)
    for degree in DEGREES:  # the matrix that turns harmonics of this degree turns features, too
        matrix = torch.linalg.lstsq(before[degree], after[degree]).solution.to(dtype)
        assert relative(two[degree], one[degree] @ matrix) <= atol, degree


@pytest.mark.parametrize(("dtype", "atol"), PRECISIONS)
def test_features_do_not_see_how_the_crystal_is_written(dtype: torch.dtype, atol: float) -> None:
    """Origin, order of sites, side of the cell, choice of the cell: nothing changes."""
    f, lattice, real = cell(dtype)
    net, h = body(dtype, (0,)), torch.randn(2, 5, 6, dtype=dtype)
    order = torch.tensor([2, 0, 1, 4, 3])
    # A unimodular change of the lattice vectors: L' = M L, f' = f M^-1.
    change = torch.tensor([[1, 1, 0], [0, 1, 0], [0, -1, 1]], dtype=dtype)
    shift = torch.rand(2, 1, 3, dtype=dtype)
    cut = torch.randint(-2, 3, f.shape).to(dtype)
    with torch.no_grad():
        base = net(h, f, lattice, real)[0][0]
        assert relative(net(h, f + shift, lattice, real)[0][0], base) <= atol
        assert relative(net(h, f + cut, lattice, real)[0][0], base) <= atol
        permuted = net(h[:, order], f[:, order], lattice, real[:, order])[0][0]
        assert relative(permuted, base[:, order]) <= atol
        other = net(h, f @ torch.linalg.inv(change), change @ lattice, real)[0][0]
        assert relative(other[real], base[real]) <= atol


@pytest.mark.parametrize(("dtype", "atol"), PRECISIONS)
def test_a_supercell_has_the_same_sites(dtype: torch.dtype, atol: float) -> None:
    f, lattice, real = (x[:1] for x in cell(dtype))
    net, h = body(dtype, (0,)), torch.randn(1, 5, 6, dtype=dtype)
    half = torch.tensor([0.5, 0, 0], dtype=dtype)
    narrow = f * torch.tensor([0.5, 1, 1], dtype=dtype)
    double = torch.cat((narrow, narrow + half), 1)
    wide = lattice * torch.tensor([2.0, 1, 1], dtype=dtype)[:, None]
    with torch.no_grad():
        one = net(h, f, lattice, real)[0][0]
        two = net(torch.cat((h, h), 1), double, wide, torch.cat((real, real), 1))[0][0]
    assert relative(two, torch.cat((one, one), 1)) <= atol


def test_features_are_continuous_at_the_cutoff_and_forces_sum_to_zero() -> None:
    net, h = body(torch.float64, (0,)), torch.randn(1, 2, 6, dtype=torch.float64)
    real = torch.ones(1, 2, dtype=torch.bool)
    lattice = 20 * torch.eye(3, dtype=torch.float64)[None]

    def energy(apart: float) -> torch.Tensor:
        f = torch.tensor([[[0.0, 0, 0], [apart / 20, 0, 0]]], dtype=torch.float64)
        return net(h, f, lattice, real)[0][0].sum()

    with torch.no_grad():
        assert abs(energy(4.5 - 1e-4) - energy(4.5 + 1e-4)) < 1e-9
    f, skew, mask = cell(torch.float64)
    f.requires_grad_()
    sites = net(torch.randn(2, 5, 6, dtype=torch.float64), f, skew, mask)[0][0][mask]
    (force,) = torch.autograd.grad(sites.sum(), f)
    assert force.sum(1).abs().max() < 1e-9 * force.abs().max()


PROCESSES = ["bayes", "linear", "ve", {"species": "bayes"}, {"species": "mask"}]


def adapter(process: object = "bayes") -> Adapter:
    data = encode(crystals()).crystals
    return Adapter.of(data, process, SMALL)  # type: ignore[arg-type]


@pytest.mark.parametrize("process", PROCESSES)
def test_contract(process: object) -> None:
    check(adapter(process), crystals(), alike)


@pytest.mark.parametrize(("dtype", "atol"), PRECISIONS)
@pytest.mark.parametrize("process", ["bayes", "linear", {"coordinates": "ve", "species": "mask"}])
def test_denoiser_turns_with_the_coordinates(
    process: object, dtype: torch.dtype, atol: float
) -> None:
    """Without an anchor a shift of all coordinates turns their prediction and changes no other."""
    table = {"coordinates": process} if isinstance(process, str) else dict(process)  # type: ignore[call-overload]
    own = adapter({**table, "anchor": False})
    network = own.network().to(dtype).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    state = own.encode(crystals()).to(dtype=dtype)
    x, free = state["coordinates"], state.masks["coordinates"]
    shift = torch.rand(len(x), 1, 3, dtype=dtype)
    circle = own.process.on_circle
    turn = torch.polar(torch.ones_like(shift), 2 * math.pi * shift)

    def moved(y: torch.Tensor) -> torch.Tensor:
        if not circle:
            return torch.where(free[..., None], (y + shift) % 1.0, 0.0)
        return torch.view_as_real(torch.view_as_complex(y.contiguous()) * turn)

    t = torch.full((len(x),), 0.6, dtype=dtype)
    with torch.no_grad():
        one = network(state, t)
        two = network(state.replace(coordinates=moved(x)), t)
    for name in one:
        turns = circle and name == "coordinates"
        wanted = moved(one[name]) if turns else one[name]
        assert relative(two[name], wanted) <= 2 * atol, name


def test_denoiser_permutes_with_the_sites() -> None:
    own = adapter()
    network = own.network().double().eval()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    state = own.encode(crystals()).select(slice(0, 1)).to(dtype=torch.float64)
    order = torch.tensor([0, 3, 1, 4, 2])  # the anchor stays the first

    def moved(x: torch.Tensor) -> torch.Tensor:
        return x[:, order] if x.dim() > 1 and x.shape[1] == 5 else x

    other: State = state.map(moved)
    t = torch.full((1,), 0.5, dtype=torch.float64)
    with torch.no_grad():
        one, two = network(state, t), network(other, t)
    for name in one:
        assert relative(two[name], moved(one[name])) <= 1e-10, name


def test_it_learns_and_samples(tmp_path: Path) -> None:
    own = adapter()
    data = CrystalDataset(encode(crystals()).crystals, own)
    network = own.network()
    system, clean = own.system(), data.batch(torch.arange(4))
    streams, t = Streams.range(1, 0, 4), torch.full((4,), 0.7)

    def loss() -> float:
        with torch.no_grad():
            return float(system.loss(network, clean, t, streams).total)

    before = loss()
    train(
        Objective(system, network),
        data,
        Recipe(steps=40, batch_size=4, learning_rate=1e-2, warmup=2),
        tmp_path,
        device="cpu",
    )
    assert loss() < 0.5 * before
    model = Model(own, network.eval(), Sampling("renewal", "uniform", 4))
    made = generate(model, n=3, device="cpu").objects
    again = generate(model, n=2, device="cpu", batch_size=1).objects
    assert all(a.same(b, 1e-3) for a, b in zip(made, again, strict=False))
    assert model.save(tmp_path / "model").is_dir()
