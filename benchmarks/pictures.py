"""The pictures of README.md, drawn from the shipped models by its own commands.

    python benchmarks/pictures.py

Molecules of `qm9`, a perovskite of `mp20`, and an ensemble of `burgers` from an initial state that it has not seen.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
COMMANDS = (
    "generate molecules -n 12 --seed 0 -o new.smi",
    "generate crystals --formula SrTiO3 -n 4 -o strontium.cif",
    "simulate burgers -n 1 --start 2000 -o u0.nc",
    "generate fields -n 6 --given u0.nc -o ensemble.nc",
    "show new.smi -o {}/molecules.png",
    "show strontium.cif -o {}/crystals.png",
    "show ensemble.nc -o {}/fields.png",
)


def main() -> None:
    """Run the commands in a folder that is thrown away."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            print("sciflow", command.format("docs/pictures"), flush=True)
            words = command.format(PICTURES).split()
            subprocess.run([sys.executable, "-m", "sciflow", *words], cwd=folder, check=True)


if __name__ == "__main__":
    main()
