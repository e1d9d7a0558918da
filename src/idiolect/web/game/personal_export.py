"""Everything the game keeps of one player, as plain values for them to take along."""

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
    """The player's plays, oldest first; fit for JSON."""
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
        "rounds": [_round_to_dict(round_) for round_ in _query_rounds(player)],
        "nym_or_not": [_pair_session_to_dict(sitting) for sitting in _query_pair_sessions(player)],
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


def _pair_session_to_dict(sitting: PairSession) -> dict[str, Any]:
    return {
        "id": str(sitting.pk),
        "state": sitting.state,
        "untimed": sitting.untimed,
        "started_at": _format_time(sitting.started_at),
        "ended_at": _format_time(sitting.ended_at),
        "score": sitting.score,
        "votes": [
            {
                "relation": vote.relation,
                "base_word": vote.base,
                "answer": vote.answer,
                "yes": vote.yes,
                "points": vote.points,
            }
            for vote in sitting.votes.all()
        ],
    }


def _format_time(moment: Any) -> str | None:
    return None if moment is None else moment.isoformat()
