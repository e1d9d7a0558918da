"""Accounts and guests: sign-up, sign-in, sign-out, passwords, export, deletion."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.utils import timezone

from idiolect.web.accounts import personal_data
from idiolect.web.accounts.models import User
from idiolect.web.accounts.names import compute_name_key, is_reserved
from idiolect.web.accounts.players import get_player_or_create_guest
from idiolect.web.jobs import worker
from idiolect.web.models import Session
from idiolect.web.sessions import SessionStore
from support.django_site import PASSWORD

pytestmark = pytest.mark.django_db
NEW = "another fine password"


def read_csrf_token(client: Client, path: str) -> str:
    """Return the CSRF token of the form on a page."""
    page = client.get(path).content.decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, page
    return found[1]


def send_form(client: Client, path: str, **fields: str) -> Any:
    """Load the page at ``path`` and submit its form as a browser would."""
    return send_form_from(client, path, path, **fields)


def send_form_from(client: Client, page: str, path: str, **fields: str) -> Any:
    """Submit a form of ``page`` to ``path``."""
    return client.post(path, fields | {"csrfmiddlewaretoken": read_csrf_token(client, page)})


def get_signed_in_key(client: Client) -> str | None:
    """Return the primary key of the session's user; None without one."""
    return client.session.get("_auth_user_id")


def create_guest_for(client: Client) -> User:
    """Make the client's visitor a guest, as their first round does."""
    user = User.objects.create_guest()
    client.force_login(user)
    return user


def test_sign_up_creates_account_and_signs_in(site: Client) -> None:
    answer = send_form(site, "/sign-up/", username="cleo", password=PASSWORD)
    assert answer.status_code == 302
    user = User.objects.get(username="cleo")
    assert get_signed_in_key(site) == str(user.pk)
    assert user.check_password(PASSWORD) and not user.is_guest and not user.is_staff


@pytest.mark.finding("names")
@pytest.mark.parametrize(
    "name",
    ["ann", "ANN", "Ann", "\uff41\uff4e\uff4e", "\u0430nn", "\u0391NN", "an\u039d", "ann\u3164"],
)
def test_sign_up_refuses_name_that_looks_the_same(site: Client, ann: User, name: str) -> None:
    answer = send_form(site, "/sign-up/", username=name, password=PASSWORD)
    assert answer.status_code == 422
    assert b"Another player has that name." in answer.content
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("guest-abc", PASSWORD, "Guest names begin like that"),
        ("<script>", PASSWORD, "Letters, digits"),
        ("a b", PASSWORD, "Letters, digits"),
        ("x", PASSWORD, "At least 2 letters"),
        ("Sh1t_99", PASSWORD, "list of insults"),
        ("dora", "short", "too short"),
        ("dora", "12345678", "too common"),
        ("doraemonia", "doraemonia", "too similar"),
    ],
)
def test_sign_up_with_invalid_name_or_password_says_why(
    site: Client, name: str, password: str, why: str
) -> None:
    answer = send_form(site, "/sign-up/", username=name, password=password)
    assert answer.status_code == 422
    assert why in answer.content.decode()
    assert not User.objects.exists()
    assert b"<script>" not in answer.content


@pytest.mark.finding("names")
@pytest.mark.parametrize(
    "name",
    [
        *(
            "admin",
            "ADMIN",
            "\u0430dmin",
            "\uff21dmin",
            "4dm1n",
            "adm\u0131n",
            "admln",
            "\u00e1dmin",
        ),
        *("Moderator", "m0derator", "mod", "mods_2", "Nyms-Staff", "the.admin", "admin99"),
        *("st4ff", "official", "Site_Support", "nyms", "idiolect-team"),
    ],
)
def test_sign_up_refuses_names_of_those_who_run_the_site(site: Client, name: str) -> None:
    answer = send_form(site, "/sign-up/", username=name, password=PASSWORD)
    assert answer.status_code == 422
    assert b"This name belongs to those who run the site" in answer.content
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["modesty", "helena", "stafford", "roots", "adminah", "syst3ms"])
def test_is_reserved_lets_other_names_pass(name: str) -> None:
    assert not is_reserved(name)


def test_sign_up_refuses_name_taken_after_validation(site: Client, monkeypatch: Any) -> None:
    from idiolect.web.accounts import forms

    # Skip the checks of the form, as if the other account were created just after them.
    monkeypatch.setattr(
        forms.SignUpForm, "clean_username", lambda form: form.cleaned_data["username"]
    )
    monkeypatch.setattr(forms.SignUpForm, "validate_unique", lambda form: None)
    User.objects.create_user("cleo", PASSWORD)
    answer = send_form(site, "/sign-up/", username="cleo", password=PASSWORD)
    assert answer.status_code == 422
    assert b"Another player has that name." in answer.content


