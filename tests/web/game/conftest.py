"""What tests of the game share: the site, and people who play it."""

from __future__ import annotations

import pytest

from idiolect.web.game import word_selection


@pytest.fixture(autouse=True)
def words_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered of words of an earlier test."""
    monkeypatch.setattr(word_selection, "CACHE_SECONDS", 0.0)
