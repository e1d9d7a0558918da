"""A round from start to score; each step is one transaction and may be sent twice.

The server chooses the word and its database holds the clock: nothing that a browser sends says what
is scored or when. A round ends once, by one conditional update; whoever loses that race gets what
the winner made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import cache
from random import Random
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import (
    BigIntegerField,
    CharField,
    DurationField,
    ExpressionWrapper,
    F,
    QuerySet,
    UUIDField,
)
from django.db.models.functions import Now

from idiolect.errors import MissingError, UsageError
from idiolect.game.rules.relations import GRACE_SECONDS, ROUND_SECONDS, Relation
from idiolect.web.game import scoring, word_selection
from idiolect.web.game.models import Round, State, Word
from idiolect.web.prepared_queries import PreparedQuery, PreparedUpdate, QueryParameter


def start_round(
    player: Any, relations: Collection[Relation], *, untimed: bool, draw: Random
) -> Round:
    """A new round on a word for this player, or the one they have open.

    An open round is given back as it is, its clock running on, so that starting again neither
    changes the word nor buys time. Raises MissingError where no word is left to ask.
    """
    if (found := _get_running_round(player)) is not None:
        return found
    # Chosen before the transaction: while that is open, nobody else can write to SQLite.
    chosen = word_selection.choose_word(player, relations, draw=draw)
    word = chosen.word
    try:
        with transaction.atomic():
            if word.pk is None:
                word, _ = Word.objects.get_or_create(relation=word.relation, base=word.base)
            return Round.objects.create(
                player=player, word=word, untimed=untimed, difficulty=chosen.difficulty
            )
    except IntegrityError:
        # The same player started in another tab at this very moment.
        if (found := find_open_round(player)) is None:
            raise UsageError("another window of yours has just ended the round; go on") from None
        return found


def find_open_round(player: Any) -> Round | None:
    """The player's open round, if they have one."""
    return _OPEN_ROUND.first(player=player.pk)


def get_round(player: Any, round_id: UUID) -> Round:
    """A round of this player's own. Raises MissingError for any other."""
    found = _PLAYER_ROUND.first(player=player.pk, id=round_id)
    if found is None:
        raise MissingError(
            f"you have no round {round_id}; it may be somebody else's, or deleted: start a new one"
        )
    found.player = player  # who is known already is not asked for again
    return found


def compute_seconds_left(round_: Round) -> float | None:
    """Seconds until the round ends by the database's clock, without grace; None: untimed."""
    if round_.untimed:
        return None
    (gone,) = _ELAPSED_TIME(id=round_.pk)
    return max(0.0, _get_time_limit(round_) - gone.total_seconds())


def _get_time_limit(round_: Round) -> int:
    return ROUND_SECONDS[Relation(round_.word.relation)]


def submit_answers(player: Any, round_id: UUID, typed: Sequence[str]) -> Round:
    """Ends the round with these answers and scores it; a second time changes nothing.

    Raises MissingError for a round that is not the player's, UsageError for one that is over or
    was skipped: its answers are dropped.
    """
    round_ = get_round(player, round_id)
    with transaction.atomic():
        ended = _end_round(round_, State.FINISHED)
        if ended:
            scoring.save_score(round_, typed)
    round_ = get_round(player, round_id)
    if not ended and round_.state != State.FINISHED:
        raise UsageError(_explain_ended(round_))
    return round_


def skip_round(player: Any, round_id: UUID) -> Round:
    """Ends the round without answers; a round that is over already stays as it is."""
    round_ = get_round(player, round_id)
    with transaction.atomic():
        if _end_round(round_, State.SKIPPED):
            earlier = Round.objects.filter(player=player, word=round_.word, state=State.SKIPPED)
            if not earlier.exclude(pk=round_.pk).exists():
                Word.objects.filter(pk=round_.word.pk).update(skips=F("skips") + 1)
    return get_round(player, round_id)


def _get_running_round(player: Any) -> Round | None:
    """The player's open round; one whose time is over is closed."""
    found = find_open_round(player)
    if found is not None and not _filter_in_time(found).exists():
        _close_expired(found)
        return None
    return found


def _filter_in_time(round_: Round) -> QuerySet[Round]:
    """The round, if it is open and its time not over."""
    return _filter_open_in_time(round_.pk, None if round_.untimed else _get_time_limit(round_))


def _filter_open_in_time(round_id: Any, allowed: int | None) -> QuerySet[Round]:
    """`rules.in_time` by the database's clock."""
    still = Round.objects.filter(pk=round_id, state=State.OPEN)
    if allowed is not None:
        still = still.filter(started_at__gte=Now() - timedelta(seconds=allowed + GRACE_SECONDS))
    return still


@cache
def _prepare_ending(allowed: int | None) -> PreparedUpdate:
    """Ends a round of so many seconds, if it is in time."""
    return PreparedUpdate(
        lambda: _filter_open_in_time(QueryParameter("id", UUIDField()), allowed),
        state=QueryParameter("state", CharField()),
        ended_at=Now(),
    )


def _end_round(round_: Round, state: State) -> bool:
    """Claims the round: whether it was this call that ended it."""
    allowed = None if round_.untimed else _get_time_limit(round_)
    if _prepare_ending(allowed)(id=round_.pk, state=state.value):
        return True
    _close_expired(round_)
    return False


def _close_expired(round_: Round) -> None:
    """Closes the round where it is open still: its time is over."""
    Round.objects.filter(pk=round_.pk, state=State.OPEN).update(state=State.LAPSED, ended_at=Now())


def _explain_ended(round_: Round) -> str:
    if round_.state == State.SKIPPED:
        return "you skipped this round, so its answers do not count; play the next one"
    return (
        "these answers came after the round had ended, so they do not count; play the next one, "
        "or play without a clock"
    )


# Every round asks these: they are compiled once (`prepared`).
_PLAYER = QueryParameter("player", BigIntegerField())
_ROUND_ID = QueryParameter("id", UUIDField())
_OPEN_ROUND = PreparedQuery(
    lambda: Round.objects.select_related("word").filter(player=_PLAYER, state=State.OPEN)
)
_PLAYER_ROUND = PreparedQuery(
    lambda: Round.objects.select_related("word").filter(player=_PLAYER, pk=_ROUND_ID)
)
_ELAPSED_TIME = PreparedQuery(
    lambda: Round.objects.filter(pk=_ROUND_ID).values_list(
        ExpressionWrapper(Now() - F("started_at"), output_field=DurationField()), flat=True
    )
)
