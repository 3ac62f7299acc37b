"""Wavelet diffusion and its rivals at equal training budget, on held-out trajectories of an equation.

    python benchmarks/fields_rivals.py wavelet-diffusion --minutes 10
    python benchmarks/fields_rivals.py wavelet-regression --minutes 10
    python benchmarks/fields_rivals.py fno --minutes 10
    python benchmarks/fields_rivals.py grid-regression --minutes 10
    python benchmarks/fields_rivals.py grid-diffusion --minutes 10
    python benchmarks/fields_rivals.py wavelet-diffusion --minutes 20 --model burgers
    python benchmarks/fields_rivals.py fno --equation compressible --minutes 5
    python benchmarks/fields_rivals.py picture --equation compressible --minutes 5

All are trained by the house's trainer with one recipe on the same 2,000 trajectories: the number of steps is what the
CPU seconds of a few steps say the budget allows, and the learning rate falls to zero over it. The U-Net is that of
``configs/burgers.toml`` in all four; ``wavelet`` means coefficients, ``grid`` the values themselves, ``regression`` one
call that predicts the trajectory with no noise, by the same weights of its bands. ``fno`` is neuraloperator's
(extra ``bench``), padded by a quarter of the box since nothing here is periodic, ``fno-bare`` the same without: it sees
the ends glued but makes many more steps. A run that is stopped goes on; ``results/fields-<equation>-rivals.json`` gets
one row from each, with ``--model`` that of a model trained elsewhere. Where there are several fields, a figure is their
mean: nRMSE and spread-skill as they are, errors in units of each field's deviation, squares in those of its variance.
``picture`` draws what the models of a budget make of one held-out trajectory.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from record import RESULTS, write
from torch import Tensor, nn

import sciflow
from sciflow.domains.fields import Fields, simulation
from sciflow.domains.fields.coding import GIVEN
from sciflow.domains.fields.draw import grid
from sciflow.domains.fields.report import Metrics
from sciflow.learning import EMA, Objective, Recipe, train
from sciflow.learning.trainer import sample_index
from sciflow.model import Model, Sampling
from sciflow.runtime.generate import Generation
from sciflow.state import State

KINDS = (
    "wavelet-diffusion",
    "wavelet-regression",
    "fno",
    "fno-bare",
    "grid-regression",
    "grid-diffusion",
)
COUNT, HELD, MEMBERS, SHOWN = 2000, 100, 8, 8
NETWORK: dict[str, Any] = {"name": "unet", "width": 24, "multiples": [1, 2, 4], "merge": "sum"}
# As in configs/burgers.toml: nearly all of the energy is in the coarse band.
PROCESS = {
    "coarse": {"path": "cosine", "weight": 1.0},
    "detail1": {"path": "cosine", "weight": 0.05},
}
RECIPE: dict[str, Any] = {
    "batch_size": 32,
    "learning_rate": 2e-3,
    "betas": (0.9, 0.99),
    "ema": 0.998,
    "checkpoint_every": 200,
}
MODES, WIDTH, PADDING = (12, 24), 24, 0.25
SAMPLING = Sampling("ddim", {"name": "power", "power": 1.5}, 10)
"""How every diffusion is sampled here, that of ``--model`` too."""
_POWERS = {"mse": 2, "mae": 1, "l_inf": 1, "abrupt": 1, "crps": 1, "mean": 1, "deviation": 1}


class Operator(nn.Module):
    """A Fourier neural operator from what is known to the fields (Li et al., arXiv:2010.08895)."""

    def __init__(self, given: int, channels: int, padding: float | None = PADDING) -> None:
        super().__init__()
        from neuralop.models import FNO

        self.fno = FNO(MODES, given, channels, WIDTH, n_layers=4, domain_padding=padding)
        # It puts its settings among its weights; only tensors can be saved with those.
        self.register_state_dict_post_hook(_without_settings)

    def forward(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Predict the fields from the condition alone."""
        return {"bands": self.fno(state.condition[GIVEN + "bands"])}


