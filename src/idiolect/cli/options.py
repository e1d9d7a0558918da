"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from idiolect.cli.overrides import ConfigOverrides, merge_settings, parse_settings
from idiolect.errors import MissingError

F = TypeVar("F", bound=Callable[..., Any])
PATH_TYPE = click.Path(path_type=Path)

# Arguments and options that mean the same in all commands.
data_argument = click.argument("data", type=PATH_TYPE)
store_argument = click.argument("store", type=PATH_TYPE)
store_option = click.option(
    "--store",
    type=PATH_TYPE,
    required=True,
    help="Folder of the adapters; created if it is missing.",
)
profiles_option = click.option(
    "--profiles",
    type=PATH_TYPE,
    help="Folder of profiles to put into the prompts (PAG).",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as one JSON document."
)
base_option = click.option(
    "--base",
    default="default",
    show_default=True,
    metavar="MODEL",
    help="Base model: 'default' (bundled), a folder, or hub:OWNER/NAME.",
)
# A store or pool records its base model and pool; these options give their new locations.
store_base_option = click.option(
    "--base", metavar="MODEL", help="Current location of the base model, if it has moved."
)
pool_moved_option = click.option(
    "--pool", type=PATH_TYPE, help="Current location of the recipes' pool, if it has moved."
)
person_option = click.option("--person", required=True, metavar="ID", help="Id of the person.")


def add_profiles_setting(overrides: ConfigOverrides, profiles: Path | None) -> ConfigOverrides:
    """Turn the setting ``context.profile`` on if a folder of profiles is given."""
    return add_settings(overrides, {"context.profile": True if profiles else None})


def add_settings(overrides: ConfigOverrides, values: Mapping[str, object]) -> ConfigOverrides:
    """Add the values that a command's own options gave; see ``merge_settings``."""
    return replace(overrides, settings=merge_settings(overrides.settings, values))


def out_option(help: str) -> Callable[[F], F]:
    """Add ``--out FOLDER``, required."""
    return click.option("--out", type=PATH_TYPE, required=True, help=help)


def people_options(help: str) -> Callable[[F], F]:
    """Add ``--person ID`` (repeatable) and ``--people-file FILE``; both become ``people``."""
    return _add_id_options("people", "--person", "--people-file", help)


def exclude_options(help: str) -> Callable[[F], F]:
    """Add ``--exclude ID`` (repeatable) and ``--exclude-file FILE``; both become ``exclude``."""
    return _add_id_options("exclude", "--exclude", "--exclude-file", help)


def _add_id_options(name: str, flag: str, file_flag: str, help: str) -> Callable[[F], F]:
    """Add an option for ids and one for a file of ids; pass the unique ids on as ``name``."""

    def decorate_command(command: F) -> F:
        # Click passes all options by keyword; `with_ids` replaces two of them with one.
        @functools.wraps(command)
        def with_ids(**values: Any) -> Any:
            ids = [*values.pop(f"{name}_named"), *_read_lines(values.pop(f"{name}_listed"))]
            return command(**{name: tuple(dict.fromkeys(ids))}, **values)

        # The two options have names of their own in click, so that --people can mean a number.
        named = click.option(
            flag, f"{name}_named", multiple=True, metavar="ID", help=f"{help} Repeatable."
        )
        listed = click.option(
            file_flag,
            f"{name}_listed",
            type=PATH_TYPE,
            help=f"File of ids for {flag}, one per line.",
        )
        return cast("F", named(listed(with_ids)))

    return decorate_command


def _read_lines(file: Path | None) -> list[str]:
    """Return a file's lines that are not blank. Raises MissingError if it cannot be read."""
    if file is None:
        return []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{file}: cannot read the list of people ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True, kw_only=True)
class ConfigOption:
    """The option of a config setting that is common enough to have its own option."""

    flag: str
    help: str
    value_type: Any = None
    """Click's type of the value; for a switch, the value that it sets."""
    is_switch: bool = False
    """Whether the option takes no value."""
    metavar: str | None = None


QUANTIZE_HELP = (
    "Linear layers of the base in 4 or 8 bits: nf4 or int8 (bitsandbytes), torchao-int8 (CPU), or"
)
CONFIG_OPTIONS: Mapping[str, ConfigOption] = {
    "rate": ConfigOption(flag="--rate", value_type=float, help="Learning rate."),
    "epochs": ConfigOption(
        flag="--epochs", value_type=int, help="Number of passes over the items."
    ),
    "rank": ConfigOption(
        flag="--rank", value_type=int, help="LoRA rank; updates are scaled by alpha / rank."
    ),
    "seed": ConfigOption(flag="--seed", value_type=int, help="Seed of all random choices."),
    "retrieval": ConfigOption(
        flag="--retrieval",
        value_type=str,
        metavar="KIND",
        help="Retriever of earlier items for the prompt: bm25, dense, recent, or random.",
    ),
    "k": ConfigOption(flag="--k", value_type=int, help="Number of retrieved items."),
    "gate": ConfigOption(
        flag="--no-gate",
        value_type=False,
        is_switch=True,
        help="Use adapters even if they do not help on held-out items.",
    ),
    "dtype": ConfigOption(
        flag="--dtype",
        value_type=str,
        metavar="TYPE",
        help="Data type: float32, bfloat16, or auto.",
    ),
    "quantize": ConfigOption(
        flag="--quantize",
        value_type=str,
        metavar="KIND",
        help=f"{QUANTIZE_HELP} none (default).",
    ),
    "device": ConfigOption(
        flag="--device", value_type=str, metavar="NAME", help="Device: cpu, cuda, mps, or auto."
    ),
}


def config_options(**options: str) -> Callable[[F], F]:
    """Add ``--config``, ``--set`` and some of ``CONFIG_OPTIONS``; they become ``overrides``.

    The keywords are keys of ``CONFIG_OPTIONS``; the values are the dotted names of the settings
    that the options set in the command's config.
    """

    def decorate_command(command: F) -> F:
        @functools.wraps(command)
        def with_config(**values: Any) -> Any:
            given = {name: values.pop(f"setting_{key}") for key, name in options.items()}
            settings = merge_settings(parse_settings(values.pop("settings")), given)
            overrides = ConfigOverrides(file=values.pop("config_file"), settings=settings)
            return command(overrides=overrides, **values)

        # Decorators apply from the inside out: reverse them to keep the order in --help.
        decorated = with_config
        for option in reversed([_make_option(name) for name in options] + _GENERAL_OPTIONS):
            decorated = option(decorated)
        return cast("F", decorated)

    return decorate_command


def _make_option(name: str) -> Callable[[Any], Any]:
    """Make the click option of one of ``CONFIG_OPTIONS``; its value is ``None`` if not given."""
    option, key = CONFIG_OPTIONS[name], f"setting_{name}"
    if option.is_switch:
        return click.option(
            option.flag, key, flag_value=option.value_type, default=None, help=option.help
        )
    return click.option(
        option.flag, key, type=option.value_type, metavar=option.metavar, help=option.help
    )


# All commands with a config take a file and single settings.
_GENERAL_OPTIONS = [
    click.option(
        "--config",
        "config_file",
        type=PATH_TYPE,
        help="TOML or JSON file of settings (see docs/cli.md).",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="One setting by its dotted name, e.g. train.rate=1e-4. Repeatable.",
    ),
]
