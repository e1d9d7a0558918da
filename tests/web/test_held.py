"""What the security review found to hold: requests that other people's browsers or data may send.

Tests that held before carry the same mark, next to what they test.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from django.urls import URLPattern, get_resolver, reverse

from idiolect.web.accounts.models import User
from idiolect.web.accounts.names import compute_name_key
from idiolect.web.game import challenges
from idiolect.web.game.models import Challenge, PairSession, Round
from idiolect.web.my_model.models import OwnModel
from idiolect.web.rate_limits import get_client_address
from support.django_site import PASSWORD
from support.game_site import (
    PAIR,
    create_pair_session,
    log_in_with_consent,
    open_round,
    play_round,
    post_form,
)

pytestmark = [pytest.mark.django_db, pytest.mark.finding("http-held")]
SCRIPT = "<script>alert(1)</script>"


def iter_routes(resolver: Any, prefix: str = "") -> Iterator[str]:
    """Yield the paths of all routes but the admin pages', with made-up arguments."""
    for found in resolver.url_patterns:
        path = prefix + str(found.pattern)
        if isinstance(found, URLPattern):
            yield "/" + path.replace("<uuid:round_id>", str(UUID(int=1))).replace(
                "<uuid:pair_session_id>", str(UUID(int=1))
            ).replace("<int:answer_id>", "1")
        elif path != "admin/":
            yield from iter_routes(found, path)


def test_each_page_refuses_forms_without_csrf_token(ann: User) -> None:
    browser = Client(enforce_csrf_checks=True, headers={"host": "localhost"})
    log_in_with_consent(browser, ann)
    routes = [*iter_routes(get_resolver()), "/admin/accounts/user/", "/admin/game/challenge/add/"]
    assert len(routes) > 20 and "/account/delete/" in routes
    for path in routes:
        for headers in ({}, {"origin": "https://elsewhere.example"}, {"origin": "null"}):
            answer = browser.post(path, {"sure": "on", "password": PASSWORD}, headers=headers)
            # 405: takes no forms. 302: a page that moved, and the sign-in of moderators.
            assert answer.status_code in (403, 405, 302, 301, 410), path
    assert User.objects.get() == ann and not OwnModel.objects.exists()


@pytest.mark.parametrize("visitor", ["other player", "guest", "visitor"])
def test_objects_of_a_player_are_closed_to_all_others(
    site: Client, ann: User, ben: User, visitor: str
) -> None:
    played = play_round(ann, ["wheelbarrow"])
    opened, game = open_round(ann, "fruit"), create_pair_session(ann, PAIR)
    answer = played.answers.get()
    if visitor != "visitor":
        other = ben if visitor == "other player" else User.objects.create_guest()
        log_in_with_consent(site, other)
    own = [
        reverse("game:round", args=[played.pk]),
        reverse("game:round", args=[opened.pk]),
        reverse("game:skip", args=[opened.pk]),
        reverse("game:sitting", args=[game.pk]),
        reverse("game:challenge", args=[answer.pk]),
        reverse("my_model:answers", args=[played.pk]),
    ]
    refused = {302, 405} if visitor == "visitor" else {404, 405}
    for path in own:
        shown = site.get(path)
        assert shown.status_code in refused and b"wheelbarrow" not in shown.content, path
        fields = {"answer": "shrimp", "vote-0": "y", "sentence": "People eat it like any fish."}
        sent = post_form(site, path, fields, at="/sign-in/")
        assert sent.status_code in refused, path
    assert Round.objects.get(pk=opened.pk).state == "open"
    assert PairSession.objects.get().state == "open" and not Challenge.objects.exists()
    for path in ("/account/export/", "/nyms/api/my-plays.json"):
        assert b"wheelbarrow" not in site.get(path).content


@pytest.mark.parametrize(
    "target",
    [
        "https://elsewhere.example/",
        "//elsewhere.example",
        "///elsewhere.example",
        "/\\elsewhere.example",
        "\\\\elsewhere.example",
        "http:elsewhere.example",
        "https:/elsewhere.example",
        "javascript:alert(1)",
        "data:text/html,hello",
        "\thttps://elsewhere.example",
        "/\t/elsewhere.example",
        "https://localhost@elsewhere.example/",
    ],
)
def test_sign_in_and_sign_up_lead_to_no_other_site(site: Client, ann: User, target: str) -> None:
    for path, name in (("/sign-in/", "ann"), ("/sign-up/", "cleo")):
        fields = {"username": name, "password": PASSWORD, "next": target}
        answer = post_form(site, path, fields, at=path)
        assert answer.status_code == 302 and answer.headers["Location"] == "/"
        site.logout()


