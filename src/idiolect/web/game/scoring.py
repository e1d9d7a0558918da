"""What a round that has just ended was worth: its answers, its score, and the sums they change.

Called in the transaction that ended it (`rounds`); what a word scores is the rules' to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection
from django.db.models import BigIntegerField, BooleanField, F, IntegerField, UUIDField
from django.db.models.functions import Now

from idiolect.game import words
from idiolect.game.rules.answers import accepted, stem
from idiolect.game.rules.choice import is_little_played
from idiolect.game.rules.relations import Relation
from idiolect.game.rules.scoring import RoundScore, score
from idiolect.web.game import answer_counts
from idiolect.web.game.models import Answer, Round, Total, Word
from idiolect.web.prepared_queries import PreparedUpdate, Slot


def keep_score(round_: Round, typed: Sequence[str]) -> None:
    """Writes answers, score and sums of a round that was just claimed."""
    word, relation = round_.word, Relation(round_.word.relation)
    if connection.features.has_select_for_update:  # SQLite has one writer anyway
        # Another round on this word that ends now waits here: each sees the other's answers or not
        # at all.
        Word.objects.select_for_update().get(pk=word.pk)
    stems = {stem(answer) for answer in accepted(word.base, typed)}
    others, first = answer_counts.earlier(word, but_not=round_.player, stems=stems)
    result = score(
        relation,
        word.base,
        typed,
        earlier=others,
        listed=words.table().answers(relation, word.base),
        little_played=is_little_played(others.rounds),
    )
    if not result.words:
        return  # it says nothing about the word, and is no round on the boards
    _keep_answers(round_, result)
    if first:
        _TO_WORD(id=word.pk, points=result.total - result.round_bonus)
    mine = {"player": round_.player.pk, "untimed": round_.untimed}
    if not _TO_TOTAL(**mine, points=result.total):
        Total.objects.get_or_create(player=round_.player, untimed=round_.untimed)
        _TO_TOTAL(**mine, points=result.total)


def _keep_answers(round_: Round, result: RoundScore) -> None:
    Answer.objects.bulk_create(
        Answer(
            round=round_,
            word=round_.word,
            player=round_.player,
            position=at,
            text=scored.answer,
            stem=scored.stem,
            agreement=scored.agreement,
            bonus=scored.bonus,
            why=scored.why,
        )
        for at, scored in enumerate(result.words)
    )
    sums = {"answered": len(result.words), "bonus": result.round_bonus, "score": result.total}
    _SUMS(id=round_.pk, **sums)


# Every round makes these changes: they are compiled once (`prepared`).
_NUMBER, _PLAYER = IntegerField(), Slot("player", BigIntegerField())
_SUMS = PreparedUpdate(
    lambda: Round.objects.filter(pk=Slot("id", UUIDField())),
    **{name: Slot(name, _NUMBER) for name in ("answered", "bonus", "score")},
)
_TO_WORD = PreparedUpdate(
    lambda: Word.objects.filter(pk=Slot("id", BigIntegerField())),
    rounds=F("rounds") + 1,
    points=F("points") + Slot("points", _NUMBER),
)
_TO_TOTAL = PreparedUpdate(
    lambda: Total.objects.filter(player=_PLAYER, untimed=Slot("untimed", BooleanField())),
    rounds=F("rounds") + 1,
    points=F("points") + Slot("points", _NUMBER),
    last_played=Now(),
)
