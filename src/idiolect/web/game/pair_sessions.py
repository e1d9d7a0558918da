"""Games of Nym or Not, from start to score.

As for rounds (`rounds`), the server chooses the pairs and the database keeps the time. The rules in
`idiolect.game.rules.pairs` choose among the candidates and score the votes.
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
from idiolect.web.accounts.problems import NotNowError, NotYoursError
from idiolect.web.game.models import PairSession, PairVote, State
from idiolect.web.game.pair_candidates import gather_candidates


def start_pair_session(player: Any, *, untimed: bool, draw: Random) -> PairSession:
    """Start a game for this player, or return their open game, whose time continues.

    Raises NotYoursError if the player has judged all pairs.
    """
    if (running := _get_running_session(player)) is not None:
        return running
    # Choose before the transaction: while it is open, no other process can write to SQLite.
    chosen = choose_next_pairs(gather_candidates(draw), draw=draw, seen=_find_seen_pairs(player))
    if not chosen:
        raise NotYoursError("you have judged all pairs that we have; come back later for new ones")
    try:
        with transaction.atomic():
            return PairSession.objects.create(
                player=player, untimed=untimed, pairs=[_pair_to_json(pair) for pair in chosen]
            )
    except IntegrityError:
        # The same player started a game in another tab at the same moment.
        if (running := find_open_session(player)) is None:
            raise NotNowError("you ended this game in another window; start the next one") from None
        return running


def find_open_session(player: Any) -> PairSession | None:
    """Return the player's open game, or None."""
    return PairSession.objects.filter(player=player, state=State.OPEN).first()


def get_pair_session(player: Any, pair_session_id: UUID) -> PairSession:
    """Return one of this player's games. Raises NotYoursError for any other game."""
    found = PairSession.objects.filter(player=player, pk=pair_session_id).first()
    if found is None:
        raise NotYoursError(
            f"you have no game {pair_session_id}; "
            "it was deleted or belongs to another player: start a new one"
        )
    return found


def compute_seconds_left(pair_session: PairSession) -> float | None:
    """Return the seconds until the game ends, without the grace time; None if it is untimed."""
    if pair_session.untimed:
        return None
    # The database computes the elapsed time: start and end then come from the same clock.
    elapsed = PairSession.objects.filter(pk=pair_session.pk).values_list(
        ExpressionWrapper(Now() - F("started_at"), output_field=DurationField()), flat=True
    )
    return max(0.0, SESSION_SECONDS - elapsed.get().total_seconds())


def submit_votes(player: Any, pair_session_id: UUID, votes: Mapping[int, bool]) -> PairSession:
    """End the game and score ``votes``: yes (True) or no (False) by the position of the pair.

    A second call for the same game changes nothing. Unknown positions are ignored. Raises
    NotYoursError if the game is not the player's, and NotNowError if it is over.
    """
    with transaction.atomic():
        # One conditional update ends the game, so that of two requests only one scores it.
        ended = (
            _filter_open_in_time(player)
            .filter(pk=pair_session_id)
            .update(state=State.FINISHED, ended_at=Now())
        )
        if not ended:
            _close_expired(player)
        pair_session = get_pair_session(player, pair_session_id)
        if ended:
            _save_score(pair_session, votes)
    if not ended and pair_session.state != State.FINISHED:
        raise NotNowError(
            "these votes came after the game had ended, so they do not count; "
            "play again, or play without a clock"
        )
    return pair_session


def _filter_open_in_time(player: Any) -> QuerySet[PairSession]:
    """Return the player's open game, if its time and the grace time are not over.

    A game that began in the future is over: the clock was set back.
    """
    in_time = Q(
        started_at__gte=Now() - timedelta(seconds=SESSION_SECONDS + GRACE_SECONDS),
        started_at__lte=Now() + timedelta(seconds=GRACE_SECONDS),
    )
    return PairSession.objects.filter(Q(untimed=True) | in_time, player=player, state=State.OPEN)


def _get_running_session(player: Any) -> PairSession | None:
    """Return the player's open game, or None; close a game whose time is over."""
    running = find_open_session(player)
    if running is not None and not _filter_open_in_time(player).exists():
        _close_expired(player)
        return None
    return running


def _close_expired(player: Any) -> None:
    """Mark the player's open game as lapsed if its time is over."""
    running = _filter_open_in_time(player).values("pk")
    PairSession.objects.filter(player=player, state=State.OPEN).exclude(pk__in=running).update(
        state=State.LAPSED, ended_at=Now()
    )


def _save_score(pair_session: PairSession, votes: Mapping[int, bool]) -> None:
    """Store the votes and the score of a game that has just ended."""
    rows = [
        _make_vote_row(pair_session, at, Vote(pair=pair, yes=votes[at]))
        for at, pair in enumerate(_load_pairs_with_votes(pair_session))
        if at in votes
    ]
    PairVote.objects.bulk_create(
        rows,
        # A player who has seen all pairs gets some of them again; the new vote replaces the old.
        update_conflicts=True,
        unique_fields=["player", "relation", "base", "stem"],
        update_fields=["sitting", "position", "answer", "likely", "yes", "majority", "points"],
    )
    pair_session.score = sum(row.points for row in rows)
    pair_session.save(update_fields=["score"])


def _make_vote_row(pair_session: PairSession, at: int, vote: Vote) -> PairVote:
    pair = vote.pair
    return PairVote(
        sitting=pair_session,
        player=pair_session.player,
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


def _load_pairs_with_votes(pair_session: PairSession) -> list[Pair]:
    """Return the game's pairs with the votes of other players so far."""
    # A player's own earlier vote on a pair must not count as someone else's.
    bases = {pair["base"] for pair in pair_session.pairs}
    counted = (
        PairVote.objects.filter(base__in=bases)
        .exclude(player=pair_session.player)
        .order_by()
        .values_list("relation", "base", "stem")
        .annotate(ayes=Count("pk", filter=Q(yes=True)), noes=Count("pk", filter=Q(yes=False)))
    )
    counts = {(relation, base, key): (yes, no) for relation, base, key, yes, no in counted}
    # Add the counts to the pairs in their order; a pair without votes gets zeros.
    pairs: list[Pair] = []
    for pair in pair_session.pairs:
        yes, no = counts.get((pair["relation"], pair["base"], stem(pair["answer"])), (0, 0))
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
    """Return (relation, base word, answer) of the pairs that the player has voted on."""
    judged = PairVote.objects.filter(player=player).values_list("relation", "base", "answer")
    return {(Relation(relation), base, answer) for relation, base, answer in judged}
