"""Wyckoff positions are those of the International Tables; what is generated has the space group that was asked for."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from crystals.test_adapter import adapter

from sciflow.domains.crystals import Adapter, symmetry
from sciflow.domains.crystals.occupation import fitting, kinds, occupy, possible
from sciflow.domains.crystals.symmetric import Symmetric
from sciflow.domains.crystals.wyckoff import group
from sciflow.errors import SciflowError
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import generate
from sciflow.spaces import Circle
from sciflow.state import State
from sciflow.streams import Streams

# International Tables A: multiplicity in the conventional cell and number of free coordinates, letter by letter.
TABLES = {
    1: [(1, 3)],
    2: [(1, 0)] * 8 + [(2, 3)],
    14: [(2, 0)] * 4 + [(4, 3)],
    62: [(4, 0)] * 2 + [(4, 2), (8, 3)],
    136: [(2, 0)] * 2 + [(4, 0)] * 2 + [(4, 1)] * 3 + [(8, 1)] + [(8, 2)] * 2 + [(16, 3)],
    194: [(2, 0)] * 4 + [(6, 0), (4, 1), (4, 1), (6, 1), (12, 1), (12, 2), (12, 2), (24, 3)],
    221: [(1, 0)] * 2 + [(3, 0)] * 2 + [(6, 1)] * 2 + [(8, 1)] + [(12, 1)] * 3 + [(24, 2)] * 3 + [(48, 3)],
    225: [(4, 0)] * 2 + [(8, 0), (24, 0), (24, 1), (32, 1)] + [(48, 1)] * 3 + [(96, 2)] * 2 + [(192, 3)],
    227: [(8, 0)] * 2 + [(16, 0)] * 2 + [(32, 1), (48, 1), (96, 1), (96, 2), (192, 3)],
}  # fmt: skip


@pytest.mark.parametrize("number", TABLES)
def test_positions_are_those_of_the_international_tables(number: int) -> None:
    space = group(number)
    found = [(p.multiplicity * space.centring, p.freedom) for p in space.positions]
    assert sorted(found) == sorted(TABLES[number])


@pytest.mark.parametrize("number", [2, 62, 166, 227])
def test_an_orbit_is_closed_under_the_group_wherever_its_free_coordinates_lie(number: int) -> None:
    space = group(number)
    u = [Fraction(1, 7), Fraction(2, 11), Fraction(3, 13)]
    for position in space.positions:
        point = [
            p + sum(n * x for n, x in zip(row, u, strict=False))
            for p, row in zip(position.point, position.directions, strict=True)
        ]

        def moved(operation: object, x: list[Fraction]) -> tuple[Fraction, ...]:
            rows, shift = operation  # type: ignore[misc]
            return tuple(
                (sum(n * y for n, y in zip(row, x, strict=True)) + v) % 1
                for row, v in zip(rows, shift, strict=True)
            )

        orbit = {moved(operation, point) for operation in position.images}
        whole = {moved(operation, point) for operation in space.operations}
        assert orbit == whole
        assert len(orbit) == position.multiplicity


def test_what_a_group_can_hold() -> None:
    assert possible(221, (1, 1, 3))
    assert not possible(221, (1, 1, 1))  # two positions of one site, and no third
    assert possible(221, (6,))
    assert not possible(221, (2, 1, 3))
    assert kinds(2) == ((2, 3, 1), (1, 0, 8))
    with pytest.raises(SciflowError, match=r"orbits of 1 \(at most 2\), 3 \(at most 2\), 6"):
        fitting(221, [(2, 1, 3)], lambda counts: counts)


def test_an_occupation_fills_whole_orbits_and_no_fixed_place_twice() -> None:
    for seed in range(3):
        cell = occupy(225, (1, 1, 2, 6), seed)
        assert cell.elements.tolist() == [0, 1, 2, 2, *[3] * 6]
        for orbit in np.unique(cell.orbits):
            assert len(np.unique(cell.elements[cell.orbits == orbit])) == 1
        places = cell.matrix @ np.full(cell.matrix.shape[-1], 0.137) + cell.offset
        apart = places[:, None] - places
        apart = np.abs(apart - np.round(apart)).max(-1) + np.eye(len(places))
        assert apart.min() > 1e-6
        # Every operation of the point group maps the sites onto themselves, seen from the anchor.
        for rotation in cell.rotations:
            turned = places @ rotation.T
            sets = [
                {tuple(np.round((x - first) % 1, 6) % 1) for x in turned} for first in turned[:1]
            ]
            assert len(sets[0]) == len(places)


def model(process: object) -> Model:
    torch.manual_seed(0)
    own: Adapter = adapter(process)
    network = own.network()
    with (
        torch.no_grad()
    ):  # an untrained network answers with zeros: one that says something, instead
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape))
    return Model(own, network.eval(), Sampling(steps=3), {}, "")


CASES = [
    ("bayes", {"formula": "SrTiO3", "spacegroup": 221}, 221),
    ("bayes", {"formula": "SrTiO3", "spacegroup": "P4mm"}, 99),
    ("bayes", {"formula": "MgO", "atoms": 4, "spacegroup": 194}, 194),
    ("bayes", {"formula": "TiO", "atoms": 4, "spacegroup": 12}, 12),
    ("bayes", {"formula": "SrO", "spacegroup": "Fm-3m"}, 225),
    ("linear", {"formula": "SrTiO3", "spacegroup": 38}, 38),
    ({"species": "mask"}, {"atoms": 5, "spacegroup": 2}, 2),
    ({"species": "mask"}, {"spacegroup": 166}, 166),
]


@pytest.mark.parametrize(("process", "options", "number"), CASES)
def test_all_that_is_generated_has_the_group(
    process: object, options: dict[str, object], number: int
) -> None:
    solver = {"linear": "euler", "bayes": "renewal"}.get(str(process), "renewal")
    solver = solver if process in ("linear", "bayes") else {"name": "renewal", "keep": ["species"]}
    made = generate(model(process), 3, 1, options=options, solver=solver, device="cpu").objects
    for crystal in made:
        found = symmetry.space_group(crystal, 1e-3)
        assert found is not None
        if found[1] != number:  # it may have more
            assert len(group(found[1]).operations) > len(group(number).operations)


def test_beliefs_that_speak_against_the_group_yield_to_it() -> None:
    own = adapter("bayes")
    wishes = {"formula": "MgO", "atoms": 4, "spacegroup": 47}
    frame = own.frame(Streams.range(0, 0, 60, "sizes"), wishes)
    hook = Symmetric.of(own.process, own.cells.standard, frame.condition)
    rng = torch.Generator().manual_seed(0)
    free = frame.masks["coordinates"][..., None, None]
    beliefs = (
        Circle().vectors(torch.rand(60, 4, 3, generator=rng)) * free
    )  # as sure as they can be
    fields = {"lattice": torch.randn(60, 6, generator=rng), "coordinates": beliefs}
    state = State(fields, frame.masks, frame.condition)
    for crystal in own.decode(hook.close(state)):
        assert symmetry.operations(crystal, 1e-3) >= len(group(47).operations)


def test_the_same_seed_gives_the_same_crystal_whatever_the_batch() -> None:
    own, options = model("bayes"), {"formula": "SrTiO3", "spacegroup": 38}
    whole = generate(own, 5, 3, options=options, solver="renewal", device="cpu").objects
    parts = generate(
        own, 5, 3, options=options, solver="renewal", device="cpu", batch_size=2
    ).objects
    for a, b in zip(whole, parts, strict=True):
        assert np.allclose(a.lattice, b.lattice, atol=1e-4)
        assert np.allclose(a.coordinates, b.coordinates, atol=1e-4)
    again = generate(own, 5, 4, options=options, solver="renewal", device="cpu").objects
    assert not np.allclose(whole[0].lattice, again[0].lattice, atol=1e-3)


def test_a_symmetric_crystal_is_left_as_it_is_and_a_noisy_one_drawn_to_it() -> None:
    own = adapter("bayes")
    streams = Streams.range(0, 0, 4, "sizes")
    frame = own.frame(streams, {"formula": "SrTiO3", "spacegroup": 99})
    hook = Symmetric.of(own.process, own.cells.standard, frame.condition)
    theta = torch.rand(4, hook.matrix.shape[-1])
    places = (torch.einsum("bnp,bp->bn", hook.matrix, theta) + hook.offset) % 1
    places = places.view(4, 5, 3)
    found, sure = hook._fit(places, torch.ones_like(places))
    assert ((found - places + 0.5) % 1 - 0.5).abs().max() < 1e-4
    assert sure.min() > 0.999
    noisy = places + 0.02 * torch.randn_like(places)
    noisy[:, 0] = 0
    near, _ = hook._fit(noisy % 1, torch.ones_like(places))
    away = ((near - places + 0.5) % 1 - 0.5).norm()
    assert away < ((noisy - places + 0.5) % 1 - 0.5).norm()
    lattice = hook._lattice(torch.randn(4, 6), torch.ones(4, 5, dtype=torch.bool))
    assert torch.allclose(
        hook._lattice(lattice, torch.ones(4, 5, dtype=torch.bool)), lattice, atol=1e-4
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formula": "SrTiO3", "spacegroup": 0}, "a number from 1 to 230, or a symbol"),
        ({"formula": "SrTiO3", "spacegroup": "Pm-5m"}, "a number from 1 to 230, or a symbol"),
        ({"formula": "SrTiO3", "spacegroup": True}, "a number from 1 to 230, or a symbol"),
        ({"formula": "MgO", "atoms": 4, "spacegroup": 221}, "the cell is a primitive one"),
    ],
)
def test_wishes_that_make_no_sense(options: dict[str, object], message: str) -> None:
    with pytest.raises(SciflowError, match=message):
        adapter("bayes").frame(Streams.range(0, 0, 1, "sizes"), options)


def test_a_model_without_an_anchor_is_refused() -> None:
    own = adapter({"coordinates": "bayes", "species": "mask", "anchor": False})
    frame = own.frame(Streams.range(0, 0, 1, "sizes"), {"atoms": 2, "spacegroup": 225})
    with pytest.raises(SciflowError, match="anchor"):
        own.hooks(frame)


def test_without_a_wish_nothing_is_held() -> None:
    own = adapter("bayes")
    frame = own.frame(Streams.range(0, 0, 2, "sizes"), {"formula": "SrTiO3"})
    assert not own.hooks(frame)
    assert "symmetry" not in frame.condition
