"""Rate limits: a burst, then one request per interval, for each person, across processes."""

from __future__ import annotations

import hashlib
import re
import threading
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idiolect.web import rate_limits
from idiolect.web.models import RateBucket
from idiolect.web.rate_limits import RateLimit, check_limit

pytestmark = pytest.mark.django_db
THREE = RateLimit(name="three", burst=3, seconds=10.0)


def test_check_limit_allows_burst_then_one_per_interval() -> None:
    assert [check_limit(THREE, "ann", now=1000.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert check_limit(THREE, "ann", now=1000.0) == pytest.approx(10.0)
    assert check_limit(THREE, "ann", now=1004.0) == pytest.approx(6.0)
    assert check_limit(THREE, "ann", now=1010.0) == 0.0
    assert check_limit(THREE, "ann", now=1010.0) == pytest.approx(10.0)
    assert [check_limit(THREE, "ann", now=1100.0) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_check_limit_does_not_count_refused_requests() -> None:
    for _ in range(3):
        check_limit(THREE, "ann", now=0.0)
    for _ in range(50):
        assert check_limit(THREE, "ann", now=5.0) > 0
    assert check_limit(THREE, "ann", now=10.0) == 0.0


def test_check_limit_counts_each_person_and_limit_separately() -> None:
    for _ in range(3):
        check_limit(THREE, "ann", now=0.0)
    assert check_limit(THREE, "ben", now=0.0) == 0.0
    assert check_limit(RateLimit(name="other", burst=1, seconds=1.0), "ann", now=0.0) == 0.0
    assert check_limit(THREE, "ann", now=0.0) > 0


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.floats(0.0, 30.0), min_size=1, max_size=25))
def test_check_limit_never_exceeds_burst_and_rate(db: None, steps: list[float]) -> None:
    RateBucket.objects.all().delete()
    now, allowed = 0.0, list[float]()
    for step in steps:
        now += step
        if check_limit(THREE, "ann", now=now) == 0.0:
            allowed.append(now)
    for first, begin in enumerate(allowed):
        for last in range(first, len(allowed)):
            stretch = allowed[last] - begin
            assert last - first + 1 <= THREE.burst + stretch / THREE.seconds + 1e-6


@pytest.mark.django_db(transaction=True)
def test_check_limit_counts_concurrent_requests_together() -> None:
    found: list[float] = []
    starting = threading.Barrier(8)

    def send_requests() -> None:
        starting.wait()
        found.extend(check_limit(THREE, "ann", now=0.0) for _ in range(3))
        connection.close()

    threads = [threading.Thread(target=send_requests) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert found.count(0.0) == THREE.burst


def test_check_limit_stores_only_keyed_hash() -> None:
    check_limit(THREE, "192.0.2.7 ann", now=0.0)
    kept = RateBucket.objects.get()
    # Not a plain hash, which a person who guesses the name could compute without the secret.
    assert re.fullmatch("[0-9a-f]{64}", kept.key)
    assert kept.key != hashlib.sha256(b"192.0.2.7 ann").hexdigest()


def test_delete_expired_keeps_active_limits() -> None:
    check_limit(THREE, "ann", now=0.0)
    check_limit(THREE, "ben", now=100.0)
    rate_limits.delete_expired(now=50.0)
    assert RateBucket.objects.count() == 1
    assert check_limit(THREE, "ann", now=50.0) == 0.0


@pytest.mark.finding("clock-set-back")
@pytest.mark.parametrize("seconds_back", [0.5, 5.0, 3600.0, 1e9])
def test_check_limit_waits_no_longer_after_clock_is_set_back(seconds_back: float) -> None:
    for _ in range(3):
        check_limit(THREE, "ann", now=2e9)
    now = 2e9 - seconds_back
    assert check_limit(THREE, "ann", now=now) <= THREE.seconds + 1.0
    for _ in range(3):
        check_limit(THREE, "ann", now=now)
    assert 0 < check_limit(THREE, "ann", now=now) <= THREE.seconds + 1.0
    assert check_limit(THREE, "ann", now=now + THREE.seconds + 1.0) == 0.0


@pytest.mark.finding("clock-set-back")
def test_delete_expired_removes_times_from_a_wrong_clock() -> None:
    check_limit(THREE, "ann", now=2e9)
    rate_limits.delete_expired(now=1e9)
    assert not RateBucket.objects.exists()


@pytest.mark.finding("shared-rate-limit")
@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        pytest.param(
            "::ffff:192.0.2.7", "192.0.2.7", marks=pytest.mark.finding("shared-rate-limit")
        ),
        pytest.param(
            "::FFFF:c000:207", "192.0.2.7", marks=pytest.mark.finding("shared-rate-limit")
        ),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", ""),
        ("unix", "unix"),
    ],
)
def test_get_client_address_returns_one_text_a_customer(
    rf: RequestFactory, address: str, counted: str
) -> None:
    assert rate_limits.get_client_address(rf.get("/", REMOTE_ADDR=address)) == counted


