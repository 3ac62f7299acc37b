"""Tables of docs/fields.md on rivals, control, super-resolution and rollouts (see `tables`)."""

from __future__ import annotations

from tables import NONE, lines, number, read


def rivals(equation: str) -> str:
    """Wavelet diffusion and its rivals at equal training budget; the longest budget first, by nRMSE."""
    columns = {
        "minutes": ("CPU min", number(0)),
        "steps": ("steps", number(0)),
        "nrmse": ("nRMSE, one", number(3)),
        "ensemble_nrmse": ("nRMSE, mean of 8", number(3)),
        "mse": ("MSE", number(4)),
        "l_inf": ("largest error", number(2)),
        "abrupt": ("steepest tenth", number(3)),
        "crps": ("fair CRPS", number(4)),
        "spread_skill": ("spread-skill", number(2)),
        "cpu_s_per_trajectory": ("CPU s each", number(4)),
    }
    found = read(f"fields-{equation}-rivals")["results"]
    order = sorted(found, key=lambda n: (-found[n].get("minutes", 0), found[n]["nrmse"]))
    rows = []
    for name in order:
        row = found[name]
        cells = [cell(row.get(column)) for column, (_, cell) in columns.items()]
        label = (name.rpartition("-")[0] or name).replace("-", " ")
        forward = found.get(f"fno-{row.get('minutes', 0):g}")
        cost = row["cpu_s_per_trajectory"] / forward["cpu_s_per_trajectory"] if forward else None
        shipped = f" (shipped `{row['model']}`)" if "model" in row else ""
        rows.append([label + shipped, *cells, number(2)(cost)])
    head = ["", *(head for head, _ in columns.values()), "in FNO forwards"]
    return lines(head, rows)


def control() -> str:
    """J of generated forces, tried on the solver, beside the rivals."""
    found = read("fields_control")["results"]
    efforts = [name for name in found if name.startswith("effort ")]
    rows = []

    def row(label: str, path: tuple[str, ...]) -> None:
        cells = []
        for effort in efforts:
            value = found[effort]
            for key in path:
                value = value.get(key, {}) if isinstance(value, dict) else {}
            cells.append(number(4)(value) if isinstance(value, float) else NONE)
        rows.append([label, *cells])

    row("no force", ("uncontrolled", "J"))
    row("proportional feedback", ("proportional", "J"))
    row("model, one answer", ("model", "one_answer", "J"))
    row("model, best of 4", ("model", "best_of_4_J"))
    row("model guided by its own J, one answer", ("model, guided", "one_answer", "J"))
    row("model guided by its own J, best of 4", ("model, guided", "best_of_4_J"))
    row("model guided through the solver, first tasks", ("model, guided by the solver", "J"))
    row("L-BFGS through the solver, first tasks", ("descend", "J"))
    return lines(
        ["J on the solver", *(effort.replace("effort", "energy x") for effort in efforts)], rows
    )


def superresolution() -> str:
    """Mean square error on finer grids than any training had."""
    found = read("fields_superresolution")["results"]
    grids = [name for name in found if " x " in name]
    rows = []
    for label, key in (
        ("linear interpolation of `burgers`", "linear"),
        ("spectral interpolation of `burgers`", "spectral"),
        ("`burgers` itself on this grid", "zero-shot"),
        ("super-resolution of `burgers`", "model"),
        ("linear interpolation of the truth", "linear of the truth"),
        ("super-resolution of the truth", "model of the truth"),
    ):
        cells = [number(5)(found[grid].get(key, {}).get("mse")) for grid in grids]
        rows.append([label, *cells])
    return lines(["mean square error", *grids], rows)


def rollout() -> str:
    """Models of blocks carried on, beside a model of whole trajectories, and other ways to ensembles."""
    found = read("fields_rollout")["results"]
    rows = []
    for name, row in found.items():
        if not isinstance(row, dict):
            continue
        late = row.get("at 16", {})
        rows.append(
            [
                name,
                number(1)(row.get("correlation_time_of_mean", row.get("correlation_time"))),
                number(1)(row.get("correlation_time_of_one")),
                number(3)(late.get("fair_crps")),
                number(2)(late.get("spread_skill")),
            ]
        )
    head = [
        "",
        "time of correlation > .8, mean",
        "one sample",
        "fair CRPS at 16",
        "spread-skill at 16",
    ]
    return lines(head, rows)
