"""Film rating, 1 to 5: what a person will think of a film, from its title, year and genres.

Queries and items have ``title`` and ``rating``, and ``year`` and ``genres`` if known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from idiolect.errors import DataError
from idiolect.history.interaction import Interaction
from idiolect.tasks.task import Prompt, Task

# "Title (1995)", or "Title (1995), Genre, Genre". The title may contain parentheses.
_FILM_PATTERN = re.compile(
    r"(?P<title>.*?\S)\s*\((?P<year>\d{4})\)(?:\s*,\s*(?P<genres>\S.*))?", re.DOTALL
)


def _format_film(item: Interaction) -> str:
    """Format the title with its year, unless the title already ends with it."""
    title, year = item.fields["title"], item.fields.get("year", "")
    return title if not year or title.endswith(f"({year})") else f"{title} ({year})"


def _format_genres(item: Interaction) -> str:
    """Join genres separated by ``|`` or commas with ", "."""
    return ", ".join(part.strip() for part in re.split(r"[|,]", item.fields.get("genres", "")))


def _describe_film(item: Interaction) -> str:
    return ", ".join(filter(None, (_format_film(item), _format_genres(item))))


def _build_search_text(item: Interaction) -> str:
    return f"{item.fields['title']} {_format_genres(item)}".strip()


def _parse_film(text: str) -> Mapping[str, str]:
    """Parse "Title (1995), Genre, Genre"; raises DataError."""
    found = _FILM_PATTERN.fullmatch(text.strip())
    if found is None:
        raise DataError(
            f"rating: not a film: {text[:120]!r}",
            hint="expected 'Title (1995)' or 'Title (1995), Genre, Genre'",
        )
    return {name: value.strip() for name, value in found.groupdict().items() if value}


TASK = Task(
    name="rating",
    title="film rating",
    input_fields=("title",),
    history_fields=("title", "rating"),
    target_field="rating",
    metrics=("mae", "rmse"),
    prompt=lambda item: Prompt(before="Rate the film 1-5:\n", body=_describe_film(item)),
    retrieved_text=lambda item: f"{_format_film(item)}: {item.fields['rating']}",
    search_text=_build_search_text,
    index_text=_build_search_text,
    passage=lambda item: f"{_describe_film(item)}: {item.fields['rating']}",
    record_key=lambda item: None,
    parse_input=_parse_film,
    profile_question="Which films and genres does this person rate high, and which low? "
    "Answer in one sentence.",
    choices=("1", "2", "3", "4", "5"),
    decode="median",
    max_answer_tokens=4,
)
