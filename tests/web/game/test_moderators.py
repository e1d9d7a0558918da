"""What moderators may do in the admin pages: two things, and nothing else."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from idiolect.web.accounts.models import User
from idiolect.web.game import challenges
from idiolect.web.game.models import Challenge, HiddenAnswer, Verdict
from idiolect.web.game.moderators import appoint_administrator, appoint_moderator
from support.game_site import play_round, post_form

pytestmark = [pytest.mark.django_db, pytest.mark.finding("moderators")]
QUEUE, HIDDEN = "/admin/game/challenge/", "/admin/game/hiddenanswer/"
SENTENCE = "A wheelbarrow of fish is seafood to me."


@pytest.fixture
def challenge(ann: User) -> Challenge:
    """A challenge by ann."""
    answer = play_round(ann, ["wheelbarrow"]).answers.get()
    return challenges.submit_challenge(ann, answer.pk, SENTENCE)


@pytest.fixture
def desk(site: Client, ben: User) -> Client:
    """The browser of the moderator ben."""
    appoint_moderator(ben)
    site.force_login(ben)
    return site


def test_moderator_decides_on_challenges(desk: Client, challenge: Challenge) -> None:
    assert SENTENCE in desk.get(QUEUE).content.decode()
    # The page of one challenge can be read, but not changed.
    page = f"{QUEUE}{challenge.pk}/change/"
    shown = desk.get(page).content.decode()
    assert "ann" not in shown and 'name="verdict"' not in shown
    changed = post_form(desk, page, {"verdict": "accepted"}, at=QUEUE)
    assert changed.status_code == 403
    post_form(desk, QUEUE, {"action": "accept", "_selected_action": [challenge.pk]}, at=QUEUE)
    challenge.refresh_from_db()
    assert challenge.verdict == Verdict.ACCEPTED


def test_moderator_hides_and_shows_answers(desk: Client) -> None:
    assert post_form(desk, f"{HIDDEN}add/", {"stem": "wheelbarrow"}, at=HIDDEN).status_code == 302
    hidden = HiddenAnswer.objects.get()
    page = f"{HIDDEN}{hidden.pk}/delete/"
    assert post_form(desk, page, {"post": "yes"}, at=page).status_code == 302
    assert not HiddenAnswer.objects.exists()


def test_moderator_sees_and_changes_nothing_else(
    desk: Client, ann: User, ben: User, challenge: Challenge
) -> None:
    index = desk.get("/admin/").content.decode()
    for model in ("accounts/user", "auth/group", "game/round", "game/word"):
        assert f"/admin/{model}/" not in index
    round_, word = challenge.answer.round, challenge.answer.word
    pages = [
        "/admin/accounts/user/",
        f"/admin/accounts/user/{ann.pk}/change/",
        f"/admin/accounts/user/{ann.pk}/delete/",
        f"/admin/accounts/user/{ben.pk}/change/",
        f"/admin/accounts/user/{ben.pk}/password/",
        f"/admin/accounts/user/{ann.pk}/history/",
        "/admin/auth/group/",
        "/admin/auth/group/add/",
        "/admin/game/round/",
        f"/admin/game/round/{round_.pk}/change/",
        "/admin/game/word/",
        f"/admin/game/word/{word.pk}/change/",
        f"{QUEUE}add/",
        f"{QUEUE}{challenge.pk}/delete/",
        # Filters through relations would answer questions about players.
        f"{QUEUE}?answer__player__username=ann",
        f"{QUEUE}?answer__player={ann.pk}",
    ]
    token = post_form(desk, HIDDEN, {}, at=HIDDEN)  # a token is valid on all pages
    assert token.status_code in (200, 302)
    for page in pages:
        assert desk.get(page).status_code in (302, 400, 403, 404), page
        sent = post_form(desk, page, {"is_superuser": "on", "post": "yes"}, at=HIDDEN)
        assert sent.status_code in (302, 400, 403, 404), page
    # Nothing happened: the redirects lead away without an effect.
    ben.refresh_from_db()
    challenge.refresh_from_db()
    assert ben.is_staff and not ben.is_superuser and User.objects.count() == 2
    assert challenge.verdict == Verdict.WAITING and not LogEntry.objects.exists()


def test_moderator_has_four_permissions(ben: User) -> None:
    # Some rights of an earlier role are taken away.
    ben.user_permissions.add(Permission.objects.get(codename="delete_user"))
    appoint_administrator(ben)
    appoint_moderator(ben)
    assert User.objects.get(pk=ben.pk).get_all_permissions() == {
        "game.change_challenge",
        "game.view_hiddenanswer",
        "game.add_hiddenanswer",
        "game.delete_hiddenanswer",
    }


def test_moderator_plays_like_all_people(desk: Client, challenge: Challenge) -> None:
    page = reverse("game:challenge", args=[challenge.answer.pk])
    assert desk.get(page).status_code in (302, 404)
