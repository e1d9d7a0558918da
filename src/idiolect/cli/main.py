"""The ``idiolect`` command line: imports a command's module on first use, and turns each outcome
into an exit code and at most one error line on stderr.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn

import click

from idiolect import __version__
from idiolect.errors import IdiolectError

COMMANDS: Mapping[str, tuple[str, str]] = {
    # Data and training
    "demo": ("demo", "Train and compare adapters on real people, in minutes."),
    "import": ("import_data", "Convert an export into a dataset folder."),
    "base": ("base", "Check a base model before you use it."),
    "inspect": ("inspect_data", "Summarize a dataset."),
    "adapt": ("adapt", "Adapt the base model to a task on other people's data."),
    "profile": ("profile", "Write short textual profiles of each person."),
    "personalize": ("personalize", "Train one adapter for each person."),
    "merge": ("merge", "Merge the parts of a sharded run into their store."),
    # Sharing of pieces
    "consent": ("consent", "Record, revoke or list consent to sharing."),
    "share": ("share", "Add pieces of consenting people's adapters to a pool."),
    "assemble": ("assemble", "Assemble adapters for target users from a pool, without training."),
    "pool": ("pool", "Report on a pool: its sharers, their use, and their cost."),
    "withdraw": ("withdraw", "Remove a sharer's pieces from a pool, and what was made from them."),
    "mean": ("mean", "Average several people's adapters into one starting point."),
    # Use of adapters
    "predict": ("predict", "Answer one question with one person's adapter."),
    "evaluate": ("evaluate", "Compare methods on the same people and questions."),
    "export": ("export", "Write one person's adapter in PEFT's format."),
    "import-adapter": ("import_adapter", "Add an adapter in PEFT's format to a store."),
    # The word game
    "play": ("play", "Play the word game in the browser."),
    "nyms": ("nyms", "Export and analyze the word game's data, and back it up."),
    # Unlearning and deletion
    "unlearn": ("unlearn", "Remove knowledge from a base model or an adapter."),
    "scorecard": ("scorecard", "Measure whether unlearning worked, and what it cost."),
    "forget": ("forget", "Delete a person, or some of their records, everywhere."),
    "suppressed": ("suppressed", "Show a suppression list, or take people off it."),
}
"""Module and summary of each command, in the order of ``--help``.

The summaries are repeated here because reading them from the commands would import all modules."""

EXIT_INTERRUPTED = 130
"""Exit code of a process that Ctrl-C stopped, by shell convention: 128 + SIGINT."""


class LazyGroup(click.Group):
    """A click group that imports a command's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names in the order of ``COMMANDS``."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; ``None`` if there is no command of that name.

        The module ``adapt`` defines ``adapt_command``, and so on.
        """
        if cmd_name not in COMMANDS:
            return None
        name, _ = COMMANDS[cmd_name]
        module = importlib.import_module(f"idiolect.cli.commands.{name}")
        return getattr(module, f"{name}_command")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve a command as click does; the error for an unknown one suggests similar names."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib  # not at the top: it would take a third of the time of --help

            near = difflib.get_close_matches(name, COMMANDS)
            known = (
                f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(COMMANDS)}"
            )
            ctx.fail(f"no command {name!r}; {known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing their modules."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line and exit: 0 success, 1 failure, 2 wrong usage, 130 interrupted."""
        # Click's own error handling is off: `_exit_with_error` also knows our errors.
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            code = super().main(*args, standalone_mode=False, **extra)
            sys.stdout.flush()  # so that a closed pipe raises BrokenPipeError here
        except Exception as error:
            _exit_with_error(error)
        sys.exit(code if isinstance(code, int) else 0)


def _exit_with_error(error: Exception) -> NoReturn:
    """Print the error as one line on stderr and exit with its code."""
    # The traceback comes first, so that the last line is always the error.
    if os.environ.get("IDIOLECT_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    match error:
        case click.exceptions.NoArgsIsHelpError():
            error.show()  # prints the help page
        case click.Abort():  # click's name for Ctrl-C
            click.echo("stopped; run the same command again to resume", err=True)
            sys.exit(EXIT_INTERRUPTED)
        case click.ClickException():
            # Wrong usage: also point to the help of the command in question.
            print_error(error.format_message())
            if isinstance(error, click.UsageError) and error.ctx:
                click.echo(f"try: {error.ctx.command_path} --help", err=True)
            sys.exit(error.exit_code)
        case IdiolectError():
            print_error(str(error))
            sys.exit(error.exit_code)
        case BrokenPipeError():
            # The reader of the pipe has exited. Without a new stdout, Python would print another
            # error at exit, when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        case OSError(filename=str(file), strerror=str(reason)):
            print_error(f"{file}: {reason}")
        case _:
            # A bug, or a library's error that no code expected.
            text = f"{type(error).__name__}: {error}".strip(": ")
            print_error(f"{text} (unexpected; set IDIOLECT_DEBUG=1 to see the traceback)")
    sys.exit(2 if isinstance(error, click.UsageError) else 1)


def print_error(text: str) -> None:
    """Print ``error: TEXT`` on stderr, in red on a terminal."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True)


@click.group(
    "idiolect",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Run 'idiolect COMMAND --help' for the options of a command. Exit codes: 0 success, "
    "1 failure, 2 wrong usage, 130 stopped with Ctrl-C. Set IDIOLECT_DEBUG=1 to see the traceback "
    "of an error.",
)
@click.version_option(__version__, prog_name="idiolect", message="%(prog)s %(version)s")
def main() -> None:
    """Train one small adapter for each person on a shared base model.

    An adapter learns from what the person wrote and chose. The base model never changes.
    """
