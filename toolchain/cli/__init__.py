"""The commands, one per file, and what all of them promise: a mistake is one sentence on stderr and exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click

from ..errors import described, sentence

COMMANDS = ("explain", "pack", "inspect", "run", "verify", "bench", "tune", "convert", "demo")
INTERRUPTED = 130
BROKEN_PIPE = 141
"""Exit codes that shells give for SIGINT and SIGPIPE."""


class Commands(click.Group):
    """Loads a command when it is needed, so that none waits for what another one imports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{cmd_name}", __name__).command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0]!r}; the commands are {', '.join(COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


def _say_version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"thinfer, version {version('thinfer')}")
    except PackageNotFoundError:
        click.echo(f"thinfer, of the source tree {Path(__file__).resolve().parents[2]}, which is not installed")
    context.exit()


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_say_version, help="Show the version and exit.")
def commands() -> None:
    """Packs a trained network into a small .thin file, and shows what that cost and gained."""


def execute(arguments: Sequence[str]) -> int:
    """Runs one command; returns the exit code. Whatever goes wrong is one sentence on stderr, and never a traceback.

    Where the environment has THINFER_TRACEBACK=1, what is a defect of the program is raised instead.
    """
    _open_closed_streams()
    try:
        with commands.make_context("toolchain", list(arguments) or ["--help"]) as context:
            commands.invoke(context)
        sys.stdout.flush()
        return 0
    except click.exceptions.Exit as done:  # --help and --version
        return done.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "toolchain"
        text = error.format_message().rstrip(".")
        return _failed(f"{text[:1].lower()}{text[1:]} (see {path} --help)")
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _discard_output()
        return BROKEN_PIPE
    except BaseException as error:  # SystemExit too: a model's own code may raise it
        said = sentence(error)
        if said is None and os.environ.get("THINFER_TRACEBACK") == "1":
            raise
        _discard_output()
        return _failed(said or f"this is a bug in Thinfer: {described(error)}; set THINFER_TRACEBACK=1 to see where")


def _open_closed_streams() -> None:
    """Stands in for a stream that is closed (``>&-``): what a command prints fails, what it says of a failure gets lost."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def _discard_output() -> None:
    """Has what is still buffered for stdout go nowhere, or Python would complain of it when it flushes at exit."""
    with suppress(OSError, ValueError):  # where stdout is no file, as in tests, there is nothing to do
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _failed(text: str) -> int:
    with suppress(OSError):  # there is nobody to tell if stderr cannot be written either
        print(f"toolchain: {text}", file=sys.stderr)
    return 2