@pytest.mark.finding("http-held")
def test_sign_up_turns_guest_into_account(site: Client) -> None:
    guest = create_guest_for(site)
    before = site.session.session_key
    assert send_form(site, "/sign-up/", username="cleo", password=PASSWORD).status_code == 302
    cleo = User.objects.get()
    assert (cleo.pk, cleo.name, cleo.is_guest) == (guest.pk, "cleo", False)
    assert get_signed_in_key(site) == str(cleo.pk)
    assert site.session.session_key != before


def test_sign_up_with_invalid_name_still_shows_guest_name(site: Client) -> None:
    guest = create_guest_for(site)
    page = send_form(site, "/sign-up/", username="cleo!", password=PASSWORD).content.decode()
    assert guest.name in page
    guest.refresh_from_db()
    assert guest.is_guest


def test_get_player_or_create_guest_creates_one_guest(rf: Any) -> None:
    from django.contrib.auth.models import AnonymousUser

    request = rf.post("/")
    request.session, request.user = SessionStore(), AnonymousUser()
    first = get_player_or_create_guest(request)
    assert first.is_guest and not first.has_usable_password()
    assert re.fullmatch(r"Guest [0-9a-f]{4}", first.name)
    assert get_player_or_create_guest(request) == first
    assert User.objects.count() == 1


@pytest.mark.parametrize("name", ["ann", "ANN"])
def test_sign_in_ignores_case_of_name(site: Client, ann: User, name: str) -> None:
    assert send_form(site, "/sign-in/", username=name, password=PASSWORD).status_code == 302
    assert get_signed_in_key(site) == str(ann.pk)


@pytest.mark.parametrize("name", ["ann", "unknown"])
def test_sign_in_answers_wrong_password_like_unknown_name(
    site: Client, ann: User, name: str
) -> None:
    answer = send_form(site, "/sign-in/", username=name, password="wrong")
    assert answer.status_code == 422
    assert "Please enter a correct name and password" in answer.content.decode()
    assert get_signed_in_key(site) is None


@pytest.mark.finding("http-held")
def test_sign_in_replaces_planted_session(site: Client, ann: User) -> None:
    site.get("/sign-in/")
    session = site.session
    session["planted"] = "by an attacker"
    session.save()
    site.cookies["sessionid"] = session.session_key
    assert send_form(site, "/sign-in/", username="ann", password=PASSWORD).status_code == 302
    assert site.session.session_key != session.session_key
    other = Client()
    other.cookies["sessionid"] = session.session_key
    assert get_signed_in_key(other) is None


def test_sign_in_ends_guest_session(site: Client, ann: User) -> None:
    create_guest_for(site)
    session = site.session
    session["of the guest"] = 1
    session.save()
    send_form(site, "/sign-in/", username="ann", password=PASSWORD)
    assert "of the guest" not in site.session


@pytest.mark.finding("http-held")
@pytest.mark.parametrize(
    ("target", "lands"),
    [("/account/", "/account/"), ("https://evil.example/", "/"), ("//evil.example", "/")],
)
def test_sign_in_redirects_only_within_site(
    site: Client, ann: User, target: str, lands: str
) -> None:
    answer = send_form(site, "/sign-in/", username="ann", password=PASSWORD, next=target)
    assert answer.headers["Location"] == lands


def test_sign_out_requires_post(site: Client, ann: User) -> None:
    site.force_login(ann)
    assert site.get("/sign-out/").status_code == 405
    assert get_signed_in_key(site) == str(ann.pk)
    assert send_form_from(site, "/account/", "/sign-out/").status_code == 302
    assert get_signed_in_key(site) is None


@pytest.mark.finding("http-held")
def test_sign_in_refuses_form_without_csrf_token(site: Client, ann: User) -> None:
    answer = site.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 403
    assert b"This form has expired" in answer.content
    assert get_signed_in_key(site) is None


@pytest.mark.finding("http-held")
def test_change_password_ends_other_sessions(site: Client, ann: User) -> None:
    site.force_login(ann)
    other = Client()
    other.force_login(ann)
    fields = {"new_password1": NEW, "new_password2": NEW}
    wrong = send_form(site, "/account/password/", old_password="wrong", **fields)
    assert wrong.status_code == 422
    assert send_form(site, "/account/password/", old_password=PASSWORD, **fields).status_code == 302
    assert site.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302
    ann.refresh_from_db()
    assert ann.check_password(NEW)


@pytest.mark.parametrize("path", ["/account/", "/account/password/", "/account/delete/"])
def test_account_pages_redirect_visitors_to_sign_in(site: Client, path: str) -> None:
    assert site.get(path).headers["Location"] == f"/sign-in/?next={path}"


