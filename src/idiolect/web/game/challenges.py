"""Challenges: a player defends an answer that got no bonus, and a moderator decides.

If a moderator accepts, the answer gets the bonus for answers that WordNet lists, in the round in
which it was given, and exports mark the pair as confirmed. Other players do not see challenges.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from idiolect.game.rules.scoring import LISTED_BONUS
from idiolect.web.accounts.problems import NotNowError, NotYoursError
from idiolect.web.game.models import Answer, Challenge, PlayerScore, Round, State, Verdict, Word

MAX_WAITING = 20
"""Maximum number of waiting challenges per player, because a moderator reads each one."""


def find_answer(player: Any, answer_id: int) -> Answer:
    """Return one of this player's own answers. Raises NotYoursError for any other answer."""
    found = (
        Answer.objects.select_related("word", "round").filter(player=player, pk=answer_id).first()
    )
    if found is None:
        raise NotYoursError(
            f"you have no answer {answer_id}; open one of your rounds and choose an answer there"
        )
    return found


def submit_challenge(player: Any, answer_id: int, sentence: str) -> Challenge:
    """Add a challenge to the moderators' queue.

    Raises NotYoursError if the answer is not the player's, and NotNowError if the answer already
    has the bonus, if it was challenged before, or if too many of the player's challenges wait.
    """
    answer = find_answer(player, answer_id)
    if answer.bonus:
        raise NotNowError(
            f"{answer.text!r} already has its {LISTED_BONUS} bonus points; choose another answer"
        )
    # A limit per player keeps the queue short enough to read.
    waiting = Challenge.objects.filter(answer__player=player, verdict=Verdict.WAITING).count()
    if waiting >= MAX_WAITING:
        raise NotNowError(
            f"{waiting} of your challenges still wait for a moderator; "
            "send more once these are decided"
        )
    try:
        # The database allows one challenge per answer, so a second request fails here.
        with transaction.atomic():
            return Challenge.objects.create(answer=answer, sentence=sentence)
    except IntegrityError:
        raise NotNowError(
            f"you challenged {answer.text!r} before; you can challenge each answer once"
        ) from None


def list_challenges(player: Any) -> QuerySet[Challenge]:
    """Return the player's challenges, latest first."""
    return (
        Challenge.objects.filter(answer__player=player)
        .select_related("answer__word", "answer__round")
        .order_by("-made_at")
    )


def decide_challenge(challenge: Challenge, *, accept: bool, moderator: Any) -> bool:
    """Store a moderator's verdict. Returns False if there is one already, and keeps that one."""
    with transaction.atomic():
        # A conditional update: of two moderators who decide at once, only one changes the row.
        decided = Challenge.objects.filter(pk=challenge.pk, verdict=Verdict.WAITING).update(
            verdict=Verdict.ACCEPTED if accept else Verdict.DECLINED,
            decided_at=Now(),
            moderator=moderator,
        )
        if decided and accept:
            _award_bonus(Answer.objects.select_related("round__word").get(pk=challenge.answer.pk))
    return bool(decided)


def _award_bonus(answer: Answer) -> None:
    """Add the bonus to the answer, its round, the player's sums and perhaps the word's sums."""
    why = f"{answer.why} A moderator agreed with your challenge."
    Answer.objects.filter(pk=answer.pk).update(bonus=LISTED_BONUS, why=why)
    # All sums change with `F` expressions in the database, so that no concurrent change is lost.
    Round.objects.filter(pk=answer.round.pk).update(score=F("score") + LISTED_BONUS)
    PlayerScore.objects.filter(player=answer.player, untimed=answer.round.untimed).update(
        points=F("points") + LISTED_BONUS
    )
    # The word's sums include only each player's first round on it (`scoring.save_score`).
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
    if first == answer.round.pk:
        Word.objects.filter(pk=answer.word.pk).update(points=F("points") + LISTED_BONUS)
