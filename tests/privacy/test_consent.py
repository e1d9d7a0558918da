"""Tests of consent: validity by person, scope and time, and its errors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.privacy.consent import grant_consent, list_consents, require_consent, revoke_consent
from idiolect.privacy.ledger import Ledger

NOW = datetime.now(UTC)
TODAY = NOW.date()


def after_days(count: int) -> datetime:
    return NOW + timedelta(days=count)


def is_valid(ledger: Ledger, person: str, scope: str, *, at: datetime | None = None) -> bool:
    """Return whether a person's consent to a scope is valid."""
    return any(
        c.valid for c in list_consents(ledger, at=at) if (c.person, c.scope) == (person, scope)
    )


def test_grant_consent_applies_to_person_and_scope(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.record_event("trained", ["ann", "ben"])
    grant_consent(ledger, ["ann"], "mean")
    assert is_valid(ledger, "ann", "mean")
    assert not is_valid(ledger, "ann", "pieces")
    assert not is_valid(ledger, "ben", "mean")
    assert not is_valid(ledger, "unknown", "mean")
    assert not is_valid(ledger, "ann", "mean", at=after_days(-1))
    assert is_valid(ledger, "ann", "mean", at=after_days(10_000))
    assert [(c.person, c.scope) for c in list_consents(ledger)] == [("ann", "mean")]


def test_grant_consent_expires_after_last_day(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    grant_consent(ledger, ["ann"], "pieces", until=TODAY + timedelta(days=5))
    assert is_valid(ledger, "ann", "pieces", at=after_days(5))
    assert not is_valid(ledger, "ann", "pieces", at=after_days(6))
    (late,) = list_consents(ledger, at=after_days(6))
    assert (late.valid, late.revoked, late.until) == (False, "", str(TODAY + timedelta(days=5)))
    # A new consent without an end replaces the old one.
    grant_consent(ledger, ["ann"], "pieces")
    assert is_valid(ledger, "ann", "pieces", at=after_days(6))


def test_list_consents_uses_last_event(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    grant_consent(ledger, ["ann", "ben"], "mean")
    grant_consent(ledger, ["ann"], "pieces")
    assert revoke_consent(ledger, ["ann", "cem"], "mean") == ("ann",)
    assert revoke_consent(ledger, ["ann"], "mean") == ()
    assert not is_valid(ledger, "ann", "mean")
    assert is_valid(ledger, "ann", "pieces") and is_valid(ledger, "ben", "mean")
    assert [e.event for e in ledger.read_entries()] == ["consented"] * 3 + ["revoked"]
    (gone,) = [c for c in list_consents(ledger) if not c.valid]
    assert (gone.person, gone.scope) == ("ann", "mean") and gone.revoked
    grant_consent(ledger, ["ann"], "mean")
    assert is_valid(ledger, "ann", "mean")


def test_require_consent_names_people_without_consent_and_reason(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    grant_consent(ledger, ["ann", "ben", "dee"], "mean")
    revoke_consent(ledger, ["ben"], "mean")
    grant_consent(ledger, ["ann"], "mean", until=TODAY)
    require_consent(ledger, ["ann", "dee"], "mean", store=tmp_path)
    # People with valid consent, and no people at all, pass.
    require_consent(ledger, [], "mean", store=tmp_path)
    with pytest.raises(MissingError) as caught:
        require_consent(
            ledger,
            ["dee", "ann", "ben", "o'neil"],
            "mean",
            store=Path("my store"),
            at=after_days(1),
        )
    for part in (
        f"'ann' (expired on {TODAY}), 'ben' (revoked on {TODAY}), \"o'neil\" (never given)",
        "run: idiolect consent 'my store' --scope mean --person ann --person ben --person ",
        "'o'\"'\"'neil'",
    ):
        assert part in str(caught.value)
    assert "dee" not in str(caught.value)
    # Many people: the message names five and suggests a file.
    with pytest.raises(MissingError, match=r"'p4' \(never given\) and 35 more.*--people-file FILE"):
        require_consent(ledger, [f"p{n}" for n in range(40)], "mean", store=tmp_path)


def test_consent_refuses_unknown_scope_and_past_day(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for call in (grant_consent, revoke_consent):
        with pytest.raises(UsageError, match="'all' of a consent; known: pieces, mean"):
            call(ledger, ["ann"], "all")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="'all'"):
        require_consent(ledger, ["ann"], "all", store=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"until 2020-01-01: has passed, today is \d{4}-"):
        grant_consent(ledger, ["ann"], "mean", until=date(2020, 1, 1))
    assert ledger.read_entries() == ()


def test_list_consents_omits_forgotten_person(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    grant_consent(ledger, ["ann", "ben"], "mean")
    ledger.forget_person("ann")
    assert not is_valid(ledger, "ann", "mean")
    assert [c.person for c in list_consents(ledger)] == ["ben"]
    assert set(ledger.read_by_person()) == {"ben"}


def test_require_consent_refuses_edited_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    grant_consent(ledger, ["ann"], "mean", until=TODAY)
    path = tmp_path / "events.jsonl"
    # Extend the consent by editing the file.
    path.write_bytes(path.read_bytes().replace(str(TODAY.year).encode(), b"2999"))
    with pytest.raises(IntegrityError, match="was changed"):
        require_consent(ledger, ["ann"], "mean", store=tmp_path)
