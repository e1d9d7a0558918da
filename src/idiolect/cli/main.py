"""The ``idiolect`` command: finds a verb's file when it is used, and turns every end into an exit
code and at most one line on stderr. Knows the verbs' names; knows nothing of what they do.
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
    "demo": ("demo", "The whole way on real people, in minutes."),
    "import": ("import_data", "Turn a foreign export into a dataset folder."),
    "inspect": ("inspect_data", "Show what a dataset holds."),
    "adapt": ("adapt", "Teach the base model a task on other people."),
    "profile": ("profile", "Write a short text about each person."),
    "personalize": ("personalize", "Train the adapters of those who need one."),
    "merge": ("merge", "Take the parts of a sharded run into their store."),
    "consent": ("consent", "Record who agrees to share, or list it."),
    "share": ("share", "Put pieces of adapters into a pool, of people who agreed."),
    "assemble": ("assemble", "Put together adapters for newcomers, without training."),
    "pool": ("pool", "Report on a pool: who helps whom, and what it costs."),
    "withdraw": ("withdraw", "Take somebody's pieces out of a pool, and what was made of them."),
    "mean": ("mean", "Make one adapter of many people's, to start others from."),
    "predict": ("predict", "Answer one question as one person would."),
    "evaluate": ("evaluate", "Compare methods on the same people and questions."),
    "export": ("export", "Hand out one person's adapter in PEFT's format."),
    "import-adapter": ("import_adapter", "Take an adapter in PEFT's format into a store."),
    "play": ("play", "Play the word game in the browser."),
    "nyms": ("nyms", "Data out of the word game: pairs, histories, a classifier."),
    "unlearn": ("unlearn", "Take knowledge out of a base model or an adapter."),
    "scorecard": ("scorecard", "Measure whether unlearning worked, and what it cost."),
    "forget": ("forget", "Forget a person, or some of their records, everywhere."),
}
"""Each verb's module and its line in the list, in the order in which they are used.

The line stands here, since reading it from the verb would import all of them for one ``--help``."""

EXIT_INTERRUPTED = 130
"""What shells expect of a process that Ctrl-C ended: 128 + SIGINT."""


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in their own order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command; ``None`` where there is no such verb."""
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(f"idiolect.cli.commands.{COMMANDS[cmd_name][0]}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown verb names the nearest ones."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib  # a third of the time that --help takes

            near = difflib.get_close_matches(name, COMMANDS)
            known = (
                f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(COMMANDS)}"
            )
            ctx.fail(f"no command {name!r}; {known}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the command line and exit: 0 done, 1 failed, 2 asked wrongly, 130 interrupted."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            code = super().main(*args, standalone_mode=False, **extra)
            sys.stdout.flush()
        except Exception as error:
            _exit_with_error(error)
        sys.exit(code if isinstance(code, int) else 0)


def _exit_with_error(error: Exception) -> NoReturn:
    """Say in one line what went wrong, and exit with the code that fits."""
    if os.environ.get("IDIOLECT_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error)
    match error:
        case click.exceptions.NoArgsIsHelpError():
            error.show()
        case click.Abort():  # click's name for Ctrl-C
            click.echo("stopped; run the same command again to go on", err=True)
            sys.exit(EXIT_INTERRUPTED)
        case click.ClickException():
            print_error(error.format_message())
            if isinstance(error, click.UsageError) and error.ctx:
                click.echo(f"try: {error.ctx.command_path} --help", err=True)
            sys.exit(error.exit_code)
        case IdiolectError():
            print_error(str(error))
            sys.exit(error.exit_code)
        case BrokenPipeError():
            # Whoever read our output has gone; python would complain once more when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        case OSError(filename=str(file), strerror=str(reason)):
            print_error(f"{file}: {reason}")
        case _:
            told = f"{type(error).__name__}: {error}".strip(": ")
            print_error(f"{told} (unexpected; IDIOLECT_DEBUG=1 shows where)")
    sys.exit(2 if isinstance(error, click.UsageError) else 1)


def print_error(text: str) -> None:
    """``error: TEXT`` on stderr, in red on a terminal."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {text}", err=True)


@click.group(
    "idiolect",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="Every verb takes --help. Exit codes: 0 done, 1 it could not be done, 2 it was asked "
    "for wrongly, 130 stopped with Ctrl-C. Set IDIOLECT_DEBUG=1 to see where an error comes from.",
)
@click.version_option(__version__, prog_name="idiolect", message="%(prog)s %(version)s")
def main() -> None:
    """Give every person a language model of their own: one small adapter each, trained on what
    that person wrote and chose, on a shared base model that never changes."""
