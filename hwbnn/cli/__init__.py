"""The command ``hwbnn``: one module per group of commands, loaded when a command of it is called."""

from hwbnn.cli.group import app, check, main

__all__ = ["app", "check", "main"]
