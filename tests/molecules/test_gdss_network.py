"""GDSS's networks against a slow reference that follows the formulas letter by letter."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sciflow.domains.molecules.gdss_checkpoint import our_names
from sciflow.domains.molecules.networks.gdss import (
    GDSSNetwork,
    ScoreNetworkA,
    ScoreNetworkX,
    ScoreNetworkXGMH,
)
from sciflow.errors import SciflowError
from sciflow.state import State

F, WIDTH, ATTENTION, HEADS, CHANNELS, LINEARS, DEPTH = 3, 8, 12, 4, (2, 4, 3), 3, 3
Weights = dict[str, Tensor]


# ---- the reference: every matrix whole, every channel and head in turn --------------------------
def convolution(w: Weights, name: str, x: Tensor, a: Tensor) -> Tensor:
    a = a * (1 - torch.eye(a.shape[-1], dtype=a.dtype)) + torch.eye(a.shape[-1], dtype=a.dtype)
    d = a.sum(-1).clamp(min=1) ** -0.5
    return (d[..., None] * a * d[..., None, :]) @ (x @ w[f"{name}.weight"]) + w[f"{name}.bias"]


def perceptron(w: Weights, name: str, depth: int, x: Tensor) -> Tensor:
    for k in range(depth):
        x = functional.linear(
            functional.elu(x) if k else x,
            w[f"{name}.linears.{k}.weight"],
            w[f"{name}.linears.{k}.bias"],
        )
    return x


def attention(w: Weights, name: str, x: Tensor, a: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    values, scores = [], []
    for c in range(a.shape[1]):
        q, k, v = (convolution(w, f"{name}.attn.{c}.gnn_{p}", x, a[:, c]) for p in "qkv")
        heads = [
            torch.tanh(i @ j.mT / math.sqrt(WIDTH))
            for i, j in zip(q.chunk(HEADS, -1), k.chunk(HEADS, -1), strict=True)
        ]
        s = sum(heads) / HEADS
        scores.append((s + s.mT) / 2)
        values.append(v)
    x = perceptron(w, f"{name}.multi_channel", 2, torch.cat(values, -1))
    edges = torch.cat([torch.stack(scores, -1), a.permute(0, 2, 3, 1)], -1)
    e = perceptron(w, f"{name}.mlp", LINEARS, edges).permute(0, 3, 1, 2)
    return torch.tanh(x * mask[..., None]), (e + e.mT) * both(mask)[:, None]


def both(mask: Tensor) -> Tensor:
    return mask[:, :, None] * mask[:, None, :]


def reference_x(w: Weights, x: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    hidden = [x]
    for k in range(DEPTH):
        hidden.append(torch.tanh(convolution(w, f"layers.{k}", hidden[-1], a)))
    return perceptron(w, "final", 3, torch.cat(hidden, -1)) * mask[..., None]


def reference_gmh(w: Weights, x: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    hidden, a = [x], torch.stack([a, a @ a], 1)
    for k in range(DEPTH):
        x, a = attention(w, f"layers.{k}", x, a, mask)
        x = torch.tanh(x)
        hidden.append(x)
    return perceptron(w, "final", 3, torch.cat(hidden, -1)) * mask[..., None]


def reference_a(w: Weights, x: Tensor, a: Tensor, mask: Tensor) -> Tensor:
    channels = [torch.stack([a, a @ a], 1)]
    for k in range(DEPTH):
        x, a = attention(w, f"layers.{k}", x, channels[-1], mask)
        channels.append(a)
    y = perceptron(w, "final", 3, torch.cat(channels, 1).permute(0, 2, 3, 1))[..., 0]
    return y * both(mask) * (1 - torch.eye(y.shape[-1], dtype=y.dtype))


def random_weights(kind: str) -> Weights:
    """Random weights under the authors' names."""
    w: Weights = {}

    def linear(name: str, inner: int, outer: int, turned: bool = False) -> None:
        shape = (inner, outer) if turned else (outer, inner)
        w[f"{name}.weight"] = torch.randn(shape, dtype=torch.float64) / math.sqrt(inner)
        w[f"{name}.bias"] = torch.randn(outer, dtype=torch.float64) / 2

    def stack(name: str, *widths: int) -> None:
        for k in range(len(widths) - 1):
            linear(f"{name}.linears.{k}", widths[k], widths[k + 1])

    ends = [CHANNELS[0], *[CHANNELS[1]] * (DEPTH - 1), CHANNELS[2]]
    for k in range(DEPTH):
        inner = WIDTH if k else F
        if kind == "X":
            linear(f"layers.{k}", inner, WIDTH, turned=True)
            continue
        c, hidden = ends[k], 2 * max(ends[k : k + 2])
        for channel in range(c):
            for part in "qkv":
                width = ATTENTION if k and part != "v" else WIDTH
                linear(f"layers.{k}.attn.{channel}.gnn_{part}", inner, width, turned=True)
        stack(f"layers.{k}.mlp", 2 * c, *[hidden] * (LINEARS - 1), ends[k + 1])
        stack(f"layers.{k}.multi_channel", c * WIDTH, hidden, WIDTH)
    total = sum(ends) if kind == "A" else F + DEPTH * WIDTH
    stack("final", total, 2 * total, 2 * total, 1 if kind == "A" else F)
    return w


