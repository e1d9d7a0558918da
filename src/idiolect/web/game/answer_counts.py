"""Counts of the answers that players gave to a word.

The counts come from the answer rows on each call, so they cannot drift from the data. Each player
counts once per word, however often they play it. Other players see an answer only if at least
``MIN_PLAYERS_TO_SHOW`` players gave it, it is not a slur, and no moderator hid it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db.models import BigIntegerField, CharField, Count, Q, QuerySet

from idiolect.game.profanity import is_slur
from idiolect.game.rules.scoring import PriorAnswers
from idiolect.web.game.models import Answer, HiddenAnswer, Round, State, Word
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter

MIN_PLAYERS_TO_SHOW = 3
"""Number of players who must give an answer before other players see it."""
MAX_TOP_ANSWERS = 10
"""Maximum number of top answers shown for a word."""
_MAX_CANDIDATES = 3 * MAX_TOP_ANSWERS
"""Number of answers read to find the top ones, because some of them may not be shown."""


@dataclass(frozen=True, kw_only=True)
class TopAnswer:
    """An answer that other players may see, in its most common spelling."""

    text: str
    stem: str
    players: int
    share: float
    """Share of the players who answered this word, from 0 to 1."""


def count_prior_answers(
    word: Word, *, excluding: Any, stems: Collection[str]
) -> tuple[PriorAnswers, bool]:
    """Count the players other than ``excluding`` who answered the word and gave each stem.

    The second value is True if ``excluding`` has not answered this word before.
    """
    padded = sorted(stems) or [""]
    # The number of stems is part of the SQL. Repeating the last stem up to a power of two means
    # that only a few queries have to be compiled.
    padded += padded[-1:] * (_round_up_to_power_of_two(len(padded)) - len(padded))
    slots = {f"stem{at}": key for at, key in enumerate(padded)}
    given = _prepare_prior_answers(len(padded))(word=word.pk, player=excluding.pk, **slots)
    others, own = _PLAYER_COUNTS.first(word=word.pk, player=excluding.pk) or (0, 0)
    return PriorAnswers(rounds=others, given=dict(given)), not own


def _round_up_to_power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


@cache
def _prepare_prior_answers(stems: int) -> PreparedQuery:
    """Return the query for the number of other players per stem, with slots for n stems."""
    slots = [QueryParameter(f"stem{at}", CharField()) for at in range(stems)]
    return PreparedQuery(
        lambda: (
            Answer.objects.filter(~Q(player=_PLAYER), word=_WORD, stem__in=slots)
            .order_by()
            .values_list("stem")
            .annotate(players=Count("player", distinct=True))
        )
    )


def _filter_answered_rounds(word: Any) -> QuerySet[Round]:
    """Return the finished rounds on the word that have at least one answer."""
    return Round.objects.filter(word=word, state=State.FINISHED, answered__gt=0)


def count_players_with_answer(relation: str, base: str, key: str) -> int:
    """Return the number of players who gave an answer with this stem to this word."""
    found = Answer.objects.filter(word__relation=relation, word__base=base, stem=key)
    return found.aggregate(players=Count("player", distinct=True))["players"]


def list_top_answers(word: Word) -> list[TopAnswer]:
    """Return the answers that most players gave and that may be shown, most common first."""
    # Most words have no such answer yet; then one query is enough.
    given = _MOST_FREQUENT(word=word.pk)
    if not given:
        return []
    players = _filter_answered_rounds(word).aggregate(players=Count("player", distinct=True))[
        "players"
    ]
    texts = _choose_texts(word, [stem for stem, _ in given])
    # A stem without a text may not be shown.
    kept = [
        TopAnswer(text=texts[stem], stem=stem, players=count, share=count / players)
        for stem, count in given
        if stem in texts
    ]
    return kept[:MAX_TOP_ANSWERS]


def _choose_texts(word: Word, stems: list[str]) -> dict[str, str]:
    """Map each stem to the spelling that most players typed, among those that may be shown."""
    typed = (
        Answer.objects.filter(word=word, stem__in=stems)
        .order_by()
        .values_list("stem", "text")
        .annotate(players=Count("player", distinct=True))
        .order_by("players", "-text")
    )
    # Rows are ordered by count, so for each stem the most common text overwrites the others.
    return dict(filter_showable([(stem, text) for stem, text, _ in typed]))


def filter_showable(answers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep the (stem, text) pairs that are not slurs and that no moderator hid, in order."""
    answers = list(answers)
    stems = {stem for stem, _ in answers}
    hidden = set(HiddenAnswer.objects.filter(stem__in=stems).values_list("stem", flat=True))
    return [(s, text) for s, text in answers if s not in hidden and not is_slur(text)]


# Each round runs these queries, so they are compiled once (`idiolect.web.prepared_queries`).
_PLAYER, _WORD = (
    QueryParameter("player", BigIntegerField()),
    QueryParameter("word", BigIntegerField()),
)
# Numbers of other players with rounds on a word, and of the player's own rounds on it.
_PLAYER_COUNTS = PreparedQuery(
    lambda: (
        _filter_answered_rounds(_WORD)
        .order_by()
        .values("word")
        .annotate(
            others=Count("player", distinct=True, filter=~Q(player=_PLAYER)),
            own=Count("pk", filter=Q(player=_PLAYER)),
        )
        .values_list("others", "own")
    )
)
# The stems that most players gave; ties are in alphabetical order, so the result is stable.
_MOST_FREQUENT = PreparedQuery(
    lambda: (
        Answer.objects.filter(word=_WORD)
        .order_by()
        .values_list("stem")
        .annotate(players=Count("player", distinct=True))
        .filter(players__gte=MIN_PLAYERS_TO_SHOW)
        .order_by("-players", "stem")[:_MAX_CANDIDATES]
    )
)
