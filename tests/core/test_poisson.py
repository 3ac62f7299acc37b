"""PFGM++: its noise is Student's law, in the limit it is EDM, and the flow stays what it is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from sciflow import Component, SciflowError, State, Streams, System
from sciflow.grids import Uniform
from sciflow.paths import EDM, PFGM, Ends, make
from sciflow.paths.poisson import chi_square
from sciflow.prediction import combine
from sciflow.sampling import sample
from sciflow.solvers import make as make_solver
from sciflow.spaces import Euclidean, Symmetric, Torus
from sciflow.state import Frame
from tests.core.mixtures import F64, Mixture, ring, sliced_distance

LAW = ring(4, 1.0, 0.2)


def guess(D: float, law: Mixture, sigma: float, x: Tensor, nodes: int = 200) -> Tensor:
    """E[x_1 | x] when noise is Student's: a mixture of normal laws of variance sigma^2 D / chi^2_D, by quantiles."""

    class Even(Streams):
        def uniform(self, shape: object, dtype: torch.dtype = F64) -> Tensor:
            return (torch.arange(nodes, dtype=F64) + 0.5) / nodes

    scale = D / chi_square(Even(0, torch.arange(nodes)), D)
    variance = law.std**2 + sigma**2 * scale  # [nodes]
    squares = torch.cdist(x, law.places).square().unsqueeze(-1)  # [B, K, 1]
    log_w = torch.tensor(law.weights, dtype=F64).log().view(-1, 1)
    log_p = log_w - squares / (2 * variance) - x.shape[1] / 2 * variance.log()
    p = log_p.flatten(1).softmax(1).view_as(log_p)
    shrink = p @ (law.std**2 / variance)  # of x - place, the part that is kept
    return (p.sum(2) - shrink) @ law.places + shrink.sum(1, keepdim=True) * x


def test_chi_square_numbers_have_their_law() -> None:
    """By the distribution function, which must be uniform: Kolmogorov and Smirnov, p > .001."""
    count = 4000
    for degrees in (0.5, 3.0, 128.0, 65536.0):
        x = chi_square(Streams.range(1, 0, count), degrees)
        level = torch.special.gammainc(torch.tensor(degrees / 2, dtype=F64), x / 2).sort().values
        even = (torch.arange(count, dtype=F64) + 0.5) / count
        assert float((level - even).abs().max()) * math.sqrt(count) < 1.95


def test_the_noise_is_that_of_the_paper() -> None:
    """R^2 / r^2 = b / (1 - b) with b ~ Beta(N / 2, D / 2): E[b] and E[b^2], of real coordinates alone."""
    D, nodes, count = 6.0, 4, 20000
    path = PFGM(D=D)
    mask = torch.ones(count, 5, 5, dtype=torch.bool)
    mask[:, nodes:] = mask[:, :, nodes:] = False
    x0 = path.noise(Symmetric(), (5, 5), Streams.range(0, 0, count), mask, F64)
    n = nodes * (nodes - 1) // 2  # free coordinates
    ratio = (x0**2).flatten(1).sum(1) / 2 / D
    b = ratio / (1 + ratio)
    mean = n / (n + D)
    assert float(b.mean()) == pytest.approx(mean, abs=0.006)
    assert float((b**2).mean()) == pytest.approx(mean * (n + 2) / (n + D + 2), abs=0.006)
    assert torch.equal(x0, x0.transpose(1, 2)) and not x0[:, nodes:].any()
    one = path.noise(Symmetric(), (5, 5), Streams.range(7, 0, 1), mask[:1], F64)
    assert torch.equal(
        one, path.noise(Symmetric(), (5, 5), Streams.range(7, 0, 3), mask[:3], F64)[:1]
    )


def test_the_guess_goes_to_that_of_edm_as_one_over_d() -> None:
    x = LAW.draw(Streams.range(0, 0, 200)) + 0.3 * Streams.range(1, 0, 200).normal((2,), F64)
    limit = guess(1e9, LAW, 0.3, x, nodes=1)
    off = [float((guess(D, LAW, 0.3, x) - limit).norm() / limit.norm()) for D in (64, 2048, 65536)]
    assert off[0] < 0.05 and off[1] / off[0] < 1 / 20 and off[2] / off[1] < 1 / 15


