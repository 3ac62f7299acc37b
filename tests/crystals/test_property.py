"""A property of crystals: fit, file, invariance, and guidance by it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from sciflow import hooks
from sciflow.domains.crystals import Adapter, Crystal, encode
from sciflow.domains.crystals import property as properties
from sciflow.errors import SciflowError
from sciflow.learning import Recipe
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import generate

SMALL = {"channels": 8, "cutoff": 4.5}


def salt(a: str, b: str, length: float, shift: float = 0.0) -> Crystal:
    places = [[0, 0, 0], [0.5 + shift, 0.5, 0.5]]
    return Crystal.from_parameters([a, b], places, [length] * 3)


def crystals(count: int = 24) -> tuple[list[Crystal], list[float]]:
    """Cells of two sites; the property is a constant per element and ten times the shift squared."""
    rng = np.random.default_rng(0)
    made, values = [], []
    for _ in range(count):
        a, b = rng.choice(["Na", "K"]), rng.choice(["Cl", "Br"])
        shift = float(rng.uniform(-0.2, 0.2))
        made.append(salt(a, b, float(rng.uniform(3.3, 3.6)), shift))
        values.append(-1.0 * (a == "K") + 0.5 * (b == "Br") + 20 * shift**2)
    return made, values


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> properties.Regressor:
    made, values = crystals()
    data = encode(made, properties={"energy": [*values[:-1], math.nan]}).crystals
    recipe = Recipe(steps=110, batch_size=12, learning_rate=1e-2, warmup=5, ema=0.9)
    torch.manual_seed(0)
    return properties.fit(
        data, "energy", tmp_path_factory.mktemp("fit"), recipe, device="cpu", **SMALL
    )


def test_it_learns_what_the_composition_does_not_say(fitted: properties.Regressor) -> None:
    made, values = crystals()
    true = np.array(values)
    data = encode(made, properties={"energy": values}).crystals
    numbers = data.elements()
    weights = properties.composition_fit(data, torch.tensor(true), numbers)
    base = (properties.composition_shares(data, numbers) @ weights).numpy()
    assert np.abs(fitted.predict(made) - true).mean() < 0.5 * np.abs(base - true).mean()
    assert fitted.card["samples"] == len(made) - 1  # the one of unknown energy is left out


def test_it_survives_a_file(fitted: properties.Regressor, tmp_path: Path) -> None:
    path = fitted.save(tmp_path / "energy.safetensors")
    again = properties.load(path)
    made, _ = crystals(4)
    assert np.array_equal(again.predict(made), fitted.predict(made))
    assert (again.name, again.numbers, again.scale) == ("energy", fitted.numbers, fitted.scale)
    encode(made).crystals.save(tmp_path / "other.safetensors")
    with pytest.raises(SciflowError, match="other.safetensors"):
        properties.load(tmp_path / "other.safetensors")


def test_it_does_not_see_how_a_crystal_is_written(fitted: properties.Regressor) -> None:
    crystal = salt("Na", "Br", 3.4, 0.07)
    change = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1]])
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    same = [
        Crystal(crystal.species[::-1], crystal.coordinates[::-1] + 0.3, crystal.lattice @ turn),
        Crystal(
            crystal.species, crystal.coordinates @ np.linalg.inv(change), change @ crystal.lattice
        ),
        Crystal(
            np.tile(crystal.species, 2),
            np.concatenate((crystal.coordinates, crystal.coordinates + [1, 0, 0])) / [2, 1, 1],
            crystal.lattice * [[2], [1], [1]],
        ),
    ]
    values = fitted.predict([crystal, *same])
    assert np.abs(values - values[0]).max() < 1e-5


def test_what_it_cannot_see_is_nan(fitted: properties.Regressor) -> None:
    flat = Crystal([11, 17], [[0, 0, 0], [0.5] * 3], np.diag([3.0, 3.0, 0.0]))
    values = fitted.predict([salt("Na", "Cl", 3.4), salt("U", "Cl", 3.4), flat])
    assert np.isfinite(values).tolist() == [True, False, False]
    assert np.isnan(fitted.predict([flat])).all()
    assert fitted.predict([]).shape == (0,)


def test_wrong_fits_are_errors(tmp_path: Path) -> None:
    made, values = crystals(3)
    data = encode(made, properties={"energy": values, "gap": [math.nan] * 3}).crystals
    with pytest.raises(SciflowError, match="did you mean 'energy'"):
        properties.fit(data, "enregy", tmp_path)
    with pytest.raises(SciflowError, match="at least two"):
        properties.fit(data, "gap", tmp_path)
    with pytest.raises(SciflowError, match="depth"):
        properties.fit(data, "energy", tmp_path, depth=3)


PROCESSES = [
    ("bayes", "renewal"),
    ("linear", "euler"),
    ({"coordinates": "bayes", "species": "bayes"}, "renewal"),
    ({"coordinates": "bayes", "species": "mask"}, "ancestral"),
]


@pytest.mark.parametrize(("process", "solver"), PROCESSES)
def test_guidance_lowers_it(fitted: properties.Regressor, process: object, solver: str) -> None:
    """A network that knows nothing, steered: the property falls, whatever the process."""
    made, _ = crystals()
    network = {"name": "periodic", "width": 16, "layers": 1}
    own = Adapter.of(encode(made).crystals, process, network)  # type: ignore[arg-type]
    model = Model(own, own.network().eval(), Sampling(solver, "uniform", 8))
    energy = fitted.on(own)

    def mean(*used: hooks.Hook) -> float:
        found = generate(model, n=24, device="cpu", hooks=used)
        return float(np.nanmean(fitted.predict(found.objects)))

    plain = mean()
    assert mean(hooks.Particles(lambda data: -energy(data), 4, scale=50.0, keep="best")) < plain
    if solver != "ancestral":  # steps down a slope need components that have one
        steered = hooks.Steer(lambda data: 2 * energy(data), rate=1.0, low=0.3)
        assert mean(steered) < plain


def test_its_slope_is_that_of_the_crystal(fitted: properties.Regressor) -> None:
    """On a line the gradient in the fractional coordinates is the derivative of the prediction."""
    made, _ = crystals()
    own = Adapter.of(encode(made).crystals, "linear")
    state = own.encode([salt("Na", "Cl", 3.4, 0.1)])
    x = state["coordinates"].clone().requires_grad_()
    value = fitted.on(own)(state.replace(coordinates=x))
    (slope,) = torch.autograd.grad(value.sum(), x)
    step, free = 1e-2, int(state.masks["coordinates"][0].nonzero())
    moved = state["coordinates"].clone()
    judge = fitted.on(own)
    ends = []
    for sign in (1, -1):
        moved = state["coordinates"].clone()
        moved[0, free, 0] += sign * step
        ends.append(float(judge(state.replace(coordinates=moved)).detach()))
    assert float(slope[0, free, 0]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.05)
    assert slope[0, free, 0].abs() > 0.1


def test_an_element_that_it_does_not_know_is_an_error(fitted: properties.Regressor) -> None:
    own = Adapter.of(encode([salt("U", "Cl", 3.4)]).crystals)
    with pytest.raises(SciflowError, match="'U'"):
        fitted.on(own)
