"""Rounds, from start to score; each step is one transaction and idempotent.

The server chooses the word and the database keeps the time, so a browser cannot influence either.
A round ends once, by one conditional update. If two requests try to end it, the second one gets the
result of the first.
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

from idiolect.game.rules.relations import GRACE_SECONDS, ROUND_SECONDS, Relation
from idiolect.web.accounts.problems import NotNowError, NotYoursError
from idiolect.web.game import scoring, word_selection
from idiolect.web.game.models import Round, State, Word
from idiolect.web.prepared_queries import PreparedQuery, PreparedUpdate, QueryParameter


def start_round(
    player: Any, relations: Collection[Relation], *, untimed: bool, draw: Random
) -> Round:
    """Start a round for this player, or return their open round.

    An open round is returned unchanged and its time continues, so starting again gives neither
    another word nor more time. Raises NotYoursError if no word is left to ask.
    """
    if (running := _get_running_round(player)) is not None:
        return running
    # Choose before the transaction: while it is open, no other process can write to SQLite.
    chosen = word_selection.choose_word(player, relations, draw=draw)
    word = chosen.word
    try:
        with transaction.atomic():
            # A word gets its database row when it is asked for the first time.
            if word.pk is None:
                word, _ = Word.objects.get_or_create(relation=word.relation, base=word.base)
            return Round.objects.create(
                player=player, word=word, untimed=untimed, difficulty=chosen.difficulty
            )
    except IntegrityError:
        # The same player started a round in another tab at the same moment.
        if (running := find_open_round(player)) is None:
            raise NotNowError("you ended this round in another window; play the next one") from None
        return running


def find_open_round(player: Any) -> Round | None:
    """Return the player's open round, or None."""
    return _OPEN_ROUND.first(player=player.pk)


def get_round(player: Any, round_id: UUID) -> Round:
    """Return one of this player's rounds. Raises NotYoursError for any other round."""
    found = _PLAYER_ROUND.first(player=player.pk, id=round_id)
    if found is None:
        raise NotYoursError(
            f"you have no round {round_id}; "
            "it was deleted or belongs to another player: start a new one"
        )
    found.player = player  # Saves the query for a player who is already loaded.
    return found


def compute_seconds_left(round_: Round) -> float | None:
    """Return the seconds until the round ends, without the grace time; None if it is untimed."""
    if round_.untimed:
        return None
    (elapsed,) = _ELAPSED_TIME(id=round_.pk)
    return max(0.0, _get_time_limit(round_) - elapsed.total_seconds())


def _get_time_limit(round_: Round) -> int:
    return ROUND_SECONDS[Relation(round_.word.relation)]


def submit_answers(player: Any, round_id: UUID, typed: Sequence[str]) -> Round:
    """End the round with these answers and score it; a second call changes nothing.

    Raises NotYoursError if the round is not the player's, and NotNowError if its time is over or it
    was skipped; the answers are then dropped.
    """
    round_ = get_round(player, round_id)
    with transaction.atomic():
        # Only the request that ends the round scores it.
        ended = _end_round(round_, State.FINISHED)
        if ended:
            scoring.save_score(round_, typed)
    # Read the round again: it is either scored now, or was ended by an earlier request.
    round_ = get_round(player, round_id)
    if not ended and round_.state != State.FINISHED:
        raise NotNowError(_explain_ended(round_))
    return round_


def skip_round(player: Any, round_id: UUID) -> Round:
    """End the round without answers; a round that has ended does not change."""
    round_ = get_round(player, round_id)
    with transaction.atomic():
        if _end_round(round_, State.SKIPPED):
            # `Word.skips` counts players, so a second skip by this player does not count.
            earlier = Round.objects.filter(player=player, word=round_.word, state=State.SKIPPED)
            if not earlier.exclude(pk=round_.pk).exists():
                Word.objects.filter(pk=round_.word.pk).update(skips=F("skips") + 1)
    return get_round(player, round_id)


def _get_running_round(player: Any) -> Round | None:
    """Return the player's open round, or None; close a round whose time is over."""
    running = find_open_round(player)
    if running is not None and not _filter_in_time(running).exists():
        _close_expired(running)
        return None
    return running


def _filter_in_time(round_: Round) -> QuerySet[Round]:
    """Return a query set with the round, if it is open and its time is not over."""
    return _filter_open_in_time(round_.pk, None if round_.untimed else _get_time_limit(round_))


def _filter_open_in_time(round_id: Any, allowed: int | None) -> QuerySet[Round]:
    """Apply `rules.relations.is_in_time` with the database's clock.

    ``allowed`` is the round's time limit in seconds; None means that it is untimed. A round that
    began in the future is over: the clock was set back, and the round would run for as long.
    """
    running = Round.objects.filter(pk=round_id, state=State.OPEN)
    if allowed is not None:
        running = running.filter(
            started_at__gte=Now() - timedelta(seconds=allowed + GRACE_SECONDS),
            started_at__lte=Now() + timedelta(seconds=GRACE_SECONDS),
        )
    return running


@cache
def _prepare_ending(allowed: int | None) -> PreparedUpdate:
    """Return the update that ends a round with this time limit, if its time is not over."""
    return PreparedUpdate(
        lambda: _filter_open_in_time(QueryParameter("id", UUIDField()), allowed),
        state=QueryParameter("state", CharField()),
        ended_at=Now(),
    )


def _end_round(round_: Round, state: State) -> bool:
    """End the round and return whether this call ended it; close it if its time is over."""
    allowed = None if round_.untimed else _get_time_limit(round_)
    if _prepare_ending(allowed)(id=round_.pk, state=state.value):
        return True
    _close_expired(round_)
    return False


def _close_expired(round_: Round) -> None:
    """Mark a round that is still open as lapsed; call it only if its time is over."""
    Round.objects.filter(pk=round_.pk, state=State.OPEN).update(state=State.LAPSED, ended_at=Now())


def _explain_ended(round_: Round) -> str:
    if round_.state == State.SKIPPED:
        return "you skipped this round, so its answers do not count; play the next one"
    return (
        "these answers came after the round had ended, so they do not count; play the next one, "
        "or play without a clock"
    )


# Each round runs these queries, so they are compiled once (`idiolect.web.prepared_queries`).
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
