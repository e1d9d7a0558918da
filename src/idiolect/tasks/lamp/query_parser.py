"""Takes the query strings of the LaMP benchmark apart; knows no task and no file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from idiolect.errors import DataError

_SLOT = re.compile(r"\{(\w*)\}")


def make_query_parser(task: str, template: str) -> Callable[[str], Mapping[str, str]]:
    """A function from a query string to its fields.

    ``{name}`` in the template is a field, ``{}`` a part that is not kept. Case and the amount of
    white space in the wording do not matter (the benchmark's releases differ in both); fields are
    stripped at both ends. The function raises DataError where the wording does not match or a
    field is empty.
    """
    pattern = _compile_template(template)

    def parse_query(text: str) -> Mapping[str, str]:
        found = pattern.fullmatch(text.strip())
        if found is None:
            raise DataError(
                f"{task}: not a query of this task: {text[:120]!r}",
                hint=f"expected the benchmark's wording: {template!r}",
            )
        fields = {name: value.strip() for name, value in found.groupdict().items()}
        for name, value in fields.items():
            if not value:
                raise DataError(f"{task}: the query's {name} is empty: {text[:120]!r}")
        return fields

    return parse_query


def _compile_template(template: str) -> re.Pattern[str]:
    # split() with one group gives literal, slot, literal, slot, ..., literal
    parts = _SLOT.split(template)
    pieces = [
        (f"(?P<{part}>.*?)" if part else ".*?") if place % 2 else _escape_literal(part)
        for place, part in enumerate(parts)
    ]
    return re.compile("".join(pieces), re.IGNORECASE | re.DOTALL)


def _escape_literal(text: str) -> str:
    words = r"\s+".join(map(re.escape, text.split()))
    # A quote mark belongs to its field; anything else may be set off by any white space.
    before = r"\s*" if text[:1].isspace() else ""
    after = r"\s*" if text[-1:].isspace() else ""
    return before + words + after
