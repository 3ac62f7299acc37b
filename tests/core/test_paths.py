"""Paths: closed forms against autograd, posteriors against Bayes, every law against its definition."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sciflow import SciflowError, Streams
from sciflow.paths import (
    EDM,
    OU,
    VE,
    VP,
    Cosine,
    Ends,
    GaussianPath,
    Jump,
    KineticOptimal,
    Linear,
    OneSided,
    SubVP,
    make,
    marginal,
    mask,
    uniform,
)
from sciflow.spaces import Categorical, Euclidean, Symmetric
from tests.core.analytic import F64, Given

PATHS = [
    VP(),
    VP(0.1, 1.0),
    SubVP(),
    OU(3.0, 3.0, 0.6),
    VE(),
    VE(0.1, 1.0),
    EDM(),
    EDM(0.0, 5.0, 2.0),
    Cosine(),
    Linear(),
    OneSided(scale=2.0),
    OneSided("cosine", 0.7),
    KineticOptimal(),
    KineticOptimal((0.2, 0.9, 1.0, 0.4), 1.3),
]
TIMES = torch.tensor([0.01, 0.2, 0.5, 0.81, 0.99], dtype=F64)
EUCLIDEAN = Euclidean()


# ---- Gaussian paths
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_derivatives_are_those_of_the_coefficients(path: GaussianPath) -> None:
    t = TIMES.clone().requires_grad_()
    c = path.coefficients(t)
    (da,) = torch.autograd.grad(torch.as_tensor(c.a + 0 * t).sum(), t, retain_graph=True)
    (ds,) = torch.autograd.grad(torch.as_tensor(c.s).sum(), t, retain_graph=True)
    (rate,) = torch.autograd.grad(path.log_snr(t).sum(), t)
    assert torch.allclose(da, torch.as_tensor(c.da), rtol=1e-10)
    assert torch.allclose(ds, torch.as_tensor(c.ds), rtol=1e-10)
    assert (rate > 0).all()
    assert torch.allclose(torch.as_tensor(c.diffusion), torch.as_tensor(c.s) ** 2 * rate)
    host = path.at(0.5)
    for name in ("a", "s", "da", "ds", "diffusion"):
        assert getattr(host, name) == pytest.approx(float(getattr(c, name)[2].detach()), rel=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_time_of_a_log_snr_undoes_it(path: GaussianPath) -> None:
    assert torch.allclose(path.time(path.log_snr(TIMES)), TIMES, atol=1e-10)


def test_coefficients_are_what_their_names_promise() -> None:
    for path in (VP(), VP(0.1, 1.0), Cosine()):
        c = path.coefficients(TIMES)
        one = torch.as_tensor(c.a) ** 2 + torch.as_tensor(c.s) ** 2
        assert torch.allclose(one, torch.ones_like(TIMES), atol=1e-14)
    vp, sub = VP().coefficients(TIMES), SubVP().coefficients(TIMES)
    assert torch.allclose(torch.as_tensor(sub.s), 1 - torch.as_tensor(vp.a) ** 2)
    # g^2 = beta for VP, beta (1 - a^4) for subVP (Song et al., equation 13 of appendix B).
    beta = VP().beta(1 - TIMES)
    assert torch.allclose(torch.as_tensor(vp.diffusion), beta)
    assert torch.allclose(torch.as_tensor(sub.diffusion), beta * (1 - torch.as_tensor(vp.a) ** 4))
    assert VE(0.1, 2.0).at(1.0).s == pytest.approx(0.1)
    assert VE(0.1, 2.0).at(0.0).s == pytest.approx(2.0) == VE(0.1, 2.0).prior_scale
    edm = EDM(0.1, 3.0, 7.0).coefficients(TIMES).s
    assert torch.allclose(
        edm ** (1 / 7), torch.lerp(*torch.tensor([3.0, 0.1], dtype=F64) ** (1 / 7), TIMES)
    )
    ou = OU(3.0, 3.0, 0.6).coefficients(
        TIMES
    )  # a rate of 3/2 towards 0, noise 3 std^2: dx = -3/2 x + ...
    assert torch.allclose(ou.a, (-1.5 * (1 - TIMES)).exp())
    assert torch.allclose(ou.s**2, 0.36 * (1 - (-3 * (1 - TIMES)).exp()))
    assert torch.allclose(ou.diffusion, torch.full_like(TIMES, 3 * 0.36))
    for path in (VP(), SubVP(), Cosine(), Linear()):
        assert (path.at(1.0).a, path.at(1.0).s) == (1.0, 0.0)
        assert path.prior_scale == 1.0
    for path in (Cosine(), Linear()):
        assert (path.at(0.0).a, path.at(0.0).s) == (0.0, 1.0)
    assert VP(0.1, 1.0).at(0.0).a == pytest.approx(0.7596, abs=1e-4)


def posterior_moments(
    path: GaussianPath, x_t: Tensor, x1: Tensor, t: float, s: float
) -> tuple[Tensor, Tensor]:
    args = (EUCLIDEAN, x_t, Ends(x1), path.at(t), path.at(s))
    mean = path.posterior(*args, Given(len(x_t), [0.0]), None)
    return mean, path.posterior(*args, Given(len(x_t), [1.0]), None) - mean


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize(("t", "s"), [(0.0, 0.3), (0.2, 0.25), (0.4, 0.9), (0.05, 1.0)])
def test_the_gaussian_posterior_is_the_conditional_law(
    path: GaussianPath, t: float, s: float
) -> None:
    """Given x_1, (x_s, x_t) are jointly Gaussian with covariance r s_s^2: condition in the textbook way."""
    now, then = path.at(t), path.at(s)
    x_t, x1 = torch.randn(2, 6, 1, dtype=F64)
    mean, std = posterior_moments(path, x_t, x1, t, s)
    covariance = now.a / then.a * then.s**2
    gain = covariance / now.s**2
    assert torch.allclose(mean, then.a * x1 + gain * (x_t - now.a * x1), atol=1e-12)
    assert torch.allclose(std**2, torch.full_like(std, then.s**2 - gain * covariance), atol=1e-12)
    # Marginalised over x_t it gives the law of x_s: N(a_s x_1, s_s^2).
    zero = torch.zeros(1, 1, dtype=F64)
    at_mean, spread = posterior_moments(path, now.a * x1[:1], x1[:1], t, s)
    push, _ = posterior_moments(path, zero + 1, zero, t, s)
    assert torch.allclose(at_mean, then.a * x1[:1], atol=1e-12)
    assert torch.allclose((push * now.s) ** 2 + spread**2, zero + then.s**2, atol=1e-12)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_corrupting_mixes_data_and_noise_of_the_space(path: GaussianPath) -> None:
    space, mask_ = Symmetric(), torch.ones(5, 4, 4, dtype=torch.bool)
    mask_[:, 3] = mask_[:, :, 3] = False
    x1 = space.noise((4, 4), Streams.range(9, 0, 5), mask_, F64)
    x_t, ends = path.corrupt(space, x1, TIMES, Streams.range(0, 0, 5), mask_)
    x0 = ends.x0
    assert x0 is not None and torch.equal(ends.x1, x1)
    c = path.coefficients(TIMES)
    a, s = (torch.as_tensor(v).view(5, 1, 1) for v in (c.a, c.s))
    assert torch.allclose(x_t, a * x1 + s * x0, atol=1e-14)
    assert torch.equal(space.project(x_t, mask_), x_t) and (x0 != 0).any()
    # Generation starts where corruption ends up, if the path says so.
    prior = path.prior(EUCLIDEAN, (2000,), Streams.range(0, 0, 1), None, F64)
    assert float(prior.std()) == pytest.approx(path.prior_scale, rel=0.05)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_the_posterior_stays_in_the_space(path: GaussianPath) -> None:
    """A network need not know the mask; the step does."""
    space, mask_ = Symmetric(), torch.ones(2, 4, 4, dtype=torch.bool)
    mask_[1, 3] = mask_[1, :, 3] = False
    x = space.noise((4, 4), Streams.range(0, 0, 2), mask_, F64)
    for s in (0.6, 1.0):
        args = (path.at(0.5), path.at(s), Streams.range(1, 0, 2), mask_)
        y = path.posterior(space, x, Ends(torch.randn(2, 4, 4, dtype=F64)), *args)
        assert torch.equal(space.project(y, mask_), y)


@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_gaussian_evidence_is_the_log_likelihood_up_to_a_constant(path: GaussianPath) -> None:
    t = torch.tensor([0.3, 0.6], dtype=F64)
    x = torch.randn(2, 5, 3, dtype=F64)
    c = path.coefficients(t)
    a, s = (torch.as_tensor(v).view(2, 1, 1, 1) for v in (c.a, c.s))
    means = a * torch.eye(3, dtype=F64)
    wanted = -((x.unsqueeze(-2) - means) ** 2).sum(-1) / (2 * s.squeeze(-1) ** 2)
    got = path.evidence(x, t, 3)
    kept = (got.abs() < 50).all(-1, keepdim=True)  # it is cut off where all is said
    assert kept.any()
    difference = (got - wanted) * kept
    assert torch.allclose(difference, difference[..., :1].expand_as(difference), atol=1e-9)


# ---- jump paths, enumerated
JUMPS = [marginal((0.5, 0.2, 0.3)), marginal((3.0, 0.0, 1.0)), mask(3), uniform(3)]
GRIDS = [(0.0, 1.0), (0.0, 0.4, 1.0), (0.0, 0.05, 0.3, 0.35, 0.9, 1.0)]


def corruption(path: Jump, t: float, dtype: torch.dtype = F64) -> Tensor:
    """q(x_t = j | x_1 = i), ``[3, states]``, from the definition."""
    pi = torch.tensor(path.prior_probabilities, dtype=dtype)
    keep = torch.eye(3, path.states, dtype=dtype)
    return t * keep + (1 - t) * pi


def transition(path: Jump, t: float, s: float) -> Tensor:
    """q(x_t = j | x_s = i), ``[states, states]``: kept with probability t / s, else redrawn."""
    pi = torch.tensor(path.prior_probabilities, dtype=F64)
    r = t / s
    return r * torch.eye(path.states, dtype=F64) + (1 - r) * pi


def reverse(path: Jump, p1_given: Tensor, t: float, s: float) -> Tensor:
    """Ours: p(x_s | x_t) for every x_t, ``[states, states]``, given p(x_1 | x_t) ``[states, 3]``."""
    return path.posterior_probabilities(torch.arange(path.states), p1_given, t, s)


def belief(path: Jump, data: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """p(x_1 | x_t), ``[states, 3]``, and p(x_t); flat where x_t is impossible."""
    joint = data.unsqueeze(1) * corruption(path, t)
    p = joint.sum(0)
    impossible = (p == 0).unsqueeze(1)
    return torch.where(impossible, 1 / 3, (joint / p.clamp_min(1e-300)).T), p


@pytest.mark.parametrize("path", JUMPS, ids=repr)
def test_jumps_are_markov(path: Jump) -> None:
    """Corrupting to s and then from s to t is corrupting to t."""
    assert torch.allclose(
        corruption(path, 0.7) @ transition(path, 0.2, 0.7), corruption(path, 0.2)
    )


@pytest.mark.parametrize("path", JUMPS, ids=repr)
@pytest.mark.parametrize(("t", "s"), [(0.0, 0.5), (0.2, 0.7), (0.6, 1.0)])
def test_the_jump_posterior_is_bayes(path: Jump, t: float, s: float) -> None:
    for k in range(3):
        p_s = corruption(path, s)[k]
        joint = p_s.unsqueeze(1) * transition(path, t, s)
        possible = joint.sum(0) > 0
        wanted = (joint / joint.sum(0).clamp_min(1e-300)).T
        known = F.one_hot(torch.tensor(k), 3).to(F64).expand(path.states, 3)
        got = reverse(path, known, t, s)
        assert torch.allclose(got[possible], wanted[possible], atol=1e-12)


@pytest.mark.parametrize("knots", GRIDS, ids=str)
@pytest.mark.parametrize("path", JUMPS, ids=repr)
def test_one_element_is_exact_on_any_grid(path: Jump, knots: tuple[float, ...]) -> None:
    """With the exact belief, the reversed chain goes through the exact marginals."""
    data = torch.tensor([0.6, 0.0, 0.4], dtype=F64)
    p = torch.tensor(path.prior_probabilities, dtype=F64)
    for t, s in zip(knots, knots[1:], strict=False):
        given, _ = belief(path, data, t)
        possible = p > 0
        p = p[possible] @ reverse(path, given, t, s)[possible]
        assert torch.allclose(p, data @ corruption(path, s), atol=1e-12)
    assert torch.allclose(p[:3], data, atol=1e-12)


@pytest.mark.parametrize("path", JUMPS, ids=repr)
def test_corrupting_and_the_prior_have_their_laws(path: Jump) -> None:
    count, t = 6000, 0.4
    labels = torch.arange(3).expand(count, 3)
    times = torch.full((count,), t, dtype=F64)
    space = Categorical(3)
    x_t, ends = path.corrupt(space, labels, times, Streams.range(0, 0, count), None)
    assert ends.x0 is None
    start = path.prior(space, (3,), Streams.range(1, 0, count), None, F64)
    prior = torch.tensor(path.prior_probabilities, dtype=F64).expand(3, -1)
    for seen, law in ((x_t, corruption(path, t)), (start, prior)):
        for k in range(3):
            counts = torch.bincount(seen[:, k], minlength=path.states).to(F64)
            assert (counts[law[k] == 0] == 0).all()
            wanted = (law[k] * count)[law[k] > 0]
            chi2 = ((counts[law[k] > 0] - wanted) ** 2 / wanted).sum()
            assert chi2 < 17.8  # at most 3 degrees of freedom, p = .0005
    assert torch.equal(
        path.corrupt(space, labels, torch.ones(count), Streams.range(0, 0, count), None)[0], labels
    )


@pytest.mark.parametrize("path", JUMPS, ids=repr)
def test_jump_evidence_is_the_log_likelihood(path: Jump) -> None:
    t = torch.tensor([0.5], dtype=F64)
    got = path.evidence(torch.arange(path.states).unsqueeze(0), t, 3)[0]
    wanted = corruption(path, 0.5).T.clamp_min(1e-5).log()
    assert torch.allclose(got, wanted)


def test_padding_of_labels_stays_zero() -> None:
    path, space = mask(3), Categorical(3)
    real = torch.tensor([[True, True, False]])
    x = path.prior(space, (3,), Streams.range(0, 0, 1), real, torch.float32)
    assert x.tolist() == [[3, 3, 0]]
    believed = Ends(torch.full((1, 3, 3), 1 / 3))
    y = path.posterior(space, x, believed, 0.0, 0.9, Streams.range(0, 0, 1), real)
    assert y[0, 2] == 0
    assert path.clean(space, Ends(torch.tensor([[[0.1, 0.7, 0.2]] * 3])), real).tolist() == [
        [1, 1, 0]
    ]


# ---- by name
def test_paths_are_made_by_name_and_bad_ones_refused() -> None:
    assert make("vp", (), {"beta_max": 1.0}) == VP(beta_max=1.0)
    assert make("mask", (0.2, 0.8), {}) == mask(2)
    assert make("marginal", (1.0, 3.0), {}).prior_probabilities == pytest.approx((0.25, 0.75))
    with pytest.raises(SciflowError, match="did you mean 'subvp'"):
        make("sub-vp", (), {})
    with pytest.raises(SciflowError, match="did you mean 'sigma_max'"):
        make("ve", (), {"sigma_maks": 1.0})
    with pytest.raises(SciflowError, match="0 <= sigma_min < sigma_max"):
        make("edm", (), {"sigma_min": 100.0})
    with pytest.raises(SciflowError, match="rho >= 1"):
        make("edm", (), {"rho": 0.5})
    with pytest.raises(SciflowError, match="std of path ou"):
        make("ou", (), {"std": 0.0})
    with pytest.raises(SciflowError, match="expected none"):
        make("uniform", (1.0,), {"rate": 2})
    for bad in ((0.5, 0.6), (1.5, -0.5), ()):
        with pytest.raises(SciflowError, match="sum to 1"):
            Jump(bad)
    assert math.isclose(sum(uniform(7).prior_probabilities), 1)
