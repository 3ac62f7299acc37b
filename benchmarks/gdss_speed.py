"""CPU seconds per evaluation of GDSS's networks: ours beside the authors', in turns.

    python benchmarks/gdss_speed.py --rival GDSS --checkpoint gdss_qm9.pth --json results.json

The rival is a checkout of the authors' repository; without one, ours is timed alone. Both sides
hold the same weights and read the same noisy graphs, in one process, on one thread. Beside the
times stands the largest difference of their answers, and of each from the answer in float64, as a
share of the largest entry. Where no checkpoint of a data set is given, the weights are random.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import command, cpu
from torch import Tensor, nn

from sciflow.domains.molecules import gdss_checkpoint
from sciflow.domains.molecules.gdss_checkpoint import GDSSCheckpoint
from sciflow.domains.molecules.networks.gdss import GDSSNetwork
from sciflow.runtime.provenance import commit, provenance

_CHANNELS = {"c_init": 2, "c_hid": 8, "c_final": 4, "adim": 16, "num_heads": 4, "conv": "GCN"}
# Data set: nodes, features, attention layers, batch sizes, mean and deviation of the graph sizes.
CASES = {
    "QM9": (9, 4, 3, (100, 1000), (8.8, 0.5)),
    "ZINC250k": (38, 9, 6, (64,), (23.15, 4.5)),
}


def arguments_of(dataset: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the authors' constructor arguments for a data set."""
    nodes, features, layers, *_ = CASES[dataset]
    x = {"model_type": "ScoreNetworkX", "max_feat_num": features, "depth": 2, "nhid": 16}
    adj = {"model_type": "ScoreNetworkA", "max_feat_num": features, "max_node_num": nodes}
    return x, adj | {"nhid": 16, "num_layers": layers, "num_linears": 3} | _CHANNELS


def noisy_graphs(dataset: str, batch: int, full: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return nodes, symmetric matrices and mask, all of the largest size or of the data's."""
    nodes, features, _, _, (mean, deviation) = CASES[dataset]
    generator = torch.Generator().manual_seed(0)
    sizes = torch.randn(batch, generator=generator) * deviation + mean
    sizes = torch.full((batch,), nodes) if full else sizes.round().clamp(2, nodes)
    mask = (torch.arange(nodes) < sizes[:, None]).float()
    x = torch.randn(batch, nodes, features, generator=generator) * mask[:, :, None]
    a = torch.randn(batch, nodes, nodes, generator=generator).triu(1)
    return x, (a + a.mT) * mask[:, :, None] * mask[:, None, :], mask


def rival_networks(folder: Path, checkpoint: GDSSCheckpoint) -> tuple[nn.Module, nn.Module]:
    """Return the authors' two networks with the weights of the checkpoint."""
    sys.path.insert(0, str(folder))
    classes = {
        name: getattr(importlib.import_module(f"models.{module}"), name)
        for module, name in (
            ("ScoreNetwork_X", "ScoreNetworkX"),
            ("ScoreNetwork_X", "ScoreNetworkX_GMH"),
            ("ScoreNetwork_A", "ScoreNetworkA"),
        )
    }
    networks = []
    for params, weights in (
        (checkpoint.params_x, checkpoint.weights_x),
        (checkpoint.params_adj, checkpoint.weights_adj),
    ):
        network = classes[params["model_type"]](
            **{key: value for key, value in params.items() if key != "model_type"}
        )
        if weights:
            network.load_state_dict(weights)
        else:  # random: ours take theirs
            weights.update(network.state_dict())
        networks.append(network.eval())
    return networks[0], networks[1]


def in_turns(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the CPU seconds of each call, the sides taking turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for call in sides.values():
        call()
    for _ in range(repeats):
        for name, call in sides.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return times


def row_of(
    ours: nn.Module, rival: nn.Module | None, inputs: tuple[Tensor, ...], repeats: int
) -> Any:
    """Time one network on one batch."""
    sides: dict[str, Callable[[], Tensor]] = {"ours": lambda: ours(*inputs)}
    if rival is not None:
        sides["rival"] = lambda: rival(*inputs)
    times = in_turns(sides, repeats)
    row: dict[str, Any] = {
        f"{name}_{what}_s": round(of(values), 6)
        for name, values in times.items()
        for what, of in (("min", min), ("median", statistics.median))
    }
    if rival is not None:
        row["ratio_min"] = round(row["ours_min_s"] / row["rival_min_s"], 3)
        row["ratio_median"] = round(row["ours_median_s"] / row["rival_median_s"], 3)
        exact = ours.double()(*(value.double() for value in inputs))
        ours.float()
        mine, theirs = (sides[name]() for name in ("ours", "rival"))
        scale = float(exact.abs().max())
        row["max_difference"] = float((mine - theirs).abs().max()) / scale
        row["max_error_ours"] = float((mine - exact).abs().max()) / scale
        row["max_error_rival"] = float((theirs - exact).abs().max()) / scale
    return row


def measure(rival: Path | None, files: list[Path], repeats: int) -> list[dict[str, Any]]:
    """Time every case, once with all graphs of the largest size and once with the data's sizes."""
    given = {checkpoint.dataset: checkpoint for checkpoint in map(gdss_checkpoint.read, files)}
    rows = []
    for dataset, (*_, batches, _) in CASES.items():
        x, adj = arguments_of(dataset)
        config = {"data": {"data": dataset}}
        checkpoint = given.get(dataset) or GDSSCheckpoint(config, x, adj, {}, {}, None, None, "")
        theirs = rival_networks(rival, checkpoint) if rival else (None, None)
        if checkpoint.weights_x:
            network = gdss_checkpoint.networks_from(checkpoint, ema=False)
        else:
            nodes = gdss_checkpoint.network_from(x)
            network = GDSSNetwork(nodes, gdss_checkpoint.network_from(adj))  # type: ignore[arg-type]
        for batch in batches:
            for full in (True, False):
                inputs = noisy_graphs(dataset, batch, full)
                for name, mine, its in zip(
                    ("atoms", "bonds"), (network.nodes, network.bonds), theirs, strict=True
                ):
                    case = {
                        "data": dataset,
                        "weights": checkpoint.file or "random",
                        "network": name,
                        "batch": batch,
                        "sizes": "largest" if full else "as the data",
                    }
                    case |= row_of(mine, its, inputs, repeats)
                    print(json.dumps(case), flush=True)
                    rows.append(case)
    return rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rival", type=Path, help="checkout of the authors' repository")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with torch.inference_mode():
        rows = measure(options.rival, options.checkpoint, options.repeats)
    result = {
        "command": command(),
        "commit": commit(),
        "device": "cpu, 1 thread",
        "cpu": cpu(),
        "data": [file.name for file in options.checkpoint] or "random weights",
        **provenance(),
        "unit": "CPU seconds per evaluation of a batch; differences by the largest entry",
        "results": rows,
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
