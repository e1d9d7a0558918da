"""A parser for the query strings of the LaMP benchmark."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from idiolect.errors import DataError

_FIELD = re.compile(r"\{(\w*)\}")


def make_query_parser(task: str, template: str) -> Callable[[str], Mapping[str, str]]:
    """Make a function that parses a query string into its fields.

    In the template, ``{name}`` is a field and ``{}`` is text to skip. Case and the amount of white
    space in the wording do not matter, because the benchmark's releases differ in both. Fields are
    stripped at both ends. The function raises DataError if the wording does not match or if a field
    is empty.
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
    # split() with one group returns literal, field, literal, field, ..., literal.
    """Compile a template into a regular expression with one named group per field."""
    parts = _FIELD.split(template)
    pieces = [
        (f"(?P<{part}>.*?)" if part else ".*?") if index % 2 else _escape_literal(part)
        for index, part in enumerate(parts)
    ]
    return re.compile("".join(pieces), re.IGNORECASE | re.DOTALL)


def _escape_literal(text: str) -> str:
    """Return a pattern for the template's own words, with any white space between them."""
    words = r"\s+".join(map(re.escape, text.split()))
    # White space around the words is optional where the template has it. A quote mark has none.
    before = r"\s*" if text[:1].isspace() else ""
    after = r"\s*" if text[-1:].isspace() else ""
    return before + words + after
