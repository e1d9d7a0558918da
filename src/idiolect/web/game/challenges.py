"""A player's word against WordNet's: a sentence for an answer without bonus; a moderator decides.

An accepted challenge gives the answer the bonus that WordNet's word would have given, in the round
where it was played, and marks the pair as confirmed in what leaves the game as data. It is not
shown to other players.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from idiolect.errors import MissingError, UsageError
from idiolect.game.rules.scoring import LISTED_BONUS
from idiolect.web.game.models import Answer, Challenge, PlayerScore, Round, State, Verdict, Word

MAX_WAITING = 20
"""Challenges of one player that may wait: a moderator's evening is short."""


def find_answer(player: Any, answer_id: int) -> Answer:
    """An answer of this player's own. Raises MissingError for any other."""
    found = (
        Answer.objects.select_related("word", "round").filter(player=player, pk=answer_id).first()
    )
    if found is None:
        raise MissingError(
            f"you have no answer {answer_id}; open one of your rounds and choose there"
        )
    return found


def submit_challenge(player: Any, answer_id: int, sentence: str) -> Challenge:
    """Puts a challenge into the queue.

    Raises MissingError for an answer that is not the player's, UsageError where there is nothing to
    challenge, it was challenged before, or too many wait.
    """
    answer = find_answer(player, answer_id)
    if answer.bonus:
        raise UsageError(
            f"{answer.text!r} has its {LISTED_BONUS} bonus points; nothing to challenge"
        )
    waiting = Challenge.objects.filter(answer__player=player, verdict=Verdict.WAITING).count()
    if waiting >= MAX_WAITING:
        raise UsageError(f"{waiting} of your challenges wait for a moderator; make more after that")
    try:
        with transaction.atomic():
            return Challenge.objects.create(answer=answer, sentence=sentence)
    except IntegrityError:
        raise UsageError(
            f"you challenged {answer.text!r} before; each answer has one try"
        ) from None


def list_challenges(player: Any) -> QuerySet[Challenge]:
    """The player's challenges, latest first."""
    return (
        Challenge.objects.filter(answer__player=player)
        .select_related("answer__word", "answer__round")
        .order_by("-made_at")
    )


def decide_challenge(challenge: Challenge, *, accept: bool, moderator: Any) -> bool:
    """A moderator's verdict; False where there was one already, which stands."""
    with transaction.atomic():
        decided = Challenge.objects.filter(pk=challenge.pk, verdict=Verdict.WAITING).update(
            verdict=Verdict.ACCEPTED if accept else Verdict.DECLINED,
            decided_at=Now(),
            moderator=moderator,
        )
        if decided and accept:
            _award_bonus(Answer.objects.select_related("round__word").get(pk=challenge.answer.pk))
    return bool(decided)


def _award_bonus(answer: Answer) -> None:
    why = f"{answer.why} A moderator agreed with your challenge."
    Answer.objects.filter(pk=answer.pk).update(bonus=LISTED_BONUS, why=why)
    Round.objects.filter(pk=answer.round.pk).update(score=F("score") + LISTED_BONUS)
    PlayerScore.objects.filter(player=answer.player, untimed=answer.round.untimed).update(
        points=F("points") + LISTED_BONUS
    )
    first = (
        Round.objects.filter(
            player=answer.player,
            word=answer.word,
            state=State.FINISHED,
            answered__gt=0,
        )
        .order_by("ended_at", "pk")
        .values_list("pk", flat=True)
        .first()
    )
    # The word's sums hold each player's first round only, as `rounds` wrote them.
    if first == answer.round.pk:
        Word.objects.filter(pk=answer.word.pk).update(points=F("points") + LISTED_BONUS)
