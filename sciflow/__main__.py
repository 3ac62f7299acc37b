"""``python -m sciflow``: the command line."""

from .cli import main

main()
