"""Prediction: from a formula to candidate structures, the best first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sciflow import model as models
from sciflow.errors import SciflowError, expected
from sciflow.hooks import Hook
from sciflow.model import Model
from sciflow.runtime.generate import generate
from sciflow.streams import Streams

from . import validity
from .crystal import Crystal


def predict(
    formula: str,
    n: int = 20,
    model: Model | str | Path | None = None,
    *,
    energy: Callable[[list[Crystal]], Sequence[float]] | Any = None,
    seed: int = 0,
    steps: int | None = None,
    spacegroup: int | str | None = None,
    like: Any = None,
    options: Mapping[str, Any] | None = None,
    hooks: Sequence[Hook] = (),
    device: str = "auto",
) -> list[Crystal]:
    """Return different candidate structures of a formula, the best first.

    n structures are drawn, equal ones (by pymatgen's matcher at its default tolerances) are taken together, and those
    that are no valid structures are left out. Candidates come by energy where one is given, else the one that was
    drawn most often first; those made of known crystals (`like`) come before, the nearest first.

    Args:
        formula: Contents of the cell, such as ``SrTiO3``; with ``options={"atoms": 10}`` what they are a multiple of.
        n: Number of structures drawn.
        model: A model, its name or its folder; None takes the shipped one that knows the formula.
        energy: What ranks them: an ASE calculator, or a function from crystals to numbers, such as
            `property.Regressor.predict`.
        seed: Seed.
        steps: Number of steps; None takes the model's own.
        spacegroup: Number or symbol of the space group of a primitive cell with these contents.
        like: Known crystals, a list of them or a file: those of the nearest compositions, with these elements in their
            place, are the first to be drawn (see `templates`).
        options: Further wishes in the words of `Crystals.frame`.
        hooks: Hooks into the sampling loop.
        device: Device.

    Raises:
        SciflowError: No model knows the formula, or nothing that was drawn is a valid structure.
    """
    from .templates import Templates  # brings scipy, which training does without

    wishes = {"formula": formula, **(options or {})}
    wishes |= {} if spacegroup is None else {"spacegroup": spacegroup}
    if like is not None:
        like = wishes["like"] = Templates.of(like)
    chosen = _model(wishes, model)
    made = generate(chosen, n, seed, steps, device=device, hooks=hooks, options=wishes).objects
    problems = [validity.problem(crystal) for crystal in made]
    valid = [c for c, problem in zip(made, problems, strict=True) if not problem]
    if not valid:
        raise expected(
            f"structures of {formula}",
            f"{len(made)} drawn, none valid ({problems[0]})",
            "at least one",
            "draw more (n), or take more steps",
        )
    known = [] if like is None else Templates.of(like).candidates(made[0].composition)
    first = {id(crystal): place for place, crystal in enumerate(made[: len(known)])}
    groups = sorted(grouped(valid), key=lambda g: (first.get(id(g[0]), len(known)), -len(g)))
    if energy is None:
        return [group[0] for group in groups]
    firsts = [group[0] for group in groups]
    values = [float(x) for x in _energies(energy, firsts)]
    order = sorted(
        range(len(firsts)), key=lambda k: values[k] if math.isfinite(values[k]) else math.inf
    )
    return [firsts[k] for k in order]


def grouped(crystals: Sequence[Crystal]) -> list[list[Crystal]]:
    """Return crystals in groups of equal ones; each is compared with the first of every group before it."""
    from . import duplicates  # brings scipy, which training does without

    groups: list[tuple[Any, list[Crystal]]] = []
    for crystal in crystals:
        own = duplicates.reduced(crystal)
        for first, group in groups:
            if own is not None and first is not None and duplicates.same(own, first):
                group.append(crystal)
                break
        else:
            groups.append((own, [crystal]))
    return [group for _, group in groups]


def _energies(energy: Any, crystals: list[Crystal]) -> Sequence[float]:
    if hasattr(energy, "get_potential_energy"):
        from .relaxation import energies

        return energies(crystals, energy)
    if not callable(energy):
        raise expected("energy", type(energy).__name__, "an ASE calculator or a function")
    values: Any = energy(crystals)
    return values


def _model(wishes: Mapping[str, Any], model: Model | str | Path | None) -> Model:
    if isinstance(model, Model):
        return model
    if model is not None:
        return models.load(model)
    first = models.default("crystals")
    names = [first, *(name for name in models.cards("crystals") if name != first)]
    reasons = []
    for name in names:
        loaded = models.load(name)
        try:
            loaded.adapter.frame(Streams.range(0, 0, 1, "sizes"), wishes)
            return loaded
        except SciflowError as error:
            reasons.append(f"{name}: {error}")
    raise SciflowError("; ".join(reasons))


__all__ = ["grouped", "predict"]
