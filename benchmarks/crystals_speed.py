"""What the periodic network and its flow cost beside the way in which CrysBFN computes the same.

    python benchmarks/crystals_speed.py
    python benchmarks/crystals_speed.py --candidates mp20

Network: one forward pass at CrysBFN's size (width 512, 6 layers, 128 harmonics) for 64 crystals of 5 and 20 sites, in
one process on one thread. Beside ours stands `Published`, the same layer written the way it is published: a list of all
directed edges, sines and cosines of all multiples, [h_i, h_j, phi_ij] concatenated for every edge and put through one
linear map, and a sum over edges. It takes our weights, and the largest difference of the outputs, relative to their
largest entry, is in the table. It is our restatement from the formulas, not the authors' program; the lattice, nine
numbers on each of their edges, enters once for each crystal in both, to the benefit of the restatement.

Flow: what one training step draws for 64 crystals of 5 sites in 1,000 steps: all von Mises observations, added up and
cut at the step of each crystal (as published, by torch's rejection sampler in float64), beside `VonMisesSteps`, that
law in one draw, and `VonMisesBayes`, its limit of many steps.

Times are CPU seconds, the least of several runs.

``--candidates`` times the command ``sciflow generate crystals --formula ... -n 20 -o new.cif`` of a model instead, as a
user meets it: from the start of the process to the file, its metrics included, seconds by the clock and of CPU.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from record import write
from torch import Tensor

from sciflow.domains.crystals.networks.periodic import MOST, Periodic, _times
from sciflow.domains.crystals.process import Process, one_hot
from sciflow.paths.bayes import VonMisesBayes, VonMisesSteps
from sciflow.paths.bayes.sums import accuracies
from sciflow.spaces import Circle
from sciflow.state import State
from sciflow.streams import Streams

ELEMENTS, HARMONICS, RADIAL = 89, 128, 16
_PLANES = torch.tensor(
    [(1, 1, 0), (1, -1, 0), (1, 0, 1), (1, 0, -1), (0, 1, 1), (0, 1, -1)]
    + [(1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)]
).float()


class Published:
    """The network with the layer as published: a list of edges, one linear map on what is concatenated.

    Args:
        network: The network whose weights it takes.
    """

    def __init__(self, network: Periodic) -> None:
        self.net = network
        first = [
            torch.cat((layer.from_i.weight, layer.from_j.weight, own), 1)
            for layer, own in zip(
                network.layers, network.pairs.weight.chunk(network.depth), strict=True
            )
        ]
        self.first = [weight.contiguous() for weight in first]

    def __call__(self, state: State, t: Tensor) -> dict[str, Tensor]:
        """Return the prediction."""
        net, view = self.net, self.net.process.look(state, t)
        batch, n = view.sites.shape
        i, j = view.sites.new_ones(n, n).nonzero().unbind(1)
        base = torch.arange(batch).unsqueeze(1) * n
        to, source = (base + i).flatten(), (base + j).flatten()
        crystal = to // n
        angle = torch.atan2(view.directions[..., 1], view.directions[..., 0]).flatten(0, 1)
        phi = _features(angle[source] - angle[to])
        g = net.graph(torch.cat((view.lattice.asinh(), _times(t)), -1))
        h = net.species(one_hot(view.species, net.process.states, g.dtype))
        known = view.known.to(g.dtype).unsqueeze(-1)
        h = h + net.ranks(view.ranks.clamp(max=MOST))
        h = h + net.sure(torch.cat((view.certainty, known), -1))
        h = h + net.place(phi[to % n == 0].view(batch, n, -1))
        h = h.flatten(0, 1)
        for layer, first in zip(net.layers, self.first, strict=True):
            h = h + layer.shift(g).repeat_interleave(n, 0)
            x = layer.norm(h)
            e = F.linear(torch.cat((x[to], x[source], phi), 1), first)
            e = F.silu(layer.message(F.silu(e + layer.from_graph(g)[crystal])))
            mean = torch.zeros_like(h).index_add_(0, to, e) / n
            h = h + layer.update(torch.cat((x, mean), 1))
        h = net.norm(h).view(batch, n, -1)
        free = view.sites & ~view.known
        return {
            "lattice": net.head_lattice(torch.cat((h.mean(1), g), -1)),
            "coordinates": net._coordinates(h, view.directions, state["coordinates"], free),
        }


def _features(d: Tensor) -> Tensor:
    """Features of angles ``[E, 3]``, in the order of `waves`."""
    k = torch.arange(1, HARMONICS + 1).to(d)
    multiples = (d.unsqueeze(1) * k[:, None]).flatten(1)
    planes = d @ _PLANES.to(d).mT
    angle = torch.cat((multiples, planes), 1)
    wrapped = (d + math.pi) % (2 * math.pi) - math.pi
    length = (wrapped / (2 * math.pi)).norm(dim=1, keepdim=True)
    centres = torch.linspace(0, 0.87, RADIAL, dtype=d.dtype)
    bumps = torch.exp(-0.5 * ((length - centres) * ((RADIAL - 1) / 0.87)) ** 2)
    return torch.cat((angle.cos(), angle.sin(), bumps), 1)


def least(run: Callable[[], Any], repeats: int) -> float:
    """CPU seconds of the fastest of several runs, after one that does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    return min(seconds)


