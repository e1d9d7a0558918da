"""What tests of the game share: the site, and people who play it."""

from __future__ import annotations

import pytest

from django_site import ann, ben, site  # noqa: F401
from idiolect.game import choosing


@pytest.fixture(autouse=True)
def words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered of words of an earlier test."""
    monkeypatch.setattr(choosing, "FRESH", 0.0)
