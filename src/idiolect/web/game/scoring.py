"""Scores a round that has just ended: stores its answers and score, and updates the sums.

`rounds` calls this in the transaction that ends the round. The rules in
`idiolect.game.rules.scoring` decide the points.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection
from django.db.models import BigIntegerField, BooleanField, F, IntegerField, UUIDField
from django.db.models.functions import Now

from idiolect.game import words
from idiolect.game.rules.answers import filter_accepted, stem
from idiolect.game.rules.choice import is_little_played
from idiolect.game.rules.relations import Relation
from idiolect.game.rules.scoring import RoundScore, score_round
from idiolect.web.game import answer_counts
from idiolect.web.game.models import Answer, PlayerScore, Round, Word
from idiolect.web.prepared_queries import PreparedUpdate, QueryParameter


def save_score(round_: Round, typed: Sequence[str]) -> None:
    """Store the answers, the score and the changed sums of a round that this request ended."""
    word, relation = round_.word, Relation(round_.word.relation)
    # Lock the word: of two rounds on it that end at the same time, the second one waits here and
    # then sees all answers of the first. SQLite has only one writer, so it needs no lock.
    if connection.features.has_select_for_update:
        Word.objects.select_for_update().get(pk=word.pk)
    # Compare with the answers that other players gave before.
    stems = {stem(answer) for answer in filter_accepted(word.base, typed)}
    others, first = answer_counts.count_prior_answers(word, excluding=round_.player, stems=stems)
    result = score_round(
        relation,
        word.base,
        typed,
        earlier=others,
        listed=words.load_table().get_stems(relation, word.base),
        little_played=is_little_played(others.rounds),
    )
    if not result.words:
        return  # A round without a counted answer changes neither the word nor the leaderboards.
    _save_answers(round_, result)
    # The word's sums include only each player's first round on it.
    if first:
        _ADD_TO_WORD(id=word.pk, points=result.total - result.round_bonus)
    # Update first and create only if there is no row: nearly all players have one.
    own_row = {"player": round_.player.pk, "untimed": round_.untimed}
    if not _ADD_TO_PLAYER_SCORE(**own_row, points=result.total):
        PlayerScore.objects.get_or_create(player=round_.player, untimed=round_.untimed)
        _ADD_TO_PLAYER_SCORE(**own_row, points=result.total)


def _save_answers(round_: Round, result: RoundScore) -> None:
    # Two queries for any number of answers.
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
    _UPDATE_ROUND(id=round_.pk, **sums)


# Each round runs these updates, so they are compiled once (`idiolect.web.prepared_queries`).
_NUMBER, _PLAYER = IntegerField(), QueryParameter("player", BigIntegerField())
_UPDATE_ROUND = PreparedUpdate(
    lambda: Round.objects.filter(pk=QueryParameter("id", UUIDField())),
    **{name: QueryParameter(name, _NUMBER) for name in ("answered", "bonus", "score")},
)
_ADD_TO_WORD = PreparedUpdate(
    lambda: Word.objects.filter(pk=QueryParameter("id", BigIntegerField())),
    rounds=F("rounds") + 1,
    points=F("points") + QueryParameter("points", _NUMBER),
)
_ADD_TO_PLAYER_SCORE = PreparedUpdate(
    lambda: PlayerScore.objects.filter(
        player=_PLAYER, untimed=QueryParameter("untimed", BooleanField())
    ),
    rounds=F("rounds") + 1,
    points=F("points") + QueryParameter("points", _NUMBER),
    last_played=Now(),
)
