"""The benchmark of the core: its laws are exact, its budgets are kept, its verdicts say what they should."""

import importlib.util
import math
import sys
from pathlib import Path

import pytest
import torch

FOLDER = str(Path(__file__).parents[1] / "benchmarks")


def program():
    """The benchmark itself; `core` may be the name of tests."""
    spec = importlib.util.spec_from_file_location("benchmarks_core", f"{FOLDER}/core.py")
    module = sys.modules.setdefault("benchmarks_core", importlib.util.module_from_spec(spec))
    if not hasattr(module, "Bench"):
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    sys.path.insert(0, FOLDER)
    yield
    sys.path.remove(FOLDER)


def law(weights, means, std=0.3, size=200):
    from core_laws import F64, Mixture

    return Mixture(
        "law", torch.tensor(weights, dtype=F64), torch.tensor(means, dtype=F64), std, size
    )


def test_the_field_is_the_score_of_the_law():
    mixture, a, s = law([0.3, 0.7], [[-1.0, 0.5], [0.8, 0.0]]), 0.6, 0.5
    x = mixture.start(0).requires_grad_()
    variance = (a * mixture.std) ** 2 + s**2
    square = (x[:, None] - a * mixture.means).square().sum(2)
    log_p = (mixture.weights.log() - square / (2 * variance)).logsumexp(1)
    (score,) = torch.autograd.grad(log_p.sum(), x)
    x1, x0 = mixture.ends(x.detach(), a, s)
    assert torch.allclose(-x0 / s, score, atol=1e-12)
    assert torch.allclose(a * x1 + s * x0, x.detach(), atol=1e-12)


def test_the_flow_of_one_gaussian_is_a_scaling_whatever_the_start():
    from core_laws import Start

    mixture, z = law([1.0], [[1.0, -2.0]]), law([1.0], [[0.0, 0.0]]).start(0)
    for a, s in ((0.0, 1.0), (1.0, 80.0), (0.6, 0.8)):
        spread = math.hypot(a * mixture.std, s)
        exact = mixture.means[0] + z * mixture.std
        start = Start(a * mixture.means[0] + z * spread, a, s)
        assert torch.allclose(mixture.flow(start, 400), exact, atol=1e-6)


def test_the_distance_of_samples_from_their_law_is_small_and_knows_a_shift():
    from core_laws import SlicedW2

    mixture = law([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], size=2000)
    distance, x = SlicedW2(mixture), mixture.draw(5)
    assert distance(x) < 0.1
    assert 0.3 < distance(x + 0.5) < 0.5  # the mean square of a shift along random directions
    assert distance(x / 0) == math.inf


@pytest.mark.parametrize("name", ["Heun", "RK4", "DPM-Solver-3", "UniPC 2"])
def test_no_run_exceeds_its_budget(name):
    from core_ours import ours

    mixture = law([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], size=50)
    sampler = next(s for s in ours() if s.name == name)
    mixture.calls = 0
    sampler.run(mixture, mixture.start(0), 20)
    assert 20 - 4 < mixture.calls <= 20


def test_our_midpoint_beats_a_first_order_method_on_the_ring():
    from core_laws import ring
    from core_ours import ours

    bench = program().Bench(ring(), 400)
    found = {(s.name, s.setting): s for s in ours()}
    errors = [
        bench.errors(found[name, "linear, uniform"], 20, (0,))["rmse"]
        for name in ("midpoint", "Euler")
    ]
    assert errors[0] < errors[1] / 2


def row(library, error, budget=20, calls=20, adaptive=False, family="heun", **more):
    return {
        "law": "ring", "library": library, "sampler": library, "setting": "", "family": family,
        "stochastic": False, "adaptive": adaptive, "budget": budget, "calls": calls, "rmse": error, **more,
    }  # fmt: skip


def test_verdicts():
    def of(*rows):
        table = program().verdicts(rows)
        return {(r["family"], r["budget"]): r["verdict"] for r in table}

    assert of(row("sciflow", 0.1), row("other", 0.2))["heun", 20] == "below"
    assert of(row("sciflow", 0.1), row("other", 0.1))["heun", 20] == "at"
    assert of(row("sciflow", 0.3), row("other", 0.2))["heun", 20] == "ABOVE"
    assert of(row("sciflow", 0.3))["heun", 20] == "no rival"
    # What took too many calls does not count, and an adaptive run counts wherever its calls fit.
    late = row("other", 0.1, calls=25, adaptive=True)
    table = of(row("sciflow", 0.3), row("sciflow", 0.3, 40, 40), late)
    assert table["heun", 20] == "no rival"
    assert table["heun", 40] == "ABOVE"
    # A failure stands nowhere.
    failed = row("other", None, calls=0)
    assert of(row("sciflow", 0.3), failed)["heun", 20] == "no rival"


def test_labels_are_apart_and_in_order():
    from core_picture import spread

    placed = spread([0.5, 0.5, 0.1, 0.52], 0.06)
    heights = sorted(placed)
    assert all(b - a > 0.059 for a, b in zip(heights, heights[1:], strict=False))
    assert placed[2] == heights[0]
    assert abs(sum(placed) / 4 - 0.405) < 1e-6
