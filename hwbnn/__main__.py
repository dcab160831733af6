"""``python -m hwbnn``: the command line."""

from hwbnn.cli import main

main()