REFERENCES: dict[str, Callable[..., Tensor]] = {
    "X": reference_x,
    "XGMH": reference_gmh,
    "A": reference_a,
}
# ---- what is tested -----------------------------------------------------------------------------


def network_of(kind: str) -> nn.Module:
    if kind == "X":
        return ScoreNetworkX(F, DEPTH, WIDTH)
    of = ScoreNetworkA if kind == "A" else ScoreNetworkXGMH
    return of(F, DEPTH, WIDTH, ATTENTION, CHANNELS, LINEARS, HEADS)


def noisy(sizes: list[int], n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    mask = torch.arange(n) < torch.tensor(sizes)[:, None]
    x = torch.randn(len(sizes), n, F, dtype=dtype) * mask[..., None]
    a = torch.randn(len(sizes), n, n, dtype=dtype).triu(1)
    return x, (a + a.mT) * both(mask.to(dtype)), mask


def pair(kind: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Callable[..., Tensor]]:
    """A network, and the reference with the same random weights."""
    weights = random_weights(kind)
    network = network_of(kind).to(dtype)
    network.load_state_dict(our_names(weights))
    weights = {name: w.to(dtype) for name, w in weights.items()}
    return network, lambda x, a, mask: REFERENCES[kind](weights, x, a, mask.to(dtype))


KINDS = pytest.mark.parametrize("kind", list(REFERENCES))


@KINDS
@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize(
    ("sizes", "n"),
    [
        ([5, 5, 5], 5),
        ([2, 1, 7, 4, 7], 9),  # padding, even beyond the largest
        ([18, 20, 9], 20),  # beyond the size where matrix products take over
        ([17] * 9 + [3, 4, 19], 21),  # more than one group, whose last is short
        ([66, 40], 66),  # graphs one by one
        ([1], 1),
    ],
)
def test_equals_the_formulas(kind: str, gradients: bool, sizes: list[int], n: int) -> None:
    network, reference = pair(kind)
    x, a, mask = noisy(sizes, n, torch.float64)
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(
            network(x, a, mask), reference(x, a, mask), rtol=1e-10, atol=1e-10
        )


@KINDS
def test_equals_the_formulas_in_float32(kind: str) -> None:
    network, reference = pair(kind, torch.float32)
    inputs = noisy([9, 9, 7, 8] * 8, 9, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(network(*inputs), reference(*inputs), rtol=1e-5, atol=1e-5)


@KINDS
def test_many_groups_in_any_order(kind: str) -> None:
    network, reference = pair(kind)
    sizes = torch.randint(1, 13, (400,)).tolist()
    inputs = noisy(sizes, 12, torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(network(*inputs), reference(*inputs), rtol=1e-10, atol=1e-10)


@KINDS
def test_without_groups_as_on_an_accelerator(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, reference = pair(kind)
    inputs = noisy([5, 3, 8], 9, torch.float64)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    torch.testing.assert_close(network(*inputs), reference(*inputs), rtol=1e-10, atol=1e-10)


@KINDS
def test_nodes_may_be_missing_in_the_middle(kind: str) -> None:
    network, reference = pair(kind)
    x, a, mask = noisy([6, 6, 6], 6, torch.float64)
    mask[0, 2] = mask[1, 5] = mask[2, 0] = mask[2, 3] = False
    x, a = x * mask[..., None], a * both(mask.double())
    torch.testing.assert_close(network(x, a, mask), reference(x, a, mask), rtol=1e-10, atol=1e-10)


@KINDS
def test_gradients_equal_those_of_the_formulas(kind: str) -> None:
    weights = random_weights(kind)
    network = network_of(kind).double()
    network.load_state_dict(our_names(weights))
    x, a, mask = noisy([6, 4, 18], 18, torch.float64)
    free = torch.randn_like(a)  # what is not symmetric or padding takes no part

    def symmetric(value: Tensor) -> Tensor:
        return (value + value.mT) * both(mask.double()) * (1 - torch.eye(18))

    def slopes(function: Callable[..., Tensor], of: Weights) -> list[Tensor]:
        inputs = x.clone().requires_grad_(), free.clone().requires_grad_()
        y = function(inputs[0] * mask[..., None], symmetric(inputs[1]), mask)
        return list(
            torch.autograd.grad(y.pow(2).sum(), [*inputs, *of.values()], allow_unused=True)
        )

    own = dict(network.named_parameters())
    for w in weights.values():
        w.requires_grad_()
    mine = slopes(network, own)
    theirs = slopes(lambda x, a, m: REFERENCES[kind](weights, x, a, m.double()), weights)
    torch.testing.assert_close(mine[:2], theirs[:2], rtol=1e-8, atol=1e-8)
    wanted = our_names(
        {
            name: torch.zeros_like(w) if slope is None else slope
            for (name, w), slope in zip(weights.items(), theirs[2:], strict=True)
        }
    )
    for (name, w), slope in zip(own.items(), mine[2:], strict=True):
        got = torch.zeros_like(w) if slope is None else slope
        torch.testing.assert_close(got, wanted[name], rtol=1e-8, atol=1e-8)


@KINDS
def test_second_gradients(kind: str) -> None:
    network, reference = pair(kind)
    x, a, mask = noisy([4, 3], 4, torch.float64)

    def curvature(function: Callable[..., Tensor]) -> Tensor:
        free = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(
            function(free, a, mask).pow(2).sum(), free, create_graph=True
        )
        return torch.autograd.grad(slope.pow(2).sum(), free)[0]

    torch.testing.assert_close(curvature(network), curvature(reference), rtol=1e-8, atol=1e-8)


@KINDS
def test_a_permutation_of_the_nodes_permutes_the_answer(kind: str) -> None:
    network, _ = pair(kind)
    x, a, _ = noisy([7, 7], 7, torch.float64)
    order = torch.randperm(7)
    with torch.no_grad():
        y, z = network(x, a), network(x[:, order], a[:, order][:, :, order])
    y = y[:, order][:, :, order] if kind == "A" else y[:, order]
    torch.testing.assert_close(z, y, rtol=1e-10, atol=1e-10)


@KINDS
def test_a_graph_is_answered_alone_as_in_a_batch_and_padded(kind: str) -> None:
    network, _ = pair(kind)
    sizes = [5, 9, 1, 18, 9]
    x, a, mask = noisy(sizes, 20, torch.float64)
    with torch.no_grad():
        together = network(x, a, mask)
        for k, n in enumerate(sizes):
            alone = network(x[k : k + 1, :n], a[k : k + 1, :n, :n])[0]
            mine = together[k, :n, :n] if kind == "A" else together[k, :n]
            torch.testing.assert_close(mine, alone, rtol=1e-10, atol=1e-10)
            assert together[k, n:].abs().sum() == 0


def test_bonds_are_symmetric_with_zero_diagonal() -> None:
    network, _ = pair("A", torch.float32)
    x, a, mask = noisy([8, 6, 3], 8, torch.float32)
    with torch.no_grad():
        y = network(x, a, mask)
    assert torch.equal(y, y.mT)
    assert torch.equal(y.diagonal(dim1=1, dim2=2), torch.zeros(3, 8))
    assert torch.equal(y * (1 - both(mask.float())), torch.zeros(3, 8, 8))


def test_an_empty_batch_has_an_empty_answer() -> None:
    for kind in REFERENCES:
        x, a, mask = noisy([], 5, torch.float32)
        assert network_of(kind)(x, a, mask).shape == (0, 5, 5 if kind == "A" else F)


def test_both_networks_read_one_state() -> None:
    network = GDSSNetwork(ScoreNetworkX(F, DEPTH, WIDTH), network_of("A"))  # type: ignore[arg-type]
    x, a, mask = noisy([4, 6], 6, torch.float32)
    state = State({"atoms": x, "bonds": a}, masks={"atoms": mask})
    with torch.no_grad():
        answer = network(state, torch.tensor([0.1, 0.9]))
        assert torch.equal(answer["atoms"], network.nodes(x, a, mask))
        assert torch.equal(answer["bonds"], network.bonds(x, a, mask))


def test_what_does_not_fit_is_said() -> None:
    x, a, _ = noisy([4], 4, torch.float32)
    with pytest.raises(SciflowError, match=r"expected '?\(B, N, 3\)"):
        network_of("A")(x[..., :2], a)
    with pytest.raises((SciflowError, TypeError), match="atoms and bonds|adjacency"):
        network_of("X")(x[:, :3], a)  # the type check of the tests may be first
    with pytest.raises(SciflowError, match="multiple of the 4 heads"):
        ScoreNetworkA(F, 2, 6, 8)
    with pytest.raises(SciflowError, match="at least 2"):
        ScoreNetworkXGMH(F, 1, 8, 8)