def _without_settings(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
    state.pop("_metadata", None)


class Regression(Objective):
    """Squared error of one call of the network that sees no noise, only the condition."""

    def forward(
        self,
        fields: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        condition: Mapping[str, Tensor],
        seed: int,
        sample: Tensor,
        batch_size: int,
    ) -> dict[str, Tensor]:
        """Return the loss, weighted as the system weighs its components."""
        found = predicted(self.network, State(fields, masks, condition))
        total, count = torch.zeros(()), 0
        for name, value in fields.items():
            weight = self.system[name].weight
            total = total + weight * (found[name] - value).square().sum()
            count += value.numel()
        return {"loss": total / count}


def predicted(network: nn.Module, state: State) -> dict[str, Tensor]:
    """What a regression says of the fields of a state, of which it sees the condition."""
    blank = state.replace(**{name: torch.zeros_like(value) for name, value in state.items()})
    return network(blank, torch.zeros(state.batch_size))


@dataclass(frozen=True)
class Rival:
    """One of `KINDS` on an equation, its data and its folder."""

    kind: str
    equation: str
    minutes: float
    folder: Path

    @property
    def regression(self) -> bool:
        """Whether one call predicts all."""
        return not self.kind.endswith("diffusion")

    def data(self) -> tuple[xr.Dataset, xr.Dataset, Path]:
        """Trajectories to train on and to judge by, and the file of the latter; simulated once."""
        folder = self.folder.parent
        folder.mkdir(parents=True, exist_ok=True)
        parts = {"train": f"{self.equation}:{COUNT}"}
        parts["held"] = f"{self.equation}:{COUNT}-{COUNT + HELD}"
        for part, name in parts.items():
            path = folder / f"{part}.nc"
            if not path.exists():
                fresh = path.with_suffix(".part")
                simulation.simulated(name).to_netcdf(fresh)
                fresh.rename(path)
        train_, held = (xr.load_dataset(folder / f"{part}.nc") for part in parts)
        return train_, held, folder / "held.nc"

    def made(self, path: Path) -> tuple[Fields, Any, Objective]:
        """Adapter, data set, and network with its loss."""
        wavelet = self.kind.startswith("wavelet")
        codec = {"level": int(wavelet), "packing": "pyramid" if wavelet else "stack"}
        process = PROCESS if wavelet else "cosine"
        options = {"process": process, "network": NETWORK}
        adapter, dataset = Fields.from_data({"train": str(path), "codec": codec}, options)
        system = adapter.system()
        torch.manual_seed(0)
        if self.kind.startswith("fno"):
            channels = len(adapter.coding.codec.names["bands"])
            padding = None if self.kind == "fno-bare" else PADDING
            network: nn.Module = Operator(adapter.coding.channels("bands"), channels, padding)
        else:
            network = adapter.network()
        return adapter, dataset, (Regression if self.regression else Objective)(system, network)


def pace(objective: Objective, dataset: Any, count: int = 10) -> float:
    """CPU seconds of a training step; the objective is spent afterwards."""
    optimizer, average = torch.optim.AdamW(objective.parameters()), EMA(objective.network)
    size, begin = int(RECIPE["batch_size"]), 0.0
    objective.train()
    for step in range(-3, count):
        if step == 0:
            begin = time.process_time()
        state = dataset.batch(sample_index(len(dataset), step + 3, size, 0))
        loss = objective(dict(state), state.masks, state.condition, 0, torch.arange(size), size)[
            "loss"
        ]
        loss.backward()
        nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(objective.network)
    return (time.process_time() - begin) / count


def trained(rival: Rival) -> tuple[Fields, nn.Module, dict[str, Any]]:
    """Train, or go on; return the adapter, the network with averaged weights, and what it took."""
    rival.data()
    adapter, dataset, objective = rival.made(rival.folder.parent / "train.nc")
    rival.folder.mkdir(exist_ok=True)
    plan = rival.folder / "plan.json"
    if not plan.exists():
        seconds = pace(objective, dataset)
        steps = max(10, round(60 * rival.minutes / seconds))
        plan.write_text(json.dumps({"steps": steps, "cpu_s": 0.0}))
        adapter, dataset, objective = rival.made(rival.folder.parent / "train.nc")
    facts = json.loads(plan.read_text())
    begin, before = time.process_time(), facts["cpu_s"]

    def note(step: int, scalars: Mapping[str, float]) -> None:
        facts["cpu_s"] = before + time.process_time() - begin
        if step % 50 == 0 or step == facts["steps"]:
            plan.write_text(json.dumps(facts))
            print(step, f"{facts['cpu_s']:.0f} s", f"{scalars['loss']:.4f}", flush=True)

    recipe = Recipe(steps=facts["steps"], **RECIPE)
    ema = train(objective, dataset, recipe, rival.folder, device="cpu", on_step=note)
    objective.network.load_state_dict({**objective.network.state_dict(), **ema.average})
    return adapter, objective.network.eval(), facts


def foretold(adapter: Fields, network: nn.Module, held: xr.Dataset) -> tuple[list[Any], float]:
    """Forecasts of a regression, and CPU seconds of one."""
    truth = [held.isel(sample=k, drop=True) for k in range(held.sizes["sample"])]
    begin = time.process_time()
    state = adapter.encode(truth)
    with torch.no_grad():
        found = adapter.decode(state.replace(**predicted(network, state)))
    return found, (time.process_time() - begin) / len(truth)


def drawn(model: Model, path: Path, count: int) -> tuple[list[Any], float]:
    """Samples of a diffusion model, and CPU seconds of one."""
    begin = time.process_time()
    plan = Generation.of(model, count, 0, device="cpu", options={"given": str(path)})
    made = [one for batch in plan.batches() for one in batch]
    return made, (time.process_time() - begin) / count


def summed(found: Metrics, fields: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures of the samples and of persistence; of several fields their mean, see the module."""
    rows: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for row, which in zip(rows, ("value", "reference"), strict=True):
        if len(fields) == 1:
            row |= {name: getattr(figure, which) for name, figure in found.figures.items()}
            continue
        for kind in {name.partition(" of ")[0]: None for name in found.figures}:
            values = [getattr(found.figures[f"{kind} of {field}"], which) for field in fields]
            units = [found.figures[f"deviation of {field}"].reference or 1.0 for field in fields]
            power = _POWERS.get(kind, 0)
            scaled = [v / u**power for v, u in zip(values, units, strict=True) if v is not None]
            row[kind] = sum(scaled) / len(fields) if len(scaled) == len(fields) else None
            row |= {f"{kind} of {field}": v for field, v in zip(fields, values, strict=True)}
    return rows


def judged(rival: Rival, named: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train and judge: its row, and that of persistence.

    Args:
        rival: What is trained.
        named: A model to be judged in its place.
    """
    _, held, path = rival.data()
    if named is None:
        adapter, network, facts = trained(rival)
        model = Model(adapter, network, SAMPLING)
    else:
        model = replace(sciflow.load(named), sampling=SAMPLING)
        network, training = model.network, model.card["training"]
        facts = {"steps": training["steps"], "cpu_s": training["seconds"], "model": named}
    truth = [held.isel(sample=k, drop=True) for k in range(HELD)]
    if rival.regression:
        made, seconds = foretold(model.adapter, network, held)
    else:
        made, seconds = drawn(model, path, MEMBERS * HELD)
    rival.folder.mkdir(exist_ok=True)
    (rival.folder / "shown.nc").unlink(missing_ok=True)
    with Fields.writer(rival.folder / "shown.nc") as out:
        out.append(made[:SHOWN])
    found = Fields.metrics(made, truth)
    print(found.to_text(), flush=True)
    row, lasting = summed(found, model.adapter.layout.fields)
    # A forecast without spread: its score is its mean error.
    for sure in (row, lasting) if rival.regression else (lasting,):
        for name in [name for name in sure if name.startswith("mae")]:
            sure[name.replace("mae", "crps")] = sure[name]
    return {
        **row,
        "parameters": sum(p.numel() * (1 + p.is_complex()) for p in network.parameters()),
        "minutes": rival.minutes,
        "steps": facts.pop("steps"),
        "train_cpu_s": facts.pop("cpu_s"),
        "cpu_s_per_trajectory": seconds,
        **facts,
    }, {name: value for name, value in lasting.items() if value is not None}


def picture(equation: str, minutes: float, number: int, folder: Path) -> None:
    """Truth and what each kind makes of one held-out trajectory, side by side."""
    shown = {"truth": xr.load_dataset(folder / "held.nc").isel(sample=number, drop=True)}
    for kind in KINDS:
        path = folder / f"{kind}-{minutes:g}" / "shown.nc"
        if path.exists():
            shown[kind.replace("-", " ")] = xr.load_dataset(path).isel(sample=number, drop=True)
    path = RESULTS / f"fields-{equation}-{number}.png"
    grid(list(shown.values()), path, list(shown))
    print(path.name)


def main() -> None:
    """Run one rival."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=[*KINDS, "picture"])
    parser.add_argument("--equation", default="burgers")
    parser.add_argument("--minutes", type=float, default=20, help="CPU minutes of training")
    parser.add_argument("--model", default=None, help="judge this model: a name or a folder")
    parser.add_argument("--number", type=int, default=0, help="of `picture`: the trajectory")
    parser.add_argument("--folder", type=Path, default=Path("runs/rivals"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    base = arguments.folder / arguments.equation
    if arguments.kind == "picture":
        picture(arguments.equation, arguments.minutes, arguments.number, base)
        return
    folder = base / f"{arguments.kind}-{arguments.minutes:g}"
    rival = Rival(arguments.kind, arguments.equation, arguments.minutes, folder)
    row, lasting = judged(rival, arguments.model)
    name = f"fields-{arguments.equation}-rivals"
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text())["results"] if path.exists() else {}
    rows |= {folder.name: row, "persistence": lasting}
    recipe = {**RECIPE, "network": NETWORK, "process": PROCESS, "sampling": asdict(SAMPLING)}
    operator = {"modes": MODES, "width": WIDTH, "layers": 4, "padding": PADDING}
    data = {"train": f"{arguments.equation}:{COUNT}", "test": HELD, "members": MEMBERS}
    write(name, seeds=[0], data={**data, "recipe": recipe, "fno": operator}, results=rows)


if __name__ == "__main__":
    main()
