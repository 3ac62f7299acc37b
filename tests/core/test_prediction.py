"""Prediction kinds: every kind is a row, and one resolution serves them all."""

from __future__ import annotations

import pytest
import torch

from sciflow import SciflowError
from sciflow.paths import EDM, VE, VP, Cosine, Ends, GaussianPath, Linear, SubVP
from sciflow.prediction import combine, error_scale, input_scale, resolve, row

F64 = torch.float64
LINEAR_KINDS = ["data", "noise", "score", "velocity", "v", "edm"]
PATHS = [VP(), VP(0.1, 1.0), SubVP(), VE(), EDM(sigma_data=0.3), Cosine(), Linear()]
T = torch.tensor([0.05, 0.3, 0.62, 0.97], dtype=F64)


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("kind", LINEAR_KINDS)
def test_resolving_undoes_combining(kind: str, path: GaussianPath) -> None:
    x1, x0 = torch.randn(2, 4, 3, 2, dtype=F64)
    c = path.coefficients(T)
    x_t = torch.as_tensor(c.a).view(4, 1, 1) * x1 + torch.as_tensor(c.s).view(4, 1, 1) * x0
    ends = resolve(kind, c, combine(kind, c, Ends(x1, x0)), x_t)
    size = float(torch.as_tensor(c.s).max() / torch.as_tensor(c.a).min())
    assert torch.allclose(ends.x1, x1, atol=1e-11 * max(1, size))
    assert torch.allclose(ends.x0, x0, atol=1e-11 * max(1, size))


@pytest.mark.parametrize("path", PATHS, ids=repr)
@pytest.mark.parametrize("kind", LINEAR_KINDS)
def test_one_time_on_the_host_is_the_same_as_a_time_per_sample(
    kind: str, path: GaussianPath
) -> None:
    x_t, prediction = torch.randn(2, 4, 3, dtype=F64)
    one = resolve(kind, path.at(0.4), prediction, x_t)
    each = resolve(kind, path.coefficients(torch.full((4,), 0.4, dtype=F64)), prediction, x_t)
    assert torch.allclose(one.x1, each.x1, rtol=1e-12) and torch.allclose(one.x0, each.x0)


@pytest.mark.parametrize("measure", LINEAR_KINDS)
@pytest.mark.parametrize("kind", LINEAR_KINDS)
def test_error_scale_is_what_an_error_becomes(kind: str, measure: str) -> None:
    c = VP().coefficients(T)
    x_t, prediction, error = torch.randn(3, 4, 3, dtype=F64)
    right = combine(measure, c, resolve(kind, c, prediction, x_t))
    wrong = combine(measure, c, resolve(kind, c, prediction + error, x_t))
    scale = torch.as_tensor(error_scale(kind, measure, c)).unsqueeze(1)
    assert torch.allclose(wrong - right, scale * error, atol=1e-10)


def test_kind_edm_is_the_preconditioning_of_karras() -> None:
    """D = c_skip x + c_out F for sigma_data d, and F has unit variance where x_1 has d; for VP it is -v."""
    path, d = EDM(sigma_data=0.3), 0.3
    c = path.coefficients(T)
    sigma = torch.as_tensor(c.s).unsqueeze(1)
    x_t, output = torch.randn(2, 4, 3, dtype=F64)
    skip, out = d**2 / (sigma**2 + d**2), sigma * d / (sigma**2 + d**2).sqrt()
    assert torch.allclose(resolve("edm", c, output, x_t).x1, skip * x_t + out * output)
    assert torch.allclose(input_scale(c), (sigma.squeeze() ** 2 + d**2) ** -0.5)
    p, q = row("edm", c)
    assert torch.allclose((p * d) ** 2 + q**2, torch.ones_like(T))
    scale = torch.as_tensor(error_scale("edm", "data", c)).unsqueeze(1)
    assert torch.allclose(
        scale, out
    )  # an error of F, measured as one of the data, is c_out times it
    p, q = row("edm", VP().coefficients(T))
    assert torch.allclose(p, -row("v", VP().coefficients(T))[0])
    assert torch.allclose(q, -row("v", VP().coefficients(T))[1])


def test_the_score_is_the_gradient_of_the_log_density() -> None:
    """For data at one point m, log q = -(x - a m)^2 / 2 s^2."""
    c = SubVP().at(0.4)
    x = torch.randn(5, dtype=F64, requires_grad=True)
    m = 0.7
    (-((x - c.a * m) ** 2) / (2 * c.s**2)).sum().backward()
    ends = Ends(torch.full((5,), m, dtype=F64), (x.detach() - c.a * m) / c.s)
    assert torch.allclose(combine("score", c, ends), x.grad)


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(SciflowError, match="did you mean 'velocity'"):
        row("velocty", VP().at(0.5))
