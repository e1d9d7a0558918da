"""Options and arguments that several verbs share, so that they read the same everywhere."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from idiolect.cli.overrides import ConfigOverrides, parse_setting
from idiolect.errors import MissingError

F = TypeVar("F", bound=Callable[..., Any])
PATH_TYPE = click.Path(path_type=Path)

data_argument = click.argument("data", type=PATH_TYPE)
store_argument = click.argument("store", type=PATH_TYPE)
store_option = click.option(
    "--store",
    type=PATH_TYPE,
    required=True,
    help="Folder of the adapters; made where it is missing.",
)
profiles_option = click.option(
    "--profiles",
    type=PATH_TYPE,
    help="Show the model each person's profile, from this folder (PAG).",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the result as JSON on stdout, nothing else."
)
base_option = click.option(
    "--base",
    default="default",
    show_default=True,
    metavar="MODEL",
    help="The base model: 'default' (embedded), a folder, or a hub id.",
)
store_base_option = click.option(
    "--base", metavar="MODEL", help="Where the store's base model lies now, if it has moved."
)
pool_moved_option = click.option(
    "--pool", type=PATH_TYPE, help="Where the pool of the recipes lies now, if it has moved."
)
person_option = click.option("--person", required=True, metavar="ID", help="Whose adapter.")


def add_profiles_setting(wanted: ConfigOverrides, profiles: Path | None) -> ConfigOverrides:
    """Naming profiles asks for them to be shown."""
    said = (("context.profile", True),) if profiles else ()
    return replace(wanted, settings=(*wanted.settings, *said))


def out_option(what: str) -> Callable[[F], F]:
    """``--out``, required: where the result goes."""
    return click.option("--out", type=PATH_TYPE, required=True, help=what)


def people_options(what: str) -> Callable[[F], F]:
    """``--person ID`` (repeatable) and ``--people-file FILE``, passed on as ``people``."""
    return _add_id_options("people", "--person", "--people-file", what)


def exclude_options(what: str) -> Callable[[F], F]:
    """``--exclude ID`` (repeatable) and ``--exclude-file FILE``, passed on as ``exclude``."""
    return _add_id_options("exclude", "--exclude", "--exclude-file", what)


def _add_id_options(name: str, one: str, file: str, what: str) -> Callable[[F], F]:
    def decorate_command(command: F) -> F:
        @functools.wraps(command)
        def with_ids(**values: Any) -> Any:
            ids = [*values.pop(f"{name}_named"), *_read_lines(values.pop(f"{name}_listed"))]
            return command(**{name: tuple(dict.fromkeys(ids))}, **values)

        named = click.option(
            one, f"{name}_named", multiple=True, metavar="ID", help=f"{what} Repeatable."
        )
        listed = click.option(
            file, f"{name}_listed", type=PATH_TYPE, help=f"The ids for {one}, one a line."
        )
        return cast("F", named(listed(with_ids)))

    return decorate_command


def _read_lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{file}: cannot read the list of people ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


@dataclass(frozen=True, kw_only=True)
class ConfigOption:
    """A setting that is common enough to have an option of its own."""

    flag: str
    help: str
    value_type: Any = None
    """Click's type of the value; for a switch without a value, the value that it stands for."""
    is_switch: bool = False
    metavar: str | None = None


CONFIG_OPTIONS = {
    "rate": ConfigOption(flag="--rate", value_type=float, help="Learning rate."),
    "epochs": ConfigOption(
        flag="--epochs", value_type=int, help="Times that every item is trained on."
    ),
    "rank": ConfigOption(
        flag="--rank", value_type=int, help="Rank of the adapters; they are scaled by alpha / rank."
    ),
    "seed": ConfigOption(flag="--seed", value_type=int, help="Seed of every draw."),
    "retrieval": ConfigOption(
        flag="--retrieval",
        value_type=str,
        metavar="KIND",
        help="Show earlier items found by: bm25, dense, recent, random.",
    ),
    "k": ConfigOption(flag="--k", value_type=int, help="How many items are shown."),
    "gate": ConfigOption(
        flag="--no-gate",
        value_type=False,
        is_switch=True,
        help="Keep adapters that do not help, too.",
    ),
    "dtype": ConfigOption(
        flag="--dtype", value_type=str, metavar="TYPE", help="float32, bfloat16, or auto."
    ),
    "device": ConfigOption(
        flag="--device", value_type=str, metavar="NAME", help="cpu, cuda, mps, or auto."
    ),
}


def config_options(**dials: str) -> Callable[[F], F]:
    """``--config``, ``--set`` and the named dials, passed on as ``wanted``.

    Each dial is given the dotted name of the setting that it stands for.
    """

    def decorate_command(command: F) -> F:
        @functools.wraps(command)
        def with_config(**values: Any) -> Any:
            said = [parse_setting(text) for text in values.pop("settings")]
            for name, setting in dials.items():
                value = values.pop(f"dial_{name}")
                if value is not None:
                    said.append((setting, value))
            wanted = ConfigOverrides(file=values.pop("config_file"), settings=tuple(said))
            return command(wanted=wanted, **values)

        decorated = with_config
        for option in reversed([_make_option(name) for name in dials] + _GENERAL_OPTIONS):
            decorated = option(decorated)
        return cast("F", decorated)

    return decorate_command


def _make_option(name: str) -> Callable[[Any], Any]:
    dial = CONFIG_OPTIONS[name]
    if dial.is_switch:
        return click.option(
            dial.flag, f"dial_{name}", flag_value=dial.value_type, default=None, help=dial.help
        )
    return click.option(
        dial.flag, f"dial_{name}", type=dial.value_type, metavar=dial.metavar, help=dial.help
    )


_GENERAL_OPTIONS = [
    click.option(
        "--config",
        "config_file",
        type=PATH_TYPE,
        help="Settings in a TOML or JSON file (docs/cli.md).",
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        help="Any one setting by its dotted name, e.g. train.rate=1e-4. Repeatable.",
    ),
]
