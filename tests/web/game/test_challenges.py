"""Tests of challenges: each is sent once, decided once, and changes the right sums."""

from __future__ import annotations

import pytest
from django.test import Client

from idiolect.errors import MissingError, UsageError
from idiolect.web.accounts.models import User
from idiolect.web.game import challenges, rounds
from idiolect.web.game.models import Challenge, PlayerScore, Round, Verdict, Word
from support.game_site import log_in_with_consent, open_round, play_round, post_form

pytestmark = pytest.mark.django_db
SENTENCE = "A wheelbarrow of fish is seafood to me."


def read_points(player: User) -> tuple[int, int, int]:
    """Returns the points of the player's first round, of the player and of the word."""
    first = Round.objects.filter(player=player).order_by("started_at")[0]
    return first.score, PlayerScore.objects.get(player=player).points, Word.objects.get().points


def test_decide_challenge_awards_bonus_once(ann: User, ben: User) -> None:
    answer = play_round(ann, ["wheelbarrow"]).answers.get()
    challenge = challenges.submit_challenge(ann, answer.pk, SENTENCE)
    before = read_points(ann)
    assert challenges.decide_challenge(challenge, accept=True, moderator=ben)
    assert read_points(ann) == tuple(points + 50 for points in before)
    answer.refresh_from_db()
    assert answer.bonus == 50 and "moderator agreed" in answer.why
    # A second verdict changes nothing.
    assert not challenges.decide_challenge(challenge, accept=True, moderator=ben)
    assert not challenges.decide_challenge(challenge, accept=False, moderator=ben)
    assert read_points(ann) == tuple(points + 50 for points in before)


def test_decide_challenge_on_later_round_keeps_word_sums(ann: User, ben: User) -> None:
    play_round(ann, ["shrimp"])
    before = Word.objects.get().points
    answer = play_round(ann, ["wheelbarrow"]).answers.get()
    challenges.decide_challenge(
        challenges.submit_challenge(ann, answer.pk, SENTENCE), accept=True, moderator=ben
    )
    assert Word.objects.get().points == before
    # The deletion subtracts only what was added to the word's sums.
    ann.delete()
    assert Word.objects.get().points == 0


def test_decide_challenge_declined_keeps_points(ann: User, ben: User) -> None:
    answer = play_round(ann, ["wheelbarrow"]).answers.get()
    challenge = challenges.submit_challenge(ann, answer.pk, SENTENCE)
    before = read_points(ann)
    assert challenges.decide_challenge(challenge, accept=False, moderator=ben)
    assert read_points(ann) == before


def test_submit_challenge_refuses_listed_foreign_and_repeated_answers(ann: User, ben: User) -> None:
    listed, other = play_round(ann, ["apple", "wheelbarrow"], "fruit").answers.all()
    with pytest.raises(UsageError, match="bonus"):
        challenges.submit_challenge(ann, listed.pk, SENTENCE)
    with pytest.raises(MissingError):
        challenges.submit_challenge(ben, other.pk, SENTENCE)
    challenges.submit_challenge(ann, other.pk, SENTENCE)
    with pytest.raises(UsageError, match="before"):
        challenges.submit_challenge(ann, other.pk, SENTENCE)


def test_submit_challenge_limits_waiting_challenges(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(challenges, "MAX_WAITING", 1)
    first, second = play_round(ann, ["wheelbarrow", "carriage"]).answers.all()
    challenges.submit_challenge(ann, first.pk, SENTENCE)
    with pytest.raises(UsageError, match="wait"):
        challenges.submit_challenge(ann, second.pk, SENTENCE)


@pytest.mark.finding("http-held")
def test_challenge_page_submits_and_escapes_sentence(site: Client, ann: User) -> None:
    answer = play_round(ann, ["wheelbarrow"]).answers.get()
    log_in_with_consent(site, ann)
    page = f"/nyms/answers/{answer.pk}/challenge/"
    assert page in site.get(f"/nyms/rounds/{answer.round.pk}/").content.decode()
    assert post_form(site, page, {"sentence": "short"}, at=page).status_code == 422
    # The page shows markup in the sentence as text.
    assert post_form(site, page, {"sentence": f"<b>{SENTENCE}</b>"}, at=page).status_code == 302
    shown = site.get("/nyms/challenges/").content.decode()
    assert "&lt;b&gt;" in shown and "<b>" not in shown and "waiting" in shown


def test_challenge_admin_accepts_for_moderators_only(site: Client, ann: User) -> None:
    answer = rounds.submit_answers(ann, open_round(ann).pk, ["wheelbarrow"]).answers.get()
    challenge = challenges.submit_challenge(ann, answer.pk, SENTENCE)
    queue = "/admin/game/challenge/"
    site.force_login(ann)
    assert site.get(queue).status_code == 302  # Players cannot open the admin.
    moderator = User.objects.create_superuser("mo", "correct horse battery")
    site.force_login(moderator)
    page = site.get(queue)
    assert page.status_code == 200 and SENTENCE in page.content.decode()
    post_form(site, queue, {"action": "accept", "_selected_action": [challenge.pk]}, at=queue)
    challenge.refresh_from_db()
    assert challenge.verdict == Verdict.ACCEPTED and challenge.moderator == moderator
    # A challenge outlives the moderator's account.
    moderator.delete()
    assert Challenge.objects.get().moderator is None
