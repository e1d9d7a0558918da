"""The facts writer: profiles without a model, from counts over a person's items."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from bm25s.stopwords import STOPWORDS_EN_PLUS  # pyright: ignore[reportMissingTypeStubs]

from idiolect.history.interaction import Interaction
from idiolect.tasks.task import Task

STATEMENT_SIZE = 3
"""Maximum labels, genres or items in a statement, and minimum ratings of a genre to name it."""
MAX_FREQUENT_WORDS = 8
"""Maximum frequent words in a profile."""
_WORD = re.compile(r"[^\W\d_]{3,}")


def build_fact_profile(items: Sequence[Interaction], task: Task) -> str:
    """Return one to three plain sentences about the items; empty without items."""
    answers = [task.target(item) or "" for item in items] if task.labeled else []
    if task.decode == "median":
        return _describe_scores(items, answers)
    if task.labeled and task.choices:
        return _describe_labels(answers)
    return _describe_texts(answers or [task.passage(item) for item in items])


def _describe_scores(items: Sequence[Interaction], answers: Sequence[str]) -> str:
    """Describe ratings: mean, median and count, then genres rated above and below the mean."""
    scored = [(i, float(a)) for i, a in zip(items, answers, strict=True) if a.strip().isdigit()]
    if not scored:
        return ""
    scores = [score for _, score in scored]
    text = f"Mean rating {fmean(scores):.1f}, median {median(scores):g}, of {len(scores)}."
    # Mean rating per genre, for genres with enough ratings.
    genres: dict[str, list[float]] = {}
    for item, score in scored:
        for genre in filter(None, map(str.strip, re.split(r"[|,]", item.fields.get("genres", "")))):
            genres.setdefault(genre, []).append(score)
    return text + _describe_likes(
        {g: fmean(s) for g, s in genres.items() if len(s) >= STATEMENT_SIZE}, fmean(scores)
    )


def _describe_likes(means: Mapping[str, float], middle: float) -> str:
    """Name the genres with the highest means above ``middle``, and the lowest below it."""
    # Ties in alphabetical order, so that the text is always the same.
    high = sorted((-mean, genre) for genre, mean in means.items() if mean > middle)
    low = sorted((mean, genre) for genre, mean in means.items() if mean < middle)
    said = [
        f" Rates {word}: {', '.join(genre for _, genre in group[:STATEMENT_SIZE])}."
        for word, group in (("high", high), ("low", low))
        if group
    ]
    return "".join(said)


def _describe_labels(answers: Sequence[str]) -> str:
    """Name the most frequent labels with their shares."""
    common = sorted(Counter(filter(None, answers)).items(), key=lambda pair: (-pair[1], pair[0]))
    total = sum(count for _, count in common)
    named = [f"{label} ({count / total:.0%})" for label, count in common[:STATEMENT_SIZE]]
    return f"Most often: {', '.join(named)}." if named else ""


def _describe_texts(texts: Sequence[str]) -> str:
    """Describe texts: usual length and frequent words."""
    lengths = [len(text.split()) for text in texts if text.strip()]
    if not lengths:
        return ""
    said = f"Usual length {median(lengths):g} words."
    # Count a word once per text: repetition within one text is not a habit.
    seen = Counter(word for text in texts for word in set(_WORD.findall(text.lower())))
    frequent = [(-n, w) for w, n in seen.items() if n > 1 and w not in STOPWORDS_EN_PLUS]
    words = ", ".join(word for _, word in sorted(frequent)[:MAX_FREQUENT_WORDS])
    return f"{said} Frequent words: {words}." if words else said