class NotesSource:
    """A source of personal data: a note about each person, in memory."""

    name = "notes"

    def __init__(self) -> None:
        self.notes: dict[int, str] = {}

    def export_data(self, user: User) -> Any:
        return self.notes.get(user.pk)

    def erase_data(self, user: User) -> None:
        self.notes.pop(user.pk, None)

    def remove_orphans(self) -> None:
        pass


@pytest.fixture
def source(monkeypatch: Any) -> NotesSource:
    """A registered source; the registry is restored after the test."""
    monkeypatch.setattr(personal_data, "_SOURCES", dict(personal_data._SOURCES))
    registered = NotesSource()
    personal_data.register_source(registered)
    return registered


def test_export_account_includes_registered_sources(
    site: Client, ann: User, source: NotesSource
) -> None:
    source.notes[ann.pk] = "likes “words”"
    site.force_login(ann)
    answer = site.get("/account/export/")
    assert "attachment" in answer.headers["Content-Disposition"]
    found = json.loads(answer.content)
    assert found["account"]["name"] == "ann"
    assert found["notes"] == "likes “words”"
    assert "password" not in answer.content.decode()


def test_delete_account_requires_password_and_erases_everything(
    site: Client, ann: User, ben: User, source: NotesSource
) -> None:
    source.notes = {ann.pk: "ann's", ben.pk: "ben's"}
    site.force_login(ann)
    assert send_form(site, "/account/delete/", password="wrong").status_code == 422
    assert User.objects.count() == 2
    assert send_form(site, "/account/delete/", password=PASSWORD).status_code == 302
    assert [user.name for user in User.objects.all()] == ["ben"]
    assert source.notes == {ben.pk: "ben's"}
    assert get_signed_in_key(site) is None


def test_delete_account_asks_guest_for_checkbox(site: Client) -> None:
    create_guest_for(site)
    assert send_form(site, "/account/delete/").status_code == 422
    assert send_form(site, "/account/delete/", sure="on").status_code == 302
    assert not User.objects.exists()


@pytest.mark.finding("deleted-player-remains")
def test_erase_person_ends_all_their_sessions(site: Client, ann: User, ben: User) -> None:
    for user in (ann, ann, ben):
        Client().force_login(user)
    site.force_login(ann)
    assert send_form(site, "/account/delete/", password=PASSWORD).status_code == 302
    assert [row.owner for row in Session.objects.exclude(owner=None)] == [ben]


@pytest.mark.finding("deleted-player-remains")
def test_erase_person_removes_name_from_admin_log(site: Client, ann: User, ben: User) -> None:
    ben.is_staff = ben.is_superuser = True
    ben.save()
    site.force_login(ben)
    # The administrator changes and then deletes the person, in both ways of the admin pages.
    page = f"/admin/accounts/user/{ann.pk}/change/"
    assert send_form(site, page, username="ann2", is_active="on").status_code == 302
    assert send_form(site, f"/admin/accounts/user/{ann.pk}/delete/", post="yes").status_code == 302
    cleo = User.objects.create_user("cleo")
    chosen = {"action": "delete_selected", "_selected_action": str(cleo.pk), "post": "yes"}
    send_form_from(site, "/admin/accounts/user/", "/admin/accounts/user/", **chosen)
    assert [user.name for user in User.objects.all()] == ["ben"]
    logged = LogEntry.objects.values_list("object_repr", "object_id", "change_message")
    assert len(logged) == 3 and set(logged) == {("a deleted person", None, "")}


@pytest.mark.finding("guests")
def test_sign_in_deletes_guest_of_the_session(site: Client, ann: User) -> None:
    create_guest_for(site)
    assert "games that you played as a guest are deleted" in site.get("/sign-in/").content.decode()
    assert send_form(site, "/sign-in/", username="ann", password="wrong").status_code == 422
    assert User.objects.count() == 2
    send_form(site, "/sign-in/", username="ann", password=PASSWORD)
    assert [user.name for user in User.objects.all()] == ["ann"]


@pytest.mark.finding("guests")
def test_guests_without_session_are_deleted_by_clean_up(ann: User) -> None:
    hour_ago = timezone.now() - timedelta(hours=2)
    # One guest's session is open, one expired, one was ended by signing out, and one is just made.
    browsers = [Client() for _ in range(3)]
    guests = [create_guest_for(browser) for browser in browsers]
    User.objects.update(joined=hour_ago)
    Session.objects.filter(owner=guests[1]).update(expire_date=hour_ago)
    browsers[2].post("/sign-out/")
    newest = User.objects.create_guest()
    worker.clean_up()
    assert set(User.objects.all()) == {ann, guests[0], newest}


@pytest.mark.finding("guests")
def test_sign_up_keeps_session_of_former_guest(site: Client) -> None:
    guest = create_guest_for(site)
    User.objects.update(joined=timezone.now() - timedelta(days=900))
    send_form(site, "/sign-up/", username="cleo", password=PASSWORD)
    worker.clean_up()
    assert Session.objects.get(owner=guest) and site.get("/account/").status_code == 200


