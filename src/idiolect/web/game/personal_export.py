"""The export of one player's data in the game, as plain values."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch

from idiolect.web.game.models import (
    Answer,
    Challenge,
    Consent,
    PairSession,
    PairVote,
    PlayerScore,
    Round,
)


def export_player(player: Any) -> dict[str, Any]:
    """Return the player's data as values that fit into JSON, oldest first.

    The key ``format`` names the version of the layout; `api.PlaysOut` describes it.
    """
    return {
        "format": "idiolect-nyms-plays-1",
        "consents": [
            {"version": found.version, "agreed_at": _format_time(found.agreed_at)}
            for found in Consent.objects.filter(player=player).order_by("version")
        ],
        "totals": [
            {"untimed": total.untimed, "rounds": total.rounds, "points": total.points}
            for total in PlayerScore.objects.filter(player=player).order_by("untimed")
        ],
        # Rounds and games include those that lapsed or were skipped: they are data too.
        "rounds": [_round_to_dict(round_) for round_ in _query_rounds(player)],
        "nym_or_not": [_pair_session_to_dict(game) for game in _query_pair_sessions(player)],
        "challenges": [
            {
                "relation": found.answer.word.relation,
                "base_word": found.answer.word.base,
                "answer": found.answer.text,
                "sentence": found.sentence,
                "verdict": found.verdict,
                "made_at": _format_time(found.made_at),
                "decided_at": _format_time(found.decided_at),
            }
            for found in Challenge.objects.filter(answer__player=player)
            .select_related("answer__word")
            .order_by("made_at")
        ],
    }


def _query_rounds(player: Any) -> Any:
    # Prefetch the answers: one query for all rounds instead of one per round.
    answers = Prefetch("answers", Answer.objects.order_by("position"))
    rounds = Round.objects.filter(player=player).select_related("word")
    return rounds.prefetch_related(answers).order_by("started_at")


def _query_pair_sessions(player: Any) -> Any:
    votes = Prefetch("votes", PairVote.objects.order_by("position"))
    return PairSession.objects.filter(player=player).prefetch_related(votes).order_by("started_at")


def _round_to_dict(round_: Round) -> dict[str, Any]:
    return {
        "id": str(round_.pk),
        "relation": round_.word.relation,
        "base_word": round_.word.base,
        "state": round_.state,
        "untimed": round_.untimed,
        "started_at": _format_time(round_.started_at),
        "ended_at": _format_time(round_.ended_at),
        "score": round_.score,
        "round_bonus": round_.bonus,
        "answers": [
            {
                "answer": answer.text,
                "agreement": answer.agreement,
                "bonus": answer.bonus,
                "why": answer.why,
            }
            for answer in round_.answers.all()
        ],
    }


def _pair_session_to_dict(pair_session: PairSession) -> dict[str, Any]:
    return {
        "id": str(pair_session.pk),
        "state": pair_session.state,
        "untimed": pair_session.untimed,
        "started_at": _format_time(pair_session.started_at),
        "ended_at": _format_time(pair_session.ended_at),
        "score": pair_session.score,
        "votes": [
            {
                "relation": vote.relation,
                "base_word": vote.base,
                "answer": vote.answer,
                "yes": vote.yes,
                "points": vote.points,
            }
            for vote in pair_session.votes.all()
        ],
    }


def _format_time(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()
