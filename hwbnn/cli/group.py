"""The group of all commands: loads a command's module when it is called, and turns failures into one line."""

import shlex
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from hwbnn.cli.failures import INTERRUPTED, REFUSED, explain
from hwbnn.errors import UserError
from hwbnn.version import __version__

__all__ = ["COMMANDS", "app", "check", "command_line", "main"]


class Entry(NamedTuple):
    """Where a command lives, and its line in the list of commands."""

    module: str
    summary: str
    panel: str


_JOB, _MODEL, _HARDWARE = "The main job, step by step", "Models", "Hardware"
COMMANDS = {
    "demo": Entry("demo", "Do all of the below on real digits, and compare what comes out.", _JOB),
    "train": Entry("train", "Train a network and export it as QONNX.", _JOB),
    "compile": Entry("compile", "Turn a model into Verilog for a board, in a build directory.", _JOB),
    "simulate": Entry("simulate", "Run the Verilog on images; every output must equal the model's.", _JOB),
    "estimate": Entry("estimate", "Predict cycles, logic, memories and energy, without synthesis.", _JOB),
    "synth": Entry("synth", "Synthesize, place and route; write a bitstream.", _JOB),
    "report": Entry("report", "Write one page about a build: report.html.", _JOB),
    "calibrate": Entry("calibrate", "Fit the estimates of a chip to the tools.", _HARDWARE),
    "eval": Entry("evaluate", "Classify images with a model, in exact integers.", _MODEL),
    "infer": Entry("infer", "Classify images fast, bit-packed, on the processor or a GPU.", _MODEL),
    "inspect": Entry("inspect", "Show the layers of a model, and what became of them.", _MODEL),
    "weights": Entry("weights", "Write retrained weights for a build to load.", _HARDWARE),
    "run": Entry("run", "Classify images on a board, over its serial port.", _HARDWARE),
    "faults": Entry("faults", "Flip bits of the memories, and see what becomes of the accuracy.", _HARDWARE),
    "sim": Entry("sim", "Write a cocotb bench that runs without this package: sim export.", _HARDWARE),
    "boards": Entry("boards", "List the boards.", _HARDWARE),
}

_INTERRUPTED = "Interrupted; what was complete before is kept"
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # typer brings its own click, or uses one


class Commands(TyperGroup):
    """All commands by name; only the one that is called is imported."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in for the list of commands: its name and summary."""
        if cmd_name not in COMMANDS:
            return None
        entry = COMMANDS[cmd_name]
        return TyperCommand(cmd_name, help=entry.summary, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if name in COMMANDS:
            module = import_module(f"hwbnn.cli.{COMMANDS[name].module}")
            return name, get_command(module.app), args[1:]
        if ctx.resilient_parsing:
            return None, None, args[1:]
        near = get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; `hwbnn --help` lists them"
        raise UserError(f"Command must be one that hwbnn has, not {name}{hint}")

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None,
             complete_var: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args) or ["--help"]
        try:
            status = super().main(words, "hwbnn", complete_var, standalone_mode=False, **extra)
        except _UsageError as error:
            _fail(_usage(error), REFUSED)
        except typer.Abort:
            _fail(_INTERRUPTED, INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        ctx.meta["hwbnn.args"] = [*ctx._protected_args, *ctx.args]
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            _fail(str(error) or _INTERRUPTED, INTERRUPTED)
        except BrokenPipeError:
            raise  # the reader of our output went away: typer ends quietly
        except Exception as error:
            line = explain(error, ctx.invoked_subcommand or "")
            if line is None:
                raise
            _fail(line, REFUSED)


def check(words: Sequence[str]) -> None:
    """Parse a command line without running it. Raises :class:`UserError` where it is not accepted."""
    root = get_command(app)
    try:
        with root.make_context("hwbnn", list(words)) as ctx:
            name, command, rest = root.resolve_command(ctx, [*ctx._protected_args, *ctx.args])  # pyright: ignore[reportAttributeAccessIssue]  # a group
            command.make_context(name, rest, parent=ctx)
    except _UsageError as error:
        raise UserError(_usage(error)) from None
    except typer.Exit:
        pass  # --help and --version are answered while parsing


def command_line(ctx: typer.Context) -> str:
    """The command as the user typed it, for provenance."""
    return shlex.join(["hwbnn", *ctx.meta["hwbnn.args"]])


def changed(command: str, option: str, value: str) -> str:
    """A command line with another value of an option, at its end."""
    words, kept = iter(shlex.split(command)), []
    for word in words:
        if word == option:
            next(words, None)
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return shlex.join([*kept, option, value])


def _usage(error: Any) -> str:
    """One line of a usage error, with the command whose help tells more."""
    path = error.ctx.command_path if error.ctx else "hwbnn"
    text = " ".join(error.format_message().split()).rstrip(".")
    return f"{text}; see `{path} --help`"


def _fail(line: str, status: int) -> NoReturn:
    print(f"hwbnn: {line}", file=sys.stderr)
    raise SystemExit(status)


def _version(asked: bool):
    if asked:
        print(f"hwbnn {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Commands, rich_markup_mode="rich", pretty_exceptions_enable=False, no_args_is_help=True,
                  context_settings={"help_option_names": ["-h", "--help"]})


@app.callback()
def hwbnn(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True,
                                                help="Print the version and exit.")] = False):
    """Binarized, ternary and low-bit networks on FPGAs: train, generate, simulate, estimate.

    Start with [bold]hwbnn demo[/bold]; every command explains itself with [bold]--help[/bold].
    """


def main() -> None:
    """Run the command line."""
    app()
