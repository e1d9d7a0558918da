"""``keep_freed_memory`` changes glibc's settings inside the context and restores them
afterwards."""

from __future__ import annotations

from contextlib import suppress

import pytest

from idiolect.models.cpu import malloc


class FakeLibrary:
    """Records the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []

    def mallopt(self, what: int, value: int) -> None:
        self.calls.append((what, value))

    def malloc_trim(self, pad: int) -> None:
        self.calls.append((pad,))


def test_keep_freed_memory_restores_defaults_after_error(monkeypatch: pytest.MonkeyPatch) -> None:
    library = FakeLibrary()
    monkeypatch.setattr(malloc, "_load_glibc", lambda: library)
    with suppress(KeyError), malloc.keep_freed_memory():
        assert library.calls == [(malloc.MMAP_MAX, 0), (malloc.TRIM_THRESHOLD, 2**31 - 1)]
        raise KeyError
    assert library.calls[2:] == [
        (malloc.MMAP_MAX, malloc.DEFAULT_MMAP_MAX),
        (malloc.TRIM_THRESHOLD, malloc.DEFAULT_TRIM_THRESHOLD),
        (0,),
    ]


def test_keep_freed_memory_does_nothing_without_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(malloc, "_load_glibc", lambda: None)
    with malloc.keep_freed_memory():
        pass