@pytest.mark.finding("guests")
def test_game_start_renews_session_once_a_day(site: Client) -> None:
    send_form(site, "/nyms/notice/")
    send_form_from(site, "/nyms/", "/nyms/play/")
    soon = timezone.now() + timedelta(days=1)
    Session.objects.update(expire_date=soon)
    # The session was renewed today already; on another day it is renewed.
    send_form_from(site, "/nyms/", "/nyms/play/")
    assert Session.objects.get().expire_date == soon
    session = site.session
    session["renewed"] = "2026-01-01"
    session.save()
    Session.objects.update(expire_date=soon)
    send_form_from(site, "/nyms/", "/nyms/play/")
    assert Session.objects.get().expire_date > timezone.now() + timedelta(days=89)


def test_deleting_query_set_erases_personal_data(ann: User, source: NotesSource) -> None:
    # This is how the admin pages delete people.
    source.notes[ann.pk] = "ann's"
    User.objects.filter(username="ann").delete()
    assert source.notes == {}


def test_erase_person_keeps_account_if_source_fails(
    ann: User, source: NotesSource, monkeypatch: Any
) -> None:
    def refuse(user: User) -> None:
        raise OSError("the disk is away")

    monkeypatch.setattr(source, "erase_data", refuse)
    with pytest.raises(OSError, match="away"):
        personal_data.erase_person(ann)
    assert User.objects.filter(username="ann").exists()


def test_inactive_account_cannot_sign_in(site: Client, ann: User) -> None:
    site.force_login(ann)
    User.objects.update(is_active=False)
    assert site.get("/account/").status_code == 302
    assert send_form(site, "/sign-in/", username="ann", password=PASSWORD).status_code == 422


def test_create_user_hashes_password_with_argon2() -> None:
    from idiolect.web import settings as real

    with override_settings(PASSWORD_HASHERS=real.PASSWORD_HASHERS):
        assert User.objects.create_user("cleo", PASSWORD).password.startswith("argon2$argon2id$")


LIGATURE = "\ufdfa"
"""One character that normalization turns into 18."""


@pytest.mark.finding("names")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        (LIGATURE * 30, "at most 30 characters"),
        (LIGATURE * 5000, "at most 30 characters"),
        ("x" * 29 + "\ufb03", "at most 30 characters"),
        ("bea\u3164", "invisible character"),
        ("\u115fbea", "invisible character"),
        ("b\u1160ea", "invisible character"),
        ("b\uffa0ea", "invisible character"),
        ("bea\u200b", "invisible character"),
        ("bea\u202e", "invisible character"),
        ("bea\u00ad", "invisible character"),
        ("a\x00n", "Null characters"),
        ("bea\u2800", "Letters, digits"),
        ("ann ben", "Letters, digits"),
        ("\ufe00\ufe01", "invisible character"),
    ],
)
def test_names_are_normalized_before_they_are_checked(
    site: Client, ann: User, name: str, why: str
) -> None:
    answer = send_form(site, "/sign-up/", username=name, password=PASSWORD)
    assert answer.status_code == 422 and why in answer.content.decode()
    # The admin pages, the command for a first account, and the code refuse the name too.
    root = User.objects.create_superuser("root", PASSWORD)
    site.force_login(root)
    page = f"/admin/accounts/user/{ann.pk}/change/"
    answer = send_form(site, page, username=name, is_active="on")
    assert answer.status_code == 200 and why in answer.content.decode()
    environment = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with mock.patch.dict(os.environ, environment), pytest.raises(CommandError):
        call_command("createsuperuser", interactive=False, username=name)
    with pytest.raises(ValidationError):
        User.objects.create_user(name)
    assert {user.username for user in User.objects.all()} == {"ann", "root"}


@pytest.mark.finding("names")
@pytest.mark.parametrize(
    "name", ["Zo\u00eb", "zoe\u0308", "\u1eb2\u1ed3ng", "\u0418\u0432\u0430\u043d", "\u5f20\u4f1f"]
)
def test_sign_up_accepts_names_of_other_languages(site: Client, name: str) -> None:
    assert send_form(site, "/sign-up/", username=name, password=PASSWORD).status_code == 302
    assert User.objects.get().username == unicodedata.normalize("NFKC", name)
    Client().post("/sign-out/")
    answer = send_form(Client(), "/sign-in/", username=name.upper(), password=PASSWORD)
    assert answer.status_code == 302


def test_compute_name_key_ignores_case() -> None:
    assert compute_name_key("Straße") == compute_name_key("STRASSE")
    assert compute_name_key("ann") != compute_name_key("anne")
