"""What others gave: counted from the answers themselves each time, so that no sum can be wrong.

Knows who gave what; says only how many. Every player counts once a word, however often they played
it. An answer is named to other players only where enough of them gave it and nothing speaks
against showing it.
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
"""So many players must have given an answer before others see it."""
MAX_TOP_ANSWERS = 10
"""Answers that are named as the top ones of a word."""
_MAX_CANDIDATES = 3 * MAX_TOP_ANSWERS
"""Answers that are looked at for them: some may not be shown."""


@dataclass(frozen=True, kw_only=True)
class TopAnswer:
    """An answer that may be shown: its text as most give it, and by how many players."""

    text: str
    stem: str
    players: int
    share: float
    """Of the players who answered on this word, from 0 to 1."""


def count_prior_answers(
    word: Word, *, but_not: Any, stems: Collection[str]
) -> tuple[PriorAnswers, bool]:
    """How many players other than ``but_not`` answered on the word, and gave each of the stems;
    and whether ``but_not`` themselves never did."""
    asked = sorted(stems) or [""]
    asked += asked[-1:] * (
        _round_up_to_power_of_two(len(asked)) - len(asked)
    )  # few lengths, few queries to compile
    slots = {f"stem{at}": key for at, key in enumerate(asked)}
    given = _prepare_prior_answers(len(asked))(word=word.pk, player=but_not.pk, **slots)
    others, own = _PLAYER_COUNTS.first(word=word.pk, player=but_not.pk) or (0, 0)
    return PriorAnswers(rounds=others, given=dict(given)), not own


def _round_up_to_power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


@cache
def _prepare_prior_answers(stems: int) -> PreparedQuery:
    asked = [QueryParameter(f"stem{at}", CharField()) for at in range(stems)]
    return PreparedQuery(
        lambda: (
            Answer.objects.filter(~Q(player=_PLAYER), word=_WORD, stem__in=asked)
            .order_by()
            .values_list("stem")
            .annotate(players=Count("player", distinct=True))
        )
    )


def _filter_answered_rounds(word: Any) -> QuerySet[Round]:
    """Rounds that say something about the word."""
    return Round.objects.filter(word=word, state=State.FINISHED, answered__gt=0)


def count_players_with_answer(relation: str, base: str, key: str) -> int:
    """How many players gave an answer of this stem on this word."""
    found = Answer.objects.filter(word__relation=relation, word__base=base, stem=key)
    return found.aggregate(players=Count("player", distinct=True))["players"]


def list_top_answers(word: Word) -> list[TopAnswer]:
    """The answers most players gave, best first, without those that may not be shown."""
    given = _MOST_FREQUENT(word=word.pk)
    if not given:
        return []
    players = _filter_answered_rounds(word).aggregate(players=Count("player", distinct=True))[
        "players"
    ]
    texts = _choose_texts(word, [stem for stem, _ in given])
    kept = [
        TopAnswer(text=texts[stem], stem=stem, players=many, share=many / players)
        for stem, many in given
        if stem in texts
    ]
    return kept[:MAX_TOP_ANSWERS]


def _choose_texts(word: Word, stems: list[str]) -> dict[str, str]:
    """Per stem the text that most players typed, of those that may be shown."""
    typed = (
        Answer.objects.filter(word=word, stem__in=stems)
        .order_by()
        .values_list("stem", "text")
        .annotate(players=Count("player", distinct=True))
        .order_by("players", "-text")
    )
    shown = filter_showable([(stem, text) for stem, text, _ in typed])
    return dict(shown)


def filter_showable(answers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of (stem, text) those that are no slur and that no moderator hid, in their order."""
    answers = list(answers)
    stems = {stem for stem, _ in answers}
    hidden = set(HiddenAnswer.objects.filter(stem__in=stems).values_list("stem", flat=True))
    return [(s, text) for s, text in answers if s not in hidden and not is_slur(text)]


# Every round asks these: they are compiled once (`prepared`).
_PLAYER, _WORD = (
    QueryParameter("player", BigIntegerField()),
    QueryParameter("word", BigIntegerField()),
)
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
