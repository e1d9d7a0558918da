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
    monkeypatch.setattr(malloc, "_glibc", lambda: library)
    with suppress(KeyError), malloc.steady_heap():
        assert library.told == [(malloc.MMAP_MAX, 0), (malloc.TRIM_THRESHOLD, 2**31 - 1)]
        raise KeyError
    assert library.told[2:] == [
        (malloc.MMAP_MAX, malloc.USUAL_MMAPS),
        (malloc.TRIM_THRESHOLD, malloc.USUAL_TRIM),
        (0,),
    ]


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc, "_glibc", lambda: None)
    with malloc.steady_heap():
        pass
