"""Accounts and guests: signing up, in and out, passwords, export, deletion."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client, override_settings

from idiolect.web.accounts import personal_data
from idiolect.web.accounts.models import User, compute_name_key
from idiolect.web.accounts.players import get_player_or_create_guest
from support.django_site import PASSWORD

pytestmark = pytest.mark.django_db
NEW = "another fine password"


def token(client: Client, path: str) -> str:
    """The CSRF token of the form on a page."""
    page = client.get(path).content.decode()
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, page
    return found[1]


def send(client: Client, path: str, **fields: str) -> Any:
    """Fill in the form on a page as a browser would."""
    return client.post(path, fields | {"csrfmiddlewaretoken": token(client, path)})


def signed_in(client: Client) -> str | None:
    """The primary key of whom the session belongs to."""
    return client.session.get("_auth_user_id")


def guest_of(client: Client) -> User:
    """Make the client's visitor a guest, as a first round does."""
    user = User.objects.create_guest()
    client.force_login(user)
    return user


def test_signing_up_signs_in(site: Client) -> None:
    answer = send(site, "/sign-up/", username="cleo", password=PASSWORD)
    assert answer.status_code == 302
    user = User.objects.get(username="cleo")
    assert signed_in(site) == str(user.pk)
    assert user.check_password(PASSWORD) and not user.is_guest and not user.is_staff


@pytest.mark.parametrize("name", ["ann", "ANN", "Ann", "ａｎｎ"])
def test_a_name_that_looks_like_anothers_is_taken(site: Client, ann: User, name: str) -> None:
    answer = send(site, "/sign-up/", username=name, password=PASSWORD)
    assert answer.status_code == 422
    assert b"Somebody else has that name." in answer.content
    assert User.objects.count() == 1


@pytest.mark.parametrize(
    ("name", "password", "why"),
    [
        ("guest-abc", PASSWORD, "guests begin like that"),
        ("<script>", PASSWORD, "Letters, digits"),
        ("a b", PASSWORD, "Letters, digits"),
        ("x", PASSWORD, "At least 2 letters"),
        ("Sh1t_99", PASSWORD, "list of insults"),
        ("dora", "short", "too short"),
        ("dora", "12345678", "too common"),
        ("doraemonia", "doraemonia", "too similar"),
    ],
)
def test_what_cannot_be_an_account_says_why(
    site: Client, name: str, password: str, why: str
) -> None:
    answer = send(site, "/sign-up/", username=name, password=password)
    assert answer.status_code == 422
    assert why in answer.content.decode()
    assert not User.objects.exists()
    assert b"<script>" not in answer.content


def test_a_name_taken_between_check_and_save(site: Client, monkeypatch: Any) -> None:
    from idiolect.web.accounts import forms

    monkeypatch.setattr(
        forms.SignUpForm, "clean_username", lambda form: form.cleaned_data["username"]
    )
    monkeypatch.setattr(forms.SignUpForm, "validate_unique", lambda form: None)
    User.objects.create_user("cleo", PASSWORD)
    answer = send(site, "/sign-up/", username="cleo", password=PASSWORD)
    assert answer.status_code == 422
    assert b"Somebody else has that name." in answer.content


def test_a_guest_who_signs_up_stays_the_same_person(site: Client) -> None:
    guest = guest_of(site)
    before = site.session.session_key
    assert send(site, "/sign-up/", username="cleo", password=PASSWORD).status_code == 302
    cleo = User.objects.get()
    assert (cleo.pk, cleo.name, cleo.is_guest) == (guest.pk, "cleo", False)
    assert signed_in(site) == str(cleo.pk)
    assert site.session.session_key != before


def test_a_guests_mistake_does_not_rename_the_page(site: Client) -> None:
    guest = guest_of(site)
    page = send(site, "/sign-up/", username="cleo!", password=PASSWORD).content.decode()
    assert guest.name in page
    guest.refresh_from_db()
    assert guest.is_guest


def test_visitors_become_guests_once(rf: Any) -> None:
    from django.contrib.auth.models import AnonymousUser
    from django.contrib.sessions.backends.db import SessionStore

    request = rf.post("/")
    request.session, request.user = SessionStore(), AnonymousUser()
    first = get_player_or_create_guest(request)
    assert first.is_guest and not first.has_usable_password()
    assert re.fullmatch(r"Guest [0-9a-f]{4}", first.name)
    assert get_player_or_create_guest(request) == first
    assert User.objects.count() == 1


@pytest.mark.parametrize("name", ["ann", "ANN"])
def test_signing_in_whatever_the_case(site: Client, ann: User, name: str) -> None:
    assert send(site, "/sign-in/", username=name, password=PASSWORD).status_code == 302
    assert signed_in(site) == str(ann.pk)


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_a_wrong_password_and_a_wrong_name_look_alike(site: Client, ann: User, name: str) -> None:
    answer = send(site, "/sign-in/", username=name, password="wrong")
    assert answer.status_code == 422
    assert "Please enter a correct name and password" in answer.content.decode()
    assert signed_in(site) is None


def test_a_session_planted_before_signing_in_is_worth_nothing(site: Client, ann: User) -> None:
    site.get("/sign-in/")
    session = site.session
    session["planted"] = "by somebody"
    session.save()
    site.cookies["sessionid"] = session.session_key
    assert send(site, "/sign-in/", username="ann", password=PASSWORD).status_code == 302
    assert site.session.session_key != session.session_key
    other = Client()
    other.cookies["sessionid"] = session.session_key
    assert signed_in(other) is None