def network(width: int, layers: int, sites: int, batch: int, repeats: int) -> dict[str, float]:
    """Measure one forward pass."""
    torch.manual_seed(0)
    process = Process.of("bayes", (1 / ELEMENTS,) * ELEMENTS)
    ours = Periodic(process, width, layers, HARMONICS, RADIAL).eval()
    for name, weight in ours.named_parameters():
        if "head" in name:  # they begin with zero, which would compare nothing
            torch.nn.init.normal_(weight, std=width**-0.5)
    published = Published(ours)
    labels = torch.randint(ELEMENTS, (batch, sites))
    ranks = torch.arange(1, sites + 1).expand(batch, -1)
    clean = process.show(labels, ranks, torch.rand(batch, sites, 3), torch.randn(batch, 6))
    streams = Streams.range(0, 0, batch, "speed")
    noised = process.system().corrupt(clean, torch.rand(batch), streams)
    with torch.inference_mode():
        one, other = ours(noised.state, noised.t), published(noised.state, noised.t)
        gap = _gap(one, other)
        seconds = least(lambda: ours(noised.state, noised.t), repeats)
        theirs = least(lambda: published(noised.state, noised.t), repeats)
        exact = noised.state.map(lambda x: x.double() if x.is_floating_point() else x)
        t = noised.t.double()
        small = _gap(ours.double()(exact, t), Published(ours)(exact, t))
    return {
        "parameters": sum(p.numel() for p in ours.parameters()),
        "ours_cpu_seconds": seconds,
        "published_cpu_seconds": theirs,
        "ratio": seconds / theirs,
        "largest_relative_difference": gap,
        "the_same_in_float64": small,
    }


def _gap(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest difference of outputs, relative to their largest entry."""
    return max(float((one[k] - other[k]).abs().max() / other[k].abs().max()) for k in other)


def flow(steps: int, repeats: int) -> dict[str, float]:
    """Measure what a training step draws."""
    x1 = Circle().vectors(torch.rand(64, 5, 3))
    angle = torch.atan2(x1[..., 1], x1[..., 0]).double()
    alpha = accuracies(steps, 1000.0)
    t = torch.rand(64)

    def published() -> Tensor:
        law = torch.distributions.VonMises(
            angle.expand(steps, -1, -1, -1), alpha.view(-1, 1, 1, 1).expand(-1, 64, 5, 3)
        )
        y = law.sample()
        a = alpha.view(-1, 1, 1, 1)
        sums = torch.stack(((a * y.cos()).cumsum(0), (a * y.sin()).cumsum(0)), -1)
        place = (t * (steps - 1)).long()
        return sums[place, torch.arange(64)]

    def ours(path: Any) -> Any:
        streams = Streams.range(0, 0, 64, "speed")
        return path.corrupt(Circle(), x1, t, streams, None)

    start = time.process_time()
    ours(VonMisesSteps(steps))
    once = time.process_time() - start
    theirs = least(published, max(2, repeats // 2))
    exact = least(lambda: ours(VonMisesSteps(steps)), 4 * repeats)
    limit = least(lambda: ours(VonMisesBayes()), 4 * repeats)
    return {
        "published_cpu_seconds": theirs,
        "steps_cpu_seconds": exact,
        "steps_ratio": exact / theirs,
        "steps_table_once": once,
        "limit_cpu_seconds": limit,
        "limit_ratio": limit / theirs,
    }


FORMULAS = {"SrTiO3": 5, "LiFePO4": 7, "NaCl": 8, "MgAl2O4": 14, "CaTiO3": 20}
"""Formulas, and the numbers of atoms in the cells that are asked for."""


def candidates(model: str) -> dict[str, dict[str, float]]:
    """Time the command for 20 candidates of each of `FORMULAS`."""
    found = {}
    for formula, atoms in FORMULAS.items():
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, "-m", "sciflow", "generate", "crystals", "--model", model]
            words += ["--formula", formula, "--option", f"atoms={atoms}", "-n", "20"]
            words += ["-o", str(Path(folder) / "new.cif")]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.perf_counter()
            subprocess.run(words, check=True, capture_output=True)
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found[formula] = {"atoms": atoms, "seconds": wall, "cpu_seconds": cpu}
        print(formula, found[formula], flush=True)
    return found


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--sites", type=int, nargs="*", default=[5, 20])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--name", default="crystals-speed")
    parser.add_argument(
        "--candidates", metavar="MODEL", help="time the command of a model instead"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.candidates:
        data = {"n": 20, "model": Path(args.candidates).name, "processors": os.cpu_count()}
        write("crystals-candidates", seeds=[0], data=data, results=candidates(args.candidates))
        return
    results: dict[str, Any] = {}
    for sites in args.sites:
        row = network(args.width, args.layers, sites, args.batch, args.repeats)
        results[f"forward, {args.batch} x {sites}"] = row
        print(sites, row, flush=True)
    row = flow(args.steps, args.repeats)
    results["draws of a training step"] = row
    print(row, flush=True)
    data = {
        "width": args.width,
        "layers": args.layers,
        "harmonics": HARMONICS,
        "steps": args.steps,
    }
    write(args.name, seeds=[0], data=data, results=results)


if __name__ == "__main__":
    main()
