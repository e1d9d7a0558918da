"""Known browsers: whose cookie counts for which account, and what it reveals."""

from __future__ import annotations

import pytest
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory

from idiolect.web.accounts import devices
from idiolect.web.accounts.models import User
from support.django_site import PASSWORD

pytestmark = pytest.mark.finding("account-lock")


def build_request(cookie: str = "") -> HttpRequest:
    """Return a request with that cookie of known browsers."""
    request = RequestFactory().get("/")
    request.COOKIES[devices.COOKIE] = cookie
    return request


def remember(*names: str, cookie: str = "") -> str:
    """Return the cookie of a browser that signs in to these accounts, one after another."""
    for name in names:
        response = HttpResponse()
        devices.remember_device(build_request(cookie), response, name)
        cookie = response.cookies[devices.COOKIE].value
    return cookie


def test_find_device_knows_only_accounts_that_signed_in() -> None:
    cookie = remember("ann", "ben")
    found = [devices.find_device(build_request(cookie), name) for name in ("ann", "ben", "cleo")]
    assert found[0] and found[1] and found[0] != found[1] and found[2] is None
    assert devices.find_device(build_request(), "ann") is None


def test_remember_device_again_keeps_the_number() -> None:
    cookie = remember("ann")
    again = remember("ben", "ann", cookie=cookie)
    number = devices.find_device(build_request(cookie), "ann")
    assert devices.find_device(build_request(again), "ann") == number


def test_remember_device_drops_account_that_signed_in_longest_ago() -> None:
    names = [f"name{n}" for n in range(devices.MAX_ACCOUNTS)]
    cookie = remember(*names, names[0], "last")
    known = [name for name in names if devices.find_device(build_request(cookie), name)]
    assert known == [names[0], *names[2:]]


@pytest.mark.parametrize("cookie", ["x", "{}", "a:b:c", signing.dumps({"a": "b"})])
def test_find_device_refuses_forged_cookies(cookie: str) -> None:
    assert devices.find_device(build_request(cookie), "ann") is None
    known = remember("ann")
    assert devices.find_device(build_request(known[:-1]), "ann") is None
    assert devices.find_device(build_request("e30" + known), "ann") is None


def test_find_device_forgets_after_max_age(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = remember("ann")
    monkeypatch.setattr(devices, "MAX_AGE", -1)
    assert devices.find_device(build_request(cookie), "ann") is None


def test_device_cookie_is_private_and_goes_with_the_account(client: Client, ann: User) -> None:
    client.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    cookie = client.cookies[devices.COOKIE]
    assert cookie["httponly"] is True and cookie["samesite"] == "Strict"
    assert "ann" not in str(signing.loads(cookie.value, salt=devices._SALT))
    client.post("/account/delete/", {"password": PASSWORD})
    assert client.cookies[devices.COOKIE].value == ""
    assert not User.objects.exists()
