"""Fixtures for all tests of the game."""

from __future__ import annotations

import pytest

from idiolect.web.game import word_selection


@pytest.fixture(autouse=True)
def disable_word_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns off the cache of words, which would have the words of an earlier test."""
    monkeypatch.setattr(word_selection, "CACHE_SECONDS", 0.0)
