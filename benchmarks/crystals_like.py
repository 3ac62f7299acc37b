"""Candidates made of known crystals (``--like``): should the flow go on from them?

    SCIFLOW_DATA=... python benchmarks/crystals_like.py --model mp20

On validation structures of MP-20: templates from the training file as they are (t = 1), and what the network believes
when they are shown to it with the noise of a time t, in one call or on its way from t to the end of the model's own
grid; beside the model alone. Then on test structures, which had no part in the choice: templates as they are, the
nearest one for each of the whole set, and 20 candidates in the order of `crystals.predict`, which fills up with samples
of the model. A structure for which the file has no template counts as missed.

"Other compositions" leaves out templates of a target's own composition, as in a row of `benchmarks/crystals.py`.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from crystals import HEAD, cpu, line, measured, predicted, some
from record import write

from sciflow import grids, solvers
from sciflow.domains.crystals import Adapter, datasets, matching
from sciflow.domains.crystals.baselines import Prediction, Substitution
from sciflow.domains.crystals.crystal import Crystal
from sciflow.domains.crystals.templates import Templates
from sciflow.errors import SciflowError
from sciflow.hooks import Inpaint
from sciflow.model import Model, load
from sciflow.sampling import sample
from sciflow.streams import Streams

ONE_CALL = (0.2, 0.4, 0.6, 0.8, 0.95)
ON_THE_WAY = (0.1, 0.2)


def nearest(substitution: Substitution, targets: list[Crystal]) -> list[Prediction]:
    """Return the nearest template of each target, with as many sites."""
    return [substitution.nearest(target.composition, 1, same_size=True) for target in targets]


def gone_on(
    model: Model, found: list[Prediction], time: float, steps: int, stop: float
) -> list[Prediction]:
    """Return what the flow makes of templates from a time on."""
    adapter, own = model.adapter, [crystals[0] for crystals in found if crystals]
    assert isinstance(adapter, Adapter)
    held = torch.ones(len(own), dtype=torch.bool)
    state = sample(
        model.system,
        model.network,
        adapter.frame_of([crystal.composition for crystal in own]),
        Streams.range(0, 0, len(own), "sampling"),
        solver=solvers.make(model.sampling.solver),
        grid=grids.Uniform(stop),
        steps=steps,
        hooks=[Inpaint(adapter.encode(own), dict.fromkeys(model.system, held), until=time)],
    )
    made = iter(adapter.decode(state))
    return [[next(made)] if crystals else [] for crystals in found]


def many(model: Model, templates: Templates, targets: list[Crystal], k: int) -> list[Prediction]:
    """Return k candidates for each target: different templates, then samples of the model."""
    free = predicted(model, targets, model.sampling.steps, k, 0)
    found = []
    for target, own in zip(targets, free, strict=True):
        try:
            copies = templates.candidates(target.composition)[:k]
        except SciflowError:
            copies = []
        found.append([*copies, *own[len(copies) :]])
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mp20")
    parser.add_argument(
        "--validation", type=int, default=200, help="structures for the choice of t"
    )
    parser.add_argument("--test", type=int, help="test structures; all by default")
    parser.add_argument("--many", type=int, default=100, help="test structures with 20 candidates")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load(args.model)
    model.network.eval()
    library = datasets.read("mp20:train").objects
    every, other = Substitution(library), Substitution(library, equal=False)
    results: dict[str, dict[str, Any]] = {"validation": {}, "test": {}}
    data = {"library": "mp20:train", "library_structures": len(library), "model": model.name}

    def judge(part: str, name: str, targets: list[Crystal], found: list[Prediction]) -> None:
        start = cpu()
        match = matching.match(found, targets, workers=1)
        row = measured(match, targets, cpu() - start)
        row["without"] = sum(not crystals for crystals in found)
        results[part][name] = row
        print(line(f"{part}: {name}", row), flush=True)
        write("crystals-like-mp20", seeds=[0], data=data, results=results)

    print(HEAD, flush=True)
    whole = datasets.read("mp20:val").objects
    targets = some(whole, args.validation, 17)
    found = nearest(other, targets)
    sampling = model.sampling
    stop = float(sampling.grid["stop"])  # type: ignore[index, arg-type]
    judge("validation", "templates as they are", targets, found)
    for t in ONE_CALL:
        judge("validation", f"one call at t = {t:g}", targets, gone_on(model, found, t, 2, t))
    for t in ON_THE_WAY:
        made = gone_on(model, found, t, sampling.steps, stop)
        judge("validation", f"from t = {t:g} on", targets, made)
    judge(
        "validation", "the model alone", targets, predicted(model, targets, sampling.steps, 1, 0)
    )
    whole = datasets.read("mp20:test").objects
    targets = some(whole, args.test, 3)
    judge("test", "other compositions", targets, nearest(other, targets))
    judge("test", "all", targets, nearest(every, targets))
    targets = some(whole, args.many, 6)
    templates = Templates(every, "mp20:train")
    judge("test", "all, and the model, best of 20", targets, many(model, templates, targets, 20))


if __name__ == "__main__":
    main()
