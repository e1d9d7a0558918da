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
from idiolect.game.rules.relations import GRACE, SECONDS, Relation
from idiolect.web.game import scoring, word_selection
from idiolect.web.game.models import Round, State, Word
from idiolect.web.prepared_queries import Prepared, PreparedUpdate, Slot


def start(player: Any, relations: Collection[Relation], *, untimed: bool, draw: Random) -> Round:
    """A new round on a word for this player, or the one they have open.

    An open round is given back as it is, its clock running on, so that starting again neither
    changes the word nor buys time. Raises MissingError where no word is left to ask.
    """
    if (found := _running(player)) is not None:
        return found
    # Chosen before the transaction: while that is open, nobody else can write to SQLite.
    chosen = word_selection.choose(player, relations, draw=draw)
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
        if (found := current(player)) is None:
            raise UsageError("another window of yours has just ended the round; go on") from None
        return found


def current(player: Any) -> Round | None:
    """The player's open round, if they have one."""
    return _OPEN.first(player=player.pk)


def find(player: Any, round_id: UUID) -> Round:
    """A round of this player's own. Raises MissingError for any other."""
    found = _OWN.first(player=player.pk, id=round_id)
    if found is None:
        raise MissingError(
            f"you have no round {round_id}; it may be somebody else's, or deleted: start a new one"
        )
    found.player = player  # who is known already is not asked for again
    return found


def seconds_left(round_: Round) -> float | None:
    """Seconds until the round ends by the database's clock, without grace; None: untimed."""
    if round_.untimed:
        return None
    (gone,) = _GONE(id=round_.pk)
    return max(0.0, _allowed(round_) - gone.total_seconds())


def _allowed(round_: Round) -> int:
    return SECONDS[Relation(round_.word.relation)]


def submit(player: Any, round_id: UUID, typed: Sequence[str]) -> Round:
    """Ends the round with these answers and scores it; a second time changes nothing.

    Raises MissingError for a round that is not the player's, UsageError for one that is over or
    was skipped: its answers are dropped.
    """
    round_ = find(player, round_id)
    with transaction.atomic():
        ended = _end(round_, State.FINISHED)
        if ended:
            scoring.keep_score(round_, typed)
    round_ = find(player, round_id)
    if not ended and round_.state != State.FINISHED:
        raise UsageError(_over(round_))
    return round_


def skip(player: Any, round_id: UUID) -> Round:
    """Ends the round without answers; a round that is over already stays as it is."""
    round_ = find(player, round_id)
    with transaction.atomic():
        if _end(round_, State.SKIPPED):
            earlier = Round.objects.filter(player=player, word=round_.word, state=State.SKIPPED)
            if not earlier.exclude(pk=round_.pk).exists():
                Word.objects.filter(pk=round_.word.pk).update(skips=F("skips") + 1)
    return find(player, round_id)


def _running(player: Any) -> Round | None:
    """The player's open round; one whose time is over is closed."""
    found = current(player)
    if found is not None and not _in_time(found).exists():
        _lapse(found)
        return None
    return found


def _in_time(round_: Round) -> QuerySet[Round]:
    """The round, if it is open and its time not over."""
    return _still(round_.pk, None if round_.untimed else _allowed(round_))


def _still(round_id: Any, allowed: int | None) -> QuerySet[Round]:
    """`rules.in_time` by the database's clock."""
    still = Round.objects.filter(pk=round_id, state=State.OPEN)
    if allowed is not None:
        still = still.filter(started_at__gte=Now() - timedelta(seconds=allowed + GRACE))
    return still


@cache
def _ending(allowed: int | None) -> PreparedUpdate:
    """Ends a round of so many seconds, if it is in time."""
    return PreparedUpdate(
        lambda: _still(Slot("id", UUIDField()), allowed),
        state=Slot("state", CharField()),
        ended_at=Now(),
    )


def _end(round_: Round, state: State) -> bool:
    """Claims the round: whether it was this call that ended it."""
    allowed = None if round_.untimed else _allowed(round_)
    if _ending(allowed)(id=round_.pk, state=state.value):
        return True
    _lapse(round_)
    return False


def _lapse(round_: Round) -> None:
    """Closes the round where it is open still: its time is over."""
    Round.objects.filter(pk=round_.pk, state=State.OPEN).update(state=State.LAPSED, ended_at=Now())


def _over(round_: Round) -> str:
    if round_.state == State.SKIPPED:
        return "you skipped this round, so its answers do not count; play the next one"
    return (
        "these answers came after the round had ended, so they do not count; play the next one, "
        "or play without a clock"
    )


# Every round asks these: they are compiled once (`prepared`).
_PLAYER = Slot("player", BigIntegerField())
_THIS = Slot("id", UUIDField())
_OPEN = Prepared(
    lambda: Round.objects.select_related("word").filter(player=_PLAYER, state=State.OPEN)
)
_OWN = Prepared(lambda: Round.objects.select_related("word").filter(player=_PLAYER, pk=_THIS))
_GONE = Prepared(
    lambda: Round.objects.filter(pk=_THIS).values_list(
        ExpressionWrapper(Now() - F("started_at"), output_field=DurationField()), flat=True
    )
)