def test_the_guess_belongs_to_the_noise_that_is_drawn() -> None:
    """What is left of x_1 after the guess is orthogonal to functions of x: both use one law."""
    count, D = 20000, 4.0
    path = PFGM(0.01, 5.0, D=D)
    t = torch.full((count,), 0.5, dtype=F64)
    x1 = LAW.draw(Streams.range(0, 0, count))
    x, _ = path.corrupt(Euclidean(), x1, t, Streams.range(1, 0, count), None)
    rest = x1 - guess(D, LAW, float(path.at(0.5).s), x)
    for f in (x.tanh(), torch.cos(3 * x), torch.sin(2 * x.flip(1))):
        product = rest * f
        assert (product.mean(0).abs() < 4 * product.std(0) / math.sqrt(count)).all()


@pytest.mark.parametrize("D", [8.0, 1e6])
@pytest.mark.parametrize("name", ["heun", "dpm++2m"])
def test_the_flow_ends_in_the_data(name: str, D: float) -> None:
    path = PFGM(0.01, 20.0, D=D)
    system = System({"x": Component(Euclidean(), path, "edm")})

    def network(state: State, t: Tensor) -> Mapping[str, Tensor]:
        c = path.at(float(t[0]))
        x = state["x"]
        x1 = guess(D, LAW, float(c.s), x, 60)
        return {"x": combine("edm", c, Ends(x1, (x - x1) / c.s))}

    end = sample(
        system,
        network,
        Frame({"x": (2,)}),
        Streams.range(0, 0, 600),
        solver=make_solver(name),
        grid=Uniform(),
        steps=24,
        dtype=F64,
    )["x"]
    assert sliced_distance(end, LAW.draw(Streams.range(3, 0, 600), even=True)) < 0.12


def test_it_agrees_with_edm_but_for_the_noise() -> None:
    t = torch.linspace(0, 1, 5, dtype=F64)
    ours, theirs = PFGM(D=3.0).coefficients(t), EDM().coefficients(t)
    for name in ("a", "s", "da", "ds"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name))
    x1 = torch.zeros(5, 2, dtype=F64)
    far, _ = PFGM(D=1e7).corrupt(Euclidean(), x1, t, Streams.range(0, 0, 5), None)
    near, _ = EDM().corrupt(Euclidean(), x1, t, Streams.range(0, 0, 5), None)
    assert torch.allclose(far, near, rtol=2e-3)
    prior = PFGM(D=3.0).prior(Euclidean(), (4000,), Streams.range(0, 0, 1), None, F64)
    length = PFGM(D=3.0).noise(Euclidean(), (4000,), Streams.range(0, 0, 1), None, F64) * 80
    assert torch.equal(prior, length)


def test_the_evidence_is_that_of_students_law() -> None:
    path, t = PFGM(D=5.0), torch.tensor([0.7, 0.9], dtype=F64)
    x = torch.randn(2, 4, 3, dtype=F64)
    s = torch.as_tensor(path.coefficients(t).s).view(2, 1, 1, 1)
    scale = (torch.eye(3, dtype=F64) * s[..., :1, :1] ** 2).expand(2, 4, 3, 3)
    wanted = []
    for k in range(3):
        off = x - torch.eye(3, dtype=F64)[k]
        mahalanobis = (off.unsqueeze(-2) @ torch.linalg.inv(scale) @ off.unsqueeze(-1)).view(2, 4)
        wanted.append(-(5 + 3) / 2 * (1 + mahalanobis / 5).log())
    difference = path.evidence(x, t, 3) - torch.stack(wanted, -1)
    assert torch.allclose(difference, difference[..., :1].expand_as(difference))


def test_what_it_has_not_is_said() -> None:
    component = Component(Euclidean(), PFGM(), "data")
    for name in ("ancestral", "euler-maruyama", "s4"):
        assert "not Gaussian" in make_solver(name).lacks(component)
    assert not make_solver("heun").lacks(component)
    with pytest.raises(SciflowError, match="do not wrap together"):
        Component(Torus(), PFGM(), "data")
    with pytest.raises(SciflowError, match="D of path pfgm.*positive"):
        make("pfgm++", (), {"D": 0})
