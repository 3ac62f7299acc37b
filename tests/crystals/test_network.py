"""The periodic network: its symmetries, its split first layer, its pair features."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from sciflow.domains.crystals.lattice import matrix as lattice_matrix
from sciflow.domains.crystals.networks.periodic import Periodic, _Layer, waves
from sciflow.domains.crystals.process import Process
from sciflow.spaces import Circle
from sciflow.state import State

SIZES = (5, 3)


def made(
    choice: object, dtype: torch.dtype, anchor: bool = True
) -> tuple[Process, Periodic, State]:
    """Return a process, a network whose heads are not zero, and a state on its way at t = .5."""
    torch.manual_seed(1)
    table = {"coordinates": choice} if isinstance(choice, str) else dict(choice)  # type: ignore[call-overload]
    process = Process.of({**table, "anchor": anchor}, (0.2, 0.3, 0.5))
    network = Periodic(process, width=32, layers=2).to(dtype).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    labels = torch.tensor([[0, 1, 2, 2, 2], [1, 2, 2, 0, 0]])
    ranks = torch.tensor([[1, 1, 1, 2, 3], [1, 1, 2, 0, 0]])
    state = process.show(
        labels, ranks, torch.rand(2, 5, 3, dtype=dtype), torch.randn(2, 6, dtype=dtype)
    )
    free = state.masks["coordinates"]
    x = state["coordinates"]
    if process.on_circle:  # beliefs of every certainty
        x = x * torch.rand(2, 5, 3, 1, dtype=dtype) * 50 * free[..., None, None]
    return process, network, state.replace(coordinates=x)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize(
    "choice", ["bayes", "linear", "ve", {"species": "bayes"}, {"species": "mask"}]
)
def test_permutation(choice: object, dtype: torch.dtype, atol: float) -> None:
    _, network, state = made(choice, dtype)
    order = torch.tensor([0, 3, 1, 4, 2])  # the anchor stays the first

    def moved(x: torch.Tensor) -> torch.Tensor:
        return x[:, order] if x.dim() > 1 and x.shape[1] == 5 else x

    t = torch.full((2,), 0.5, dtype=dtype)
    with torch.no_grad():
        one, other = network(state, t), network(state.map(moved), t)
    for name in one:
        scale = one[name].abs().max().clamp_min(1)
        assert (moved(one[name]) - other[name]).abs().max() <= atol * scale, name


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("choice", ["bayes", "linear", "ve"])
def test_periodic_translation(choice: str, dtype: torch.dtype, atol: float) -> None:
    process, network, state = made(choice, dtype, anchor=False)
    shift = torch.rand(2, 1, 3, dtype=dtype)
    angle = 2 * math.pi * shift
    turn = torch.polar(torch.ones_like(angle), angle)

    def turned(x: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(torch.view_as_complex(x.contiguous()) * turn)

    x = state["coordinates"]
    if process.on_circle:
        moved = turned(x)
    else:
        free = state.masks["coordinates"].unsqueeze(-1)
        moved = torch.where(free, (x + shift) % 1.0, 0.0)
    t = torch.full((2,), 0.5, dtype=dtype)
    with torch.no_grad():
        one = network(state, t)
        other = network(state.replace(coordinates=moved), t)
    expected = turned(one["coordinates"]) if process.on_circle else one["coordinates"]
    scale = expected.abs().max().clamp_min(1)
    assert (expected - other["coordinates"]).abs().max() <= atol * scale
    assert (one["lattice"] - other["lattice"]).abs().max() <= atol * 10


def test_rotation_leaves_the_state_alone() -> None:
    from sciflow.domains.crystals.cells import Cells

    torch.manual_seed(0)
    lengths, angles = torch.rand(4, 3).double() * 4 + 3, torch.rand(4, 3).double() * 40 + 70
    own = lattice_matrix(lengths, angles)
    rotation = torch.linalg.qr(torch.randn(4, 3, 3).double())[0]
    labels, real = torch.zeros(4, 2, dtype=torch.int64), torch.ones(4, 2, dtype=torch.bool)
    cells = Cells.fit(own, labels, real, 1)
    one, other = cells.encode(own, labels, real), cells.encode(own @ rotation, labels, real)
    assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("choice", ["bayes", "linear", {"species": "mask"}])
def test_padding_and_batch_do_not_matter(choice: object) -> None:
    _, network, state = made(choice, torch.float64)
    t = torch.full((2,), 0.3, dtype=torch.float64)

    def cut(x: torch.Tensor) -> torch.Tensor:
        x = x[1:]
        return x[:, :3] if x.dim() > 1 and x.shape[1] == 5 else x

    with torch.no_grad():
        whole, alone = network(state, t), network(state.map(cut), t[1:])
    for name in whole:
        assert (cut(whole[name]) - alone[name]).abs().max() < 1e-12, name
        if name != "lattice":
            assert whole[name][1, 3:].abs().max() == 0, name


def test_answers_lie_in_the_disc() -> None:
    _, network, state = made("bayes", torch.float64)
    with torch.no_grad():
        u = network(state, torch.full((2,), 0.5, dtype=torch.float64))["coordinates"]
    free = state.masks["coordinates"]
    assert u.norm(dim=-1).max() <= 1 + 1e-12
    assert (u.norm(dim=-1)[free] > 0).all()


def test_untrained_network_believes_the_state() -> None:
    process = Process.of("bayes", (1.0,))
    network = Periodic(process, width=16, layers=1)
    labels, ranks = torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[1, 2, 3, 4]])
    state = process.show(labels, ranks, torch.rand(1, 4, 3), torch.zeros(1, 6))
    u = network(state, torch.tensor([0.5]))["coordinates"]
    assert torch.allclose(u, state["coordinates"], atol=1e-5)


def test_split_layer_is_the_concatenated_one() -> None:
    torch.manual_seed(0)
    layer = _Layer(8).double()
    h, g = torch.randn(2, 4, 8).double(), torch.randn(2, 8).double()
    pairs = torch.randn(2, 4, 4, 8).double()  # W4 phi
    share = torch.full((2, 4), 0.25).double()
    n = layer.norm(h + layer.shift(g)[:, None])
    joined = torch.cat((layer.from_i.weight, layer.from_j.weight, layer.from_graph.weight), 1)
    edge = torch.cat(
        (n[:, :, None].expand(-1, -1, 4, -1), n[:, None].expand(-1, 4, -1, -1),
         g[:, None, None].expand(-1, 4, 4, -1)), -1,
    )  # fmt: skip
    e = F.silu(F.linear(edge, joined, layer.from_graph.bias) + pairs)
    mean = F.silu(layer.message(e)).mean(2)
    whole = h + layer.shift(g)[:, None] + layer.update(torch.cat((n, mean), -1))
    assert torch.allclose(layer(h, g, pairs, share), whole, atol=1e-12)


def test_pair_features_are_periodic_and_antisymmetric() -> None:
    torch.manual_seed(0)
    f = torch.rand(1, 4, 3).double()
    phi = waves(Circle().vectors(f), Circle().vectors(f), 4, 16)
    whole = waves(Circle().vectors(f + torch.randint(-2, 3, f.shape)), Circle().vectors(f), 4, 16)
    assert torch.allclose(phi, whole, atol=1e-9)
    assert phi.shape[-1] == 60
    half = 4 * 3 + 10
    assert torch.allclose(phi[..., :half], phi[..., :half].transpose(1, 2))  # cosines
    assert torch.allclose(phi[..., half : 2 * half], -phi[..., half : 2 * half].transpose(1, 2))
    d = f[:, None] - f[:, :, None]
    k = torch.tensor([1.0, -1.0, 1.0]).double()
    wanted = torch.cos(2 * math.pi * (d * k).sum(-1))
    assert ((phi[..., :half] - wanted[..., None]).abs().amax((0, 1, 2)) < 1e-9).any()