def test_sign_up_and_sign_out_change_the_session_key(site: Client) -> None:
    site.get("/sign-up/")
    session = site.session
    session.save()
    site.cookies["sessionid"] = planted = session.session_key
    post_form(site, "/sign-up/", {"username": "cleo", "password": PASSWORD}, at="/sign-up/")
    signed_in = site.cookies["sessionid"].value
    assert signed_in != planted
    post_form(site, "/sign-out/", {}, at="/account/")
    # Neither key opens the account any more.
    for key in (planted, signed_in):
        other = Client()
        other.cookies["sessionid"] = key
        assert other.get("/account/").status_code == 302


def test_texts_of_players_are_escaped_on_all_pages(site: Client, ann: User) -> None:
    for person in (ann, User.objects.create_guest(), User.objects.create_guest()):
        played = play_round(person, [SCRIPT, '" onmouseover="alert(1)', "{{ 7|add:7 }}"])
    answer = play_round(ann, ["wheelbarrow"], "fruit").answers.get()
    challenges.submit_challenge(ann, answer.pk, f"{SCRIPT} is a fruit")
    log_in_with_consent(site, ann)
    round_ = Round.objects.filter(player=ann, word=played.word).get()
    pages = [
        reverse("game:round", args=[round_.pk]),
        reverse("game:history"),
        reverse("game:challenges"),
        reverse("game:leaders"),
        reverse("game:challenge", args=[round_.answers.all()[0].pk]),
        "/account/",
    ]
    root = User.objects.create_superuser("root", PASSWORD)
    desk = Client(headers={"host": "localhost"})
    desk.force_login(root)
    texts = [site.get(page).content.decode() for page in pages]
    texts += [desk.get("/admin/game/challenge/").content.decode()]
    for text in texts:
        assert "<script>alert" not in text and 'onmouseover="alert' not in text
    assert sum("alert(1)" in text for text in texts) >= 3  # the texts are shown, as text
    # A name cannot hold markup at all.
    page = post_form(site, "/sign-up/", {"username": SCRIPT}, at="/account/")
    assert page.status_code == 302 and compute_name_key("ann") == User.objects.get(pk=ann.pk).key


@pytest.mark.parametrize(
    "path",
    [
        "/static/../secret.key",
        "/static/%2e%2e/secret.key",
        "/static/%2e%2e%2fsecret.key",
        "/static/..%5csecret.key",
        "/static/site/../../secret.key",
        "/static//{home}/secret.key",
        "/static/%2f{home}/secret.key",
        "/static/site/site.css/../../../secret.key",
        "/static/\x00secret.key",
        "/{home}/secret.key",
        "/nyms/../secret.key",
    ],
)
def test_static_files_are_only_those_of_the_packages(site: Client, path: str) -> None:
    secret = Path(settings.HOME) / "secret.key"
    assert secret.is_file()
    answer = site.get(path.format(home=settings.HOME))
    assert answer.status_code in (301, 400, 404)
    assert secret.read_bytes().strip() not in answer.content


def test_headers_of_a_proxy_mean_nothing_without_a_proxy(rf: RequestFactory) -> None:
    spoofed: dict[str, Any] = {
        "x-forwarded-for": "203.0.113.9",
        "x-real-ip": "203.0.113.9",
        "forwarded": "for=203.0.113.9;proto=https;host=elsewhere.example",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "elsewhere.example",
        "x-forwarded-port": "443",
        "host": "localhost",
    }
    request = rf.get("/", headers=spoofed, REMOTE_ADDR="192.0.2.7")
    assert get_client_address(request) == "192.0.2.7"
    assert not request.is_secure() and request.get_host() == "localhost"
    page = Client().get("/sign-in/", headers=spoofed)
    assert page.status_code == 200 and b"elsewhere" not in page.content
