"""The tables of crystals, made of results: structure prediction, processes, generation from nothing, energies."""

from __future__ import annotations

from typing import Any

from tables import NONE, RESULTS, lines, number, percent, read

_PREDICTION = [
    "one sample each",
    "match (.3, .5, 10)",
    "RMSE",
    "cRMSE",
    "strict (.2, .3, 5)",
    "structures",
]


def _prediction(name: str, row: dict[str, Any]) -> list[str]:
    return [
        name,
        percent(row["match_rate"]),
        number(4)(row["rmse"]),
        number(3)(row["crmse"]),
        percent(row["strict_match_rate"]),
        str(row["references"]),
    ]


def prediction() -> str:
    """Structure prediction: training-free baselines, and models where there are any."""
    rows = []
    for data, label in (("perov5", "Perov-5"), ("mp20", "MP-20"), ("carbon24", "Carbon-24")):
        for file in (f"crystals-baselines-{data}", f"crystals-{data}"):
            if not (RESULTS / f"{file}.json").is_file():
                continue
            for name, row in read(file)["results"].items():
                if not isinstance(row, dict) or "match_rate" not in row:
                    continue
                ours = "" if "baselines" in file else f"sciflow `{data}`, "
                rows.append(_prediction(f"{label}: {ours}{name}", row))
        if (RESULTS / f"crystals-like-{data}.json").is_file():
            for name, row in read(f"crystals-like-{data}")["results"]["test"].items():
                told = f"{label}: `--like` the training file, no training: {name}"
                rows.append(_prediction(told.replace("no training: all, and", "and"), row))
    return lines(_PREDICTION, rows)


def like() -> str:
    """Templates as they are, and what the flow makes of them."""
    found = read("crystals-like-mp20")["results"]["validation"]
    rows = [_prediction(name, row) for name, row in found.items()]
    return lines(["validation structures of MP-20", *_PREDICTION[1:]], rows)


def processes() -> str:
    """The same network and training under other processes."""
    found = read("crystals-processes")["results"]
    rows = []
    for name, row in found.items():
        process, _, settings = name.partition(": ")
        told = [s for s in settings.split(", ") if s not in (row["solver"], row["grid"])]
        rows.append(_prediction(", ".join([process, *told]), row))
    return lines(["process", *_PREDICTION[1:]], rows)


def generation(name: str = "crystals-mp20-ab-initio") -> str:
    """What a model makes from nothing, beside real crystals and beside training crystals in its place."""
    result = read(name)
    label, row = next(iter(result["results"].items()))
    rows = []
    for figure in row["figures"].values():
        cell = (
            percent
            if figure["kind"] == "share"
            else number(3 if figure["kind"] == "distance" else 2)
        )
        shown = (figure["value"], figure["reference"], figure["floor"])
        rows.append([figure["label"], *map(cell, shown), str(figure["over"])])
    covered = row.get("coverage", {})
    for key, text in (("recall", "COV-R"), ("precision", "COV-P")):
        if covered:
            model, floor = covered["model"], covered["training crystals"]
            rows.append(
                [text, percent(model[key]), NONE, percent(floor[key]), str(model["generated"])]
            )
    head = [
        f"{label}, {row['generated']} crystals",
        "model",
        "test crystals",
        "training crystals",
        "over",
    ]
    return lines(head, rows)


def stability() -> str:
    """Stability by CHGNet, of generated crystals and of those that no model made."""
    rows = []
    for name, row in read("crystals-stability")["results"].items():
        cells = [
            percent(row.get(k)) for k in ("relaxed", "stable_0.1", "sun_mattergen", "sun_zero")
        ]
        above, energy = number(3)(row["above_hull"]), number(3)(row.get("energy"))
        rows.append([name, str(int(row["generated"])), *cells, above, energy])
    head = ["crystals", "n", "relaxed", "below .1 eV", "S.U.N. at .1 (MatterGen)", "S.U.N. at 0"]
    return lines([*head, "of the relaxed, mean above the hull, eV", "W1 of the energy, eV"], rows)


def energies() -> str:
    """Error of the learned heat of formation of Perov-5."""
    rows = []
    for name, row in read("crystals-property")["results"].items():
        error = f"{row['mae']:.3f} ± {row['standard_error']:.3f}"
        order = percent(row["order"]) if "order" in row else NONE
        rows.append([name, error, order, str(row.get("steps", NONE))])
    return lines(["heat of formation", "mean error, eV per atom", "order of twins", "steps"], rows)


def guidance() -> str:
    """Sampling with and without that energy."""
    rows = []
    for name, row in read("crystals-guidance")["results"].items():
        lower = f"{100 * row['lower']:.1f} ± {100 * row['lower_standard_error']:.1f} %"
        calls = str(row["network_calls_per_structure"])
        cells = [calls, lower, percent(row["upper"]), percent(row["valid"])]
        rows.append([name, *cells, number(3)(row["predicted_energy"])])
    head = [
        "sampling",
        "network calls",
        "lower twin",
        "upper twin",
        "valid",
        "predicted heat, eV per atom",
    ]
    return lines(head, rows)


def speed() -> str:
    """The periodic network and its flow beside the same computed as published."""
    rows = []
    for name, row in read("crystals-speed")["results"].items():
        ours = row["steps_cpu_seconds" if "draws" in name else "ours_cpu_seconds"]
        label = f"{name}, N = 1000" if "draws" in name else f"{name} sites"
        theirs = row["published_cpu_seconds"]
        rows.append([label, f"{ours:.3f}", f"{theirs:.3f}", f"{ours / theirs:.2f}"])
    return lines(["CPU seconds, one thread", "sciflow", "as published", "ratio"], rows)
