"""CPU milliseconds of one wavelet transform and its inverse: ours beside ptwt and pytorch_wavelets, in turns.

    python benchmarks/fields_codec.py --rivals FOLDER

Every row runs all sides in one process on one thread, one after the other in each round, and keeps the best round of
each; a ratio above 1 says how many times slower the rival is. `stack` is ours with the bands as channels, as a network
reads them; the rivals return their bands in pieces. The rivals are optional: those not installed (nor in the folder
given) are left out. The last row is forward and backward of the analysis alone.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from record import write
from torch import Tensor

from sciflow.domains.fields.wavelet import Axis, Transform

ROWS = [
    ((16, 2, 80, 128), "bior2.4", "periodization"),
    ((16, 9, 80, 128), "bior2.4", "periodization"),
    ((16, 2, 80, 128), "bior1.3", "zero"),
    ((16, 9, 80, 128), "bior1.3", "zero"),
    ((16, 9, 80, 128), "db4", "periodization"),
    ((16, 5, 32, 64, 64), "bior1.3", "zero"),
    ((16, 5, 32, 64, 64), "bior1.3", "periodic"),
    ((16, 1, 40, 80, 128), "bior2.4", "zero"),
]
"""Shapes, filters and modes of WDNO's systems."""

Run = Callable[[Tensor], Tensor]


def ours(shape: tuple[int, ...], wavelet: str, mode: str) -> dict[str, Run]:
    """Our transform there and back, as a pyramid and with the bands stacked."""
    axes = tuple(Axis(f"x{k}", n, mode, wavelet) for k, n in enumerate(shape[2:]))
    transform = Transform(axes)
    return {
        "ours": lambda x: transform.reconstruct(transform.decompose(x)),
        "ours, stack": lambda x: transform.unpack(transform.packets(x)),
    }


def rivals(shape: tuple[int, ...], wavelet: str, mode: str) -> dict[str, Run]:
    """What is installed and has the transform."""
    found: dict[str, Run] = {}
    ptwt = optional("ptwt")
    if ptwt is not None:
        # It has no periodization; its periodic mode keeps more coefficients.
        near = "periodic" if mode == "periodization" else mode
        if len(shape) == 4:
            found["ptwt"] = lambda x: ptwt.waverec2(
                ptwt.wavedec2(x, wavelet, mode=near, level=1), wavelet
            )
        else:
            found["ptwt"] = lambda x: ptwt.waverec3(
                ptwt.wavedec3(x.flatten(0, 1), wavelet, mode=near, level=1), wavelet
            ).reshape(x.shape)
    convolution = optional("pytorch_wavelets") if len(shape) == 4 else None
    if convolution is not None:
        forward = convolution.DWTForward(J=1, mode=mode, wave=wavelet)
        inverse = convolution.DWTInverse(mode=mode, wave=wavelet)
        found["pytorch_wavelets"] = lambda x: inverse(forward(x))
    return found


def optional(name: str) -> Any:
    """A module, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def race(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Best CPU milliseconds of each, taken in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for attempt in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if attempt:  # the first one warms up
                best[name] = min(best[name], 1e3 * (time.process_time() - start))
    return best


def row(shape: tuple[int, ...], wavelet: str, mode: str) -> dict[str, Any]:
    """Times, ratios and errors of one shape."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    runs = ours(shape, wavelet, mode) | rivals(shape, wavelet, mode)
    with torch.no_grad():
        errors = {name: float((run(x) - x).abs().max()) for name, run in runs.items()}
        calls = {name: (lambda run=run: run(x)) for name, run in runs.items()}
        times = race(calls, 15 if len(shape) == 4 else 2)
    return summary(list(shape), wavelet, mode, times) | {"round_trip": errors}


def backward_row() -> dict[str, Any]:
    """Forward and backward of the analysis."""
    shape, wavelet, mode = (16, 2, 80, 128), "bior2.4", "periodization"
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    axes = tuple(Axis(f"x{k}", n, mode, wavelet) for k, n in enumerate(shape[2:]))
    transform = Transform(axes)
    runs: dict[str, Callable[[], object]] = {
        "ours": lambda: torch.autograd.grad(
            sum(b.sum() for b in transform.decompose(x).values()), x
        )
    }
    convolution = optional("pytorch_wavelets")
    if convolution is not None:
        forward = convolution.DWTForward(J=1, mode=mode, wave=wavelet)

        def theirs() -> object:
            low, high = forward(x)
            return torch.autograd.grad(low.sum() + high[0].sum(), x)

        runs["pytorch_wavelets"] = theirs
    ptwt = optional("ptwt")
    if ptwt is not None:

        def other() -> object:
            low, high = ptwt.wavedec2(x, wavelet, mode="periodic", level=1)
            return torch.autograd.grad(low.sum() + sum(h.sum() for h in high), x)

        runs["ptwt"] = other
    return summary(list(shape), wavelet, "periodization, analysis and gradient", race(runs, 15))


def summary(shape: list[int], wavelet: str, mode: str, times: dict[str, float]) -> dict[str, Any]:
    """One row of the table, printed as it comes."""
    ratios = {
        name: round(value / times["ours"], 2)
        for name, value in times.items()
        if not name.startswith("ours")
    }
    rounded = {name: round(value, 2) for name, value in times.items()}
    print(shape, wavelet, mode, rounded, "ratios", ratios, flush=True)
    entry = {"shape": shape, "wavelet": wavelet, "mode": mode}
    return entry | {"cpu_ms": rounded, "times_slower": ratios}


def main() -> None:
    """Run the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rivals", help="folder with ptwt and pytorch_wavelets")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.rivals:
        sys.path.insert(0, arguments.rivals)
    torch.set_num_threads(1)
    results = [row(*r) for r in ROWS] + [backward_row()]
    versions = {n: getattr(optional(n), "__version__", None) for n in ("ptwt", "pytorch_wavelets")}
    write("fields_codec", seeds=[0], data={"rivals": versions}, results=results)


if __name__ == "__main__":
    main()