def test_rate_limit_answers_429_to_posts_above_burst(rf: RequestFactory) -> None:
    @rate_limits.rate_limit(THREE, by=rate_limits.get_client_address)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("done")

    assert [view(rf.get("/")).status_code for _ in range(5)] == [200] * 5
    answers = [view(rf.post("/")) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
    assert b"Try again in" in answers[-1].content


def guess_password(client: Client, name: str, **extra: Any) -> int:
    """Sign in with a wrong password; return the status."""
    return client.post("/sign-in/", {"username": name, "password": "wrong"}, **extra).status_code


def test_sign_in_limits_guesses_for_one_account_from_one_address(client: Client, ann: Any) -> None:
    names = ("ann", "ANN", "ann", "Ann", "ann", "ann", "ann")
    answers = [guess_password(client, name) for name in names]
    assert answers == [422] * 6 + [429]
    assert guess_password(client, "ben") == 422
    # From another address, the owner of the account can still sign in.
    fields = {"username": "ann", "password": "correct horse battery"}
    assert client.post("/sign-in/", fields, REMOTE_ADDR="192.0.2.9").status_code == 302


def test_sign_in_limits_guesses_for_many_accounts_from_one_address(
    client: Client, db: None, monkeypatch: Any
) -> None:
    monkeypatch.setattr(rate_limits, "SIGN_IN_BY_ADDRESS", THREE)
    assert [guess_password(client, f"name{n}") for n in range(4)] == [422, 422, 422, 429]


def test_sign_in_limits_guesses_for_one_account_from_many_addresses(
    client: Client, ann: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(rate_limits, "SIGN_IN_BY_NAME", THREE)
    answers = [guess_password(client, "ann", REMOTE_ADDR=f"192.0.2.{n}") for n in range(4)]
    assert answers == [422, 422, 422, 429]


@pytest.mark.finding("account-lock")
def test_sign_in_from_known_browser_is_not_locked_by_strangers(
    client: Client, ann: Any, monkeypatch: Any
) -> None:
    # Intervals that are far longer than the test.
    for limit in ("SIGN_IN_BY_NAME", "SIGN_IN_BY_ADDRESS", "SIGN_IN_BY_DEVICE"):
        monkeypatch.setattr(rate_limits, limit, RateLimit(name=limit, burst=3, seconds=3600.0))
    fields = {"username": "ann", "password": "correct horse battery"}
    assert client.post("/sign-in/", fields).status_code == 302
    client.post("/sign-out/")
    stranger = Client()
    answers = [guess_password(stranger, "ann", REMOTE_ADDR=f"192.0.2.{n}") for n in range(9)]
    assert answers == [422, 422] + [429] * 7
    # Strangers who use up the limit of the owner's own address do not lock the owner out either.
    answers = [guess_password(stranger, f"name{n}") for n in range(4)]
    assert answers == [422, 422, 429, 429]
    assert client.post("/sign-in/", fields).status_code == 302
    # A thief of the cookie cannot guess freely.
    assert [guess_password(client, "ann") for _ in range(4)] == [422, 422, 429, 429]
