"""Freed memory stays while training runs, and goes back at its end, however that ends."""

from __future__ import annotations

from contextlib import suppress

import pytest

from idiolect.models.cpu import malloc


class Library:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, ...]] = []

    def mallopt(self, what: int, value: int) -> None:
        self.told.append((what, value))

    def malloc_trim(self, pad: int) -> None:
        self.told.append((pad,))


def test_it_is_as_before_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(malloc, "_load_glibc", lambda: library)
    with suppress(KeyError), malloc.keep_freed_memory():
        assert library.told == [(malloc.MMAP_MAX, 0), (malloc.TRIM_THRESHOLD, 2**31 - 1)]
        raise KeyError
    assert library.told[2:] == [
        (malloc.MMAP_MAX, malloc.DEFAULT_MMAP_MAX),
        (malloc.TRIM_THRESHOLD, malloc.DEFAULT_TRIM_THRESHOLD),
        (0,),
    ]


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc, "_load_glibc", lambda: None)
    with malloc.keep_freed_memory():
        pass
