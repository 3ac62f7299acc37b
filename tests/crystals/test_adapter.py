"""The adapter keeps the contract, a formula becomes sites, and every process trains and samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciflow import checkpoint
from sciflow.adapter import check
from sciflow.domains.crystals import Adapter, Crystal, CrystalDataset, encode, matching
from sciflow.domains.crystals.arrangement import Arrangement, sites
from sciflow.domains.crystals.cells import Cells
from sciflow.domains.crystals.labels import facts, widened
from sciflow.domains.crystals.process import Process
from sciflow.errors import SciflowError
from sciflow.learning import Objective, Recipe, train
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import generate
from sciflow.streams import Streams

SMALL = {"name": "periodic", "width": 24, "layers": 2}
ALL = [
    ("bayes", "renewal"),
    ("bayes", "bayesian-update"),
    ({"coordinates": {"path": "bayes", "form": "whitened", "ease": 0.05},
      "lattice": {"path": "bayes", "form": "whitened", "ease": 0.05}}, "heun"),
    ("von-mises-steps", "ancestral"),
    ("linear", "euler"),
    ("ve", "ancestral"),
    ({"coordinates": "edm", "lattice": "vp"}, "ancestral"),
    ({"coordinates": "bayes", "species": "bayes"}, "renewal"),
    ({"coordinates": "bayes", "species": "mask", "anchor": False}, "ancestral"),
    ({"coordinates": "ve", "species": "marginal"}, "ancestral"),
    ({"coordinates": "bayes", "species": "uniform"}, "renewal"),
]  # fmt: skip


def perovskite(a: str, b: str, length: float, shift: float = 0.0) -> Crystal:
    places = [[0, 0, 0], [0.5 + shift, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Crystal.from_parameters([a, b, "O", "O", "O"], places, [length] * 3)


def crystals() -> list[Crystal]:
    salt = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return [
        perovskite("Sr", "Ti", 3.9, 0.02),
        Crystal.from_parameters(["Mg", "O"], salt, [3.0, 3.1, 3.0], [60.0, 62.0, 61.0]),
        perovskite("Ba", "Ti", 4.0, -0.01),
        Crystal.from_parameters(["Sr", "O"], np.array(salt) + 0.3, [3.6] * 3, [60.0] * 3),
    ]


def adapter(process: object = "bayes", **options: object) -> Adapter:
    data = encode(crystals()).crystals
    return Adapter.of(data, process, SMALL, **options)  # type: ignore[arg-type]


def alike(a: Crystal, b: Crystal) -> bool:
    """True for the same sites in any order, from any origin."""
    if not np.allclose([*a.lengths, *a.angles], [*b.lengths, *b.angles], atol=1e-3):
        return False
    for origin in b.coordinates[b.species == a.species[0]]:
        apart = (a.coordinates - a.coordinates[0])[:, None] - (b.coordinates - origin)[None]
        close = (np.abs(apart - np.round(apart)) < 1e-4).all(-1)
        close &= a.species[:, None] == b.species[None]
        if len(a) == len(b) and (close.sum(0) == 1).all() and (close.sum(1) == 1).all():
            return True
    return False


@pytest.mark.parametrize(
    "process", ["bayes", "linear", "ve", {"species": "bayes"}, {"species": "mask"}]
)
def test_contract(process: object) -> None:
    check(adapter(process), crystals(), alike)


@pytest.mark.parametrize(("process", "solver"), ALL)
def test_every_process_trains_and_samples(process: object, solver: str, tmp_path: object) -> None:
    own = adapter(process)
    data = CrystalDataset(encode(crystals()).crystals, own)
    network = own.network()
    objective = Objective(own.system(), network)
    losses: list[float] = []
    recipe = Recipe(steps=3, batch_size=4, log_every=1, learning_rate=1e-3)
    train(objective, data, recipe, tmp_path, device="cpu",
          on_step=lambda step, values: losses.append(values["loss"]))  # type: ignore[arg-type]  # fmt: skip
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    model = Model(own, network.eval(), Sampling(solver, "uniform", 4))
    made = generate(model, n=3, device="cpu").objects
    again = generate(model, n=2, device="cpu", batch_size=1).objects
    assert len(made) == 3
    for one, other in zip(made, again, strict=False):
        assert one.same(other, 1e-3)  # no sample depends on its batch
    for crystal in made:
        assert crystal.volume > 1
        assert (crystal.wrapped[0] == 0).all() or not own.process.anchor


def test_loss_falls_on_one_crystal() -> None:
    torch.manual_seed(0)
    own = adapter()
    state = own.encode([perovskite("Sr", "Ti", 3.9, 0.02)] * 32)
    network = own.network().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    t, losses = torch.linspace(0, 1, 32), []
    for k in range(60):
        streams = Streams.range(0, 32 * k, 32, "training")
        loss = own.system().loss(network, state, t, streams).total
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:5])


def test_formula_gives_sites() -> None:
    own = adapter()
    frame = own.frame(Streams.range(0, 0, 3), {"formula": "SrTiO3"})
    state = own.system().prior(frame.shapes, Streams.range(0, 0, 3), frame.masks, frame.condition)
    made = own.decode(state)
    assert [c.formula for c in made] == ["SrTiO3"] * 3
    assert frame.masks["coordinates"].sum() == 3 * 4  # all but the anchor
    frame = own.frame(Streams.range(0, 0, 1), {"formula": "MgO", "atoms": 4})
    state = own.system().prior(frame.shapes, Streams.range(0, 0, 1), frame.masks, frame.condition)
    assert own.decode(state)[0].composition == {12: 2, 8: 2}
    frame = own.frame(Streams.range(0, 0, 8), {"elements": "Sr,O"})
    assert (frame.condition["ranks"] > 0).sum() == 16  # SrO alone is left


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"formula": "SrXyO3"}, "Xy"),
        ({"formula": "KTaO3"}, "expected"),
        ({"formula": "Sr4Ti4O12"}, "20 atoms"),
        ({"formula": "SrTiO3", "atoms": 3}, "multiple"),
        ({"formula": "SrTiO3", "elements": "Mg,O"}, "those of SrTiO3"),
        ({"atoms": 99}, "atoms"),
        ({"elements": "Q"}, "element"),
        ({"formla": "SrTiO3"}, "formula"),
    ],
)
def test_wishes_that_cannot_be_fulfilled(options: dict[str, object], words: str) -> None:
    with pytest.raises(SciflowError, match=words):
        adapter().frame(Streams.range(0, 0, 2), options)


def test_ab_initio_keeps_to_elements() -> None:
    own = adapter({"species": "bayes"})
    model = Model(own, own.network().eval(), Sampling("renewal", "uniform", 5))
    made = generate(model, n=6, device="cpu", options={"elements": "Mg,O", "atoms": 5}).objects
    assert {z for crystal in made for z in crystal.species.tolist()} <= {8, 12}
    assert [len(crystal) for crystal in made] == [5] * 6
    with pytest.raises(SciflowError, match="makes compositions"):
        own.frame(Streams.range(0, 0, 1), {"formula": "MgO"})


def test_generation_begins_with_the_weights_of_structure_prediction() -> None:
    given, masked = adapter(), adapter({"species": "mask"})
    weights = given.network().state_dict()
    network = masked.network()
    new = checkpoint.begin(network, masked.carried(given, weights), "given")
    assert sorted(new) == ["head_species.bias", "head_species.weight"]
    shown = network.state_dict()["species.weight"]
    assert torch.equal(shown[:, :-1], weights["species.weight"])
    assert not shown[:, -1].any()  # a mask says nothing
    assert widened(weights, 2) is weights


def test_unknown_words_of_a_process() -> None:
    for choice, words in (
        ({"species": "vp"}, "species"),
        ({"coordinates": "vp"}, "torus"),
        ({"lattice": "mask"}, "continuous"),
        ({"coordinate": "bayes"}, "coordinates"),
        ("edmm", "edm"),
    ):
        with pytest.raises(SciflowError, match=words):
            Process.of(choice, (0.5, 0.5))
    for choice in ("bayes", "linear", {"species": "mask", "lattice": "vp"}):
        process = Process.of(choice, (0.5, 0.5))
        assert Process.of(process.config(), (0.5, 0.5)) == process


def test_arrangement_forgets_order_origin_and_inversion() -> None:
    rng = np.random.default_rng(0)
    crystal = perovskite("Sr", "Ti", 3.9, 0.03)
    one = Arrangement.of(encode([crystal]).crystals, inversion=True)
    for _ in range(4):
        order = rng.permutation(5)
        places = -(crystal.coordinates + rng.random(3))[order]
        moved = Crystal(crystal.species[order], places, crystal.lattice)
        other = Arrangement.of(encode([moved]).crystals, inversion=True)
        assert torch.equal(one.species, other.species)
        assert torch.equal(one.ranks, other.ranks)
        apart = one.coordinates - other.coordinates
        assert (apart - apart.round()).abs().max() < 1e-5
    assert one.species[0].tolist() == [38, 22, 8, 8, 8]
    assert sites({8: 3, 22: 1, 38: 1}) == ([38, 22, 8, 8, 8], [1, 1, 1, 2, 3])


def test_cells_take_the_size_of_the_elements_off() -> None:
    torch.manual_seed(0)
    labels = torch.randint(4, (200, 6))
    real = torch.arange(6) < torch.randint(2, 7, (200, 1))
    weights = torch.tensor([0.7, 0.9, 1.1, 1.3]).double()
    shares = torch.nn.functional.one_hot(labels, 4).double() * real.unsqueeze(-1)
    size = (shares.sum(1) / real.sum(1, keepdim=True)) @ weights + real.sum(1).double().log() / 3
    matrix = size.exp()[:, None, None] * torch.eye(3).double()
    for representation in ("logarithm", "lengths-angles"):
        cells = Cells.fit(matrix, labels, real, 4, representation, floor=1e-3, ridge=1e-6)
        assert torch.allclose(torch.tensor(cells.scales).double(), weights, atol=1e-4)
        numbers = cells.encode(matrix, labels, real)
        assert torch.allclose(cells.decode(numbers, labels, real).det(), matrix.det())
        assert Cells.from_config(cells.config()) == cells


def test_facts_of_elements_are_standardised() -> None:
    table = torch.tensor(facts((1, 2, 8, 26, 57)))  # helium has no electronegativity
    assert table.isfinite().all()
    assert torch.allclose(table.mean(0), torch.zeros(4), atol=1e-5)
    assert table[1, 0] == 0
    network = Adapter.of(encode(crystals()).crystals, "bayes", {**SMALL, "facts": True}).network()
    assert network.facts.shape == (5, 4)  # type: ignore[union-attr]


def test_shipped_model_predicts_perovskites() -> None:
    made = generate("perov5", n=6, steps=10, device="cpu", options={"formula": "SrTiO3"}).objects
    ideal = [[perovskite("Sr", "Ti", 4.0), perovskite("Ti", "Sr", 4.0)]] * 6
    assert matching.match(ideal, made, workers=1).rate == 1
    for crystal in made:
        assert np.allclose(crystal.angles, 90, atol=1)
        assert np.allclose(crystal.lengths, 4.0, atol=0.5)
