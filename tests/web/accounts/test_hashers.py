"""Password hashes: two at a time, also for names without an account, and not without end."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher, check_password, make_password
from django.test import Client, override_settings

from idiolect.web.accounts import hashers
from idiolect.web.accounts.hashers import Argon2InTurn
from idiolect.web.accounts.models import User
from support.django_site import PASSWORD

pytestmark = pytest.mark.finding("password-memory")
ARGON2 = override_settings(PASSWORD_HASHERS=["idiolect.web.accounts.hashers.Argon2InTurn"])


@pytest.fixture(autouse=True)
def use_cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes with little memory, which take no time."""
    for name, value in {"time_cost": 1, "memory_cost": 64, "parallelism": 1}.items():
        monkeypatch.setattr(Argon2PasswordHasher, name, value)


class Gauge:
    """Stands in for Argon2: counts how many hashes are computed at the same time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.most = self.total = 0
        self.lock = threading.Lock()
        # Two computations that do not overlap would pass a test of nothing: wait for the second.
        self.pair = threading.Barrier(hashers.MAX_HASHES)
        for name in ("encode", "verify"):
            monkeypatch.setattr(Argon2PasswordHasher, name, self.compute)

    def compute(self, *_: Any) -> Any:
        """Pretend to compute a hash."""
        with self.lock:
            self.now += 1
            self.total += 1
            self.most = max(self.most, self.now)
        self.pair.wait(timeout=60)
        with self.lock:
            self.now -= 1
        return "argon2$hash"


def test_argon2_in_turn_computes_two_hashes_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gauge = Gauge(monkeypatch)
    hasher = Argon2InTurn()
    calls = [lambda: hasher.encode("a", "salt"), lambda: hasher.verify("a", "hash")] * 8
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (gauge.most, gauge.total) == (hashers.MAX_HASHES, 16)


@ARGON2
def test_argon2_in_turn_reads_hashes_of_djangos_hasher() -> None:
    stored = Argon2PasswordHasher().encode(PASSWORD, "some salt")
    assert check_password(PASSWORD, stored) and not check_password("other", stored)
    assert make_password(PASSWORD).startswith("argon2$argon2id$")


@ARGON2
@pytest.mark.django_db
@pytest.mark.parametrize("name", ["ann", "unknown", "blocked"])
def test_sign_in_takes_one_turn_for_each_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # Computed before the gauge replaces the hasher.
    User.objects.create_user("ann", PASSWORD)
    User.objects.create_user("blocked", PASSWORD, is_active=False)
    turns: list[str] = []
    for method in ("encode", "verify"):
        monkeypatch.setattr(
            Argon2PasswordHasher, method, lambda *_, kind=method: turns.append(kind) or ""
        )
    answer = Client().post("/sign-in/", {"username": name, "password": "wrong"})
    assert answer.status_code == 422 and len(turns) == 1


@ARGON2
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/sign-in/", {"username": "ann", "password": PASSWORD}),
        ("/sign-in/", {"username": "unknown", "password": PASSWORD}),
        ("/sign-up/", {"username": "cleo", "password": PASSWORD}),
        ("/account/password/", {"old_password": PASSWORD}),
        ("/account/delete/", {"password": PASSWORD}),
    ],
)
def test_pages_answer_503_while_all_turns_are_taken(
    monkeypatch: pytest.MonkeyPatch, path: str, fields: dict[str, str]
) -> None:
    client = Client()
    ann = User.objects.create_user("ann", PASSWORD)
    if path.startswith("/account/"):
        client.force_login(ann)
    monkeypatch.setattr(hashers, "MAX_WAIT", 0.01)
    for _ in range(hashers.MAX_HASHES):
        hashers._TURNS.acquire()
    try:
        answer = client.post(path, fields)
    finally:
        for _ in range(hashers.MAX_HASHES):
            hashers._TURNS.release()
    assert answer.status_code == 503 and answer.headers["Retry-After"] == "5"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    # The turns are free again.
    assert client.post(path, fields).status_code in (302, 422)