def test_a_guests_session_does_not_survive_signing_in(site: Client, ann: User) -> None:
    guest_of(site)
    session = site.session
    session["of the guest"] = 1
    session.save()
    send(site, "/sign-in/", username="ann", password=PASSWORD)
    assert "of the guest" not in site.session


@pytest.mark.parametrize(
    ("target", "lands"),
    [("/account/", "/account/"), ("https://evil.example/", "/"), ("//evil.example", "/")],
)
def test_signing_in_leads_on_only_within_the_site(
    site: Client, ann: User, target: str, lands: str
) -> None:
    answer = send(site, "/sign-in/", username="ann", password=PASSWORD, next=target)
    assert answer.headers["Location"] == lands


def test_signing_out_takes_a_post(site: Client, ann: User) -> None:
    site.force_login(ann)
    assert site.get("/sign-out/").status_code == 405
    assert signed_in(site) == str(ann.pk)
    assert send_from(site, "/account/", "/sign-out/").status_code == 302
    assert signed_in(site) is None


def send_from(client: Client, page: str, path: str, **fields: str) -> Any:
    """Send a form that stands on another page."""
    return client.post(path, fields | {"csrfmiddlewaretoken": token(client, page)})


def test_a_form_from_elsewhere_is_refused(site: Client, ann: User) -> None:
    answer = site.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    assert answer.status_code == 403
    assert b"That form was too old" in answer.content
    assert signed_in(site) is None


def test_changing_the_password_ends_other_sessions(site: Client, ann: User) -> None:
    site.force_login(ann)
    other = Client()
    other.force_login(ann)
    fields = {"new_password1": NEW, "new_password2": NEW}
    wrong = send(site, "/account/password/", old_password="wrong", **fields)
    assert wrong.status_code == 422
    assert send(site, "/account/password/", old_password=PASSWORD, **fields).status_code == 302
    assert site.get("/account/").status_code == 200
    assert other.get("/account/").status_code == 302
    ann.refresh_from_db()
    assert ann.check_password(NEW)


@pytest.mark.parametrize("path", ["/account/", "/account/password/", "/account/delete/"])
def test_visitors_are_asked_to_sign_in(site: Client, path: str) -> None:
    assert site.get(path).headers["Location"] == f"/sign-in/?next={path}"


class Notes:
    """A holder that keeps a note of each person in memory."""

    name = "notes"

    def __init__(self) -> None:
        self.kept: dict[int, str] = {}

    def export_data(self, user: User) -> Any:
        return self.kept.get(user.pk)

    def erase_data(self, user: User) -> None:
        self.kept.pop(user.pk, None)


@pytest.fixture
def notes(monkeypatch: Any) -> Notes:
    monkeypatch.setattr(personal_data, "_SOURCES", dict(personal_data._SOURCES))
    found = Notes()
    personal_data.register_source(found)
    return found


def test_the_export_holds_what_holders_keep(site: Client, ann: User, notes: Notes) -> None:
    notes.kept[ann.pk] = "likes “words”"
    site.force_login(ann)
    answer = site.get("/account/export/")
    assert "attachment" in answer.headers["Content-Disposition"]
    found = json.loads(answer.content)
    assert found["account"]["name"] == "ann"
    assert found["notes"] == "likes “words”"
    assert "password" not in answer.content.decode()


def test_deleting_oneself_takes_the_password_and_everything(
    site: Client, ann: User, ben: User, notes: Notes
) -> None:
    notes.kept = {ann.pk: "ann's", ben.pk: "ben's"}
    site.force_login(ann)
    assert send(site, "/account/delete/", password="wrong").status_code == 422
    assert User.objects.count() == 2
    assert send(site, "/account/delete/", password=PASSWORD).status_code == 302
    assert [user.name for user in User.objects.all()] == ["ben"]
    assert notes.kept == {ben.pk: "ben's"}
    assert signed_in(site) is None


def test_a_guest_deletes_themselves_by_a_tick(site: Client) -> None:
    guest_of(site)
    assert send(site, "/account/delete/").status_code == 422
    assert send(site, "/account/delete/", sure="on").status_code == 302
    assert not User.objects.exists()


def test_who_a_moderator_deletes_is_erased_too(ann: User, notes: Notes) -> None:
    notes.kept[ann.pk] = "ann's"
    User.objects.filter(username="ann").delete()
    assert notes.kept == {}


def test_a_holder_that_fails_keeps_the_account(ann: User, notes: Notes, monkeypatch: Any) -> None:
    def refuse(user: User) -> None:
        raise OSError("the disk is away")

    monkeypatch.setattr(notes, "erase_data", refuse)
    with pytest.raises(OSError, match="away"):
        personal_data.erase_person(ann)
    assert User.objects.filter(username="ann").exists()


def test_somebody_shut_out_cannot_come_in(site: Client, ann: User) -> None:
    site.force_login(ann)
    User.objects.update(is_active=False)
    assert site.get("/account/").status_code == 302
    assert send(site, "/sign-in/", username="ann", password=PASSWORD).status_code == 422


def test_passwords_are_kept_as_argon2() -> None:
    from idiolect.web import settings as real

    with override_settings(PASSWORD_HASHERS=real.PASSWORD_HASHERS):
        assert User.objects.create_user("cleo", PASSWORD).password.startswith("argon2$argon2id$")


def test_keys_of_names() -> None:
    assert compute_name_key("Straße") == compute_name_key("STRASSE")
    assert compute_name_key("ann") != compute_name_key("anne")
