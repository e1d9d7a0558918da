"""A game of Nym or Not from start to points, held by the server as a round is (`rounds`).

Knows where pairs come from: WordNet's table, answers that enough players gave, predictions of a
classifier. Which of them are asked, and what a vote is worth, is the rules' to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Count, DurationField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.functions import Now

from idiolect.errors import MissingError, UsageError
from idiolect.game.rules.answers import stem
from idiolect.game.rules.pairs import (
    SESSION_SECONDS,
    Pair,
    Vote,
    choose_next_pairs,
    find_majority,
    score_vote,
)
from idiolect.game.rules.relations import GRACE_SECONDS, Relation
from idiolect.web.game.models import PairSession, PairVote, State
from idiolect.web.game.pair_candidates import gather_candidates


def start_pair_session(player: Any, *, untimed: bool, draw: Random) -> PairSession:
    """A new game for this player, or the one they have open, its clock running on."""
    if (found := _get_running_session(player)) is not None:
        return found
    # Chosen before the transaction: while that is open, nobody else can write to SQLite.
    chosen = choose_next_pairs(gather_candidates(draw), draw=draw, seen=_find_seen_pairs(player))
    if not chosen:
        raise MissingError("you have judged every pair there is; come back when more were found")
    try:
        with transaction.atomic():
            return PairSession.objects.create(
                player=player, untimed=untimed, pairs=[_pair_to_json(pair) for pair in chosen]
            )
    except IntegrityError:
        # The same player started in another tab at this very moment.
        if (found := find_open_session(player)) is None:
            raise UsageError("another window of yours has just ended the game; go on") from None
        return found


def find_open_session(player: Any) -> PairSession | None:
    """The player's open game, if they have one."""
    return PairSession.objects.filter(player=player, state=State.OPEN).first()


def get_pair_session(player: Any, sitting_id: UUID) -> PairSession:
    """A game of this player's own. Raises MissingError for any other."""
    found = PairSession.objects.filter(player=player, pk=sitting_id).first()
    if found is None:
        raise MissingError(
            f"you have no game {sitting_id}; it may be somebody else's, or deleted: start a new one"
        )
    return found


def compute_seconds_left(sitting: PairSession) -> float | None:
    """Seconds until the game ends by the database's clock, without grace; None: untimed."""
    if sitting.untimed:
        return None
    gone = PairSession.objects.filter(pk=sitting.pk).values_list(
        ExpressionWrapper(Now() - F("started_at"), output_field=DurationField()), flat=True
    )
    return max(0.0, SESSION_SECONDS - gone.get().total_seconds())


def submit_votes(player: Any, sitting_id: UUID, said: Mapping[int, bool]) -> PairSession:
    """Ends the game with yes or no by the pair's position; a second time changes nothing.

    Positions that the game does not have are ignored. Raises MissingError for a game that is not
    the player's, UsageError for one that is over.
    """
    with transaction.atomic():
        ended = (
            _filter_open_in_time(player)
            .filter(pk=sitting_id)
            .update(state=State.FINISHED, ended_at=Now())
        )
        if not ended:
            _close_expired(player)
        sitting = get_pair_session(player, sitting_id)
        if ended:
            _save_score(sitting, said)
    if not ended and sitting.state != State.FINISHED:
        raise UsageError(
            "these votes came after the game had ended, so they do not count; "
            "play again, or play without a clock"
        )
    return sitting


def _filter_open_in_time(player: Any) -> QuerySet[PairSession]:
    since = Now() - timedelta(seconds=SESSION_SECONDS + GRACE_SECONDS)
    return PairSession.objects.filter(
        Q(untimed=True) | Q(started_at__gte=since), player=player, state=State.OPEN
    )


def _get_running_session(player: Any) -> PairSession | None:
    """The player's open game; one whose time is over is closed."""
    found = find_open_session(player)
    if found is not None and not _filter_open_in_time(player).exists():
        _close_expired(player)
        return None
    return found


def _close_expired(player: Any) -> None:
    running = _filter_open_in_time(player).values("pk")
    PairSession.objects.filter(player=player, state=State.OPEN).exclude(pk__in=running).update(
        state=State.LAPSED, ended_at=Now()
    )


def _save_score(sitting: PairSession, said: Mapping[int, bool]) -> None:
    rows = [
        _make_vote_row(sitting, at, Vote(pair=pair, yes=said[at]))
        for at, pair in enumerate(_load_pairs_with_votes(sitting))
        if at in said
    ]
    PairVote.objects.bulk_create(
        rows,
        # Who sees a pair again, once they have seen all, changes their vote.
        update_conflicts=True,
        unique_fields=["player", "relation", "base", "stem"],
        update_fields=["sitting", "position", "answer", "likely", "yes", "majority", "points"],
    )
    sitting.score = sum(row.points for row in rows)
    sitting.save(update_fields=["score"])


def _make_vote_row(sitting: PairSession, at: int, vote: Vote) -> PairVote:
    pair = vote.pair
    return PairVote(
        sitting=sitting,
        player=sitting.player,
        position=at,
        relation=pair.relation.value,
        base=pair.base_word,
        answer=pair.answer,
        stem=stem(pair.answer),
        likely=pair.likely,
        yes=vote.yes,
        majority=find_majority(pair),
        points=score_vote(vote),
    )


def _pair_to_json(pair: Pair) -> dict[str, Any]:
    return {
        "relation": pair.relation.value,
        "base": pair.base_word,
        "answer": pair.answer,
        "likely": pair.likely,
    }


def _load_pairs_with_votes(sitting: PairSession) -> list[Pair]:
    """The game's pairs, with what other players have said of them until now."""
    bases = {pair["base"] for pair in sitting.pairs}
    counted = (
        PairVote.objects.filter(base__in=bases)
        .exclude(player=sitting.player)
        .order_by()
        .values_list("relation", "base", "stem")
        .annotate(ayes=Count("pk", filter=Q(yes=True)), noes=Count("pk", filter=Q(yes=False)))
    )
    said = {(relation, base, key): (yes, no) for relation, base, key, yes, no in counted}
    pairs: list[Pair] = []
    for pair in sitting.pairs:
        yes, no = said.get((pair["relation"], pair["base"], stem(pair["answer"])), (0, 0))
        pairs.append(
            Pair(
                relation=Relation(pair["relation"]),
                base_word=pair["base"],
                answer=pair["answer"],
                likely=pair["likely"],
                yes=yes,
                no=no,
            )
        )
    return pairs


def _find_seen_pairs(player: Any) -> set[tuple[Relation, str, str]]:
    judged = PairVote.objects.filter(player=player).values_list("relation", "base", "answer")
    return {(Relation(relation), base, answer) for relation, base, answer in judged}
