"""The domains: each is a folder `domains/<name>`, imported as ``sciflow.domains.<name>``."""

from pathlib import Path

_root = Path(__file__).resolve().parents[2]
if (_root / "pyproject.toml").is_file():  # a checkout; in a wheel the domains lie in this folder
    __path__.append(str(_root / "domains"))
