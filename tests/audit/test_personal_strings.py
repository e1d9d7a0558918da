"""Numbers, addresses and names are found, and recognized however they are written."""

from __future__ import annotations

import pytest

from idiolect.audit.personal_strings import contains_string, find_personal_strings


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("write to ann.lee+x@mail.example.org soon", "email", "ann.lee+x@mail.example.org"),
        ("see https://example.org/a?b=1 please", "web address", "https://example.org/a?b=1"),
        ("my page is lee-photos.com ok", "web address", "lee-photos.com"),
        ("call 0171 555-8834 now", "phone", "0171 555-8834"),
        ("call +44 (171) 555 8834", "phone", "+44 (171) 555 8834"),
        ("the alarm is 7392 today", "number", "7392"),
        ("my plate is KX51ABC here", "code", "KX51ABC"),
        ("we live at 48 larkspur lane now", "street", "48 larkspur lane"),
        ("ich wohne Lindenstraße 12 hier", "street", "Lindenstraße 12"),
        ("my sister Renata Okafor called", "name", "Renata Okafor"),
    ],
)
def test_find_personal_strings_finds_each_kind(text: str, kind: str, found: str) -> None:
    assert [(one.kind, one.text) for one in find_personal_strings(text)] == [(kind, found)]
    (one,) = find_personal_strings(text)
    assert text[one.start : one.end] == found


@pytest.mark.parametrize(
    "text", ["born in 1984", "Hello there. Nice day! Bye", "i am 34 years old", "4", ""]
)
def test_find_personal_strings_leaves_ordinary_text(text: str) -> None:
    assert list(find_personal_strings(text)) == []


def test_contains_string_ignores_case_spacing_and_separators() -> None:
    assert contains_string("phone", "01715558834", "it is 0171-555 8834.")
    assert not contains_string("phone", "01715558834", "it is 0171-555 88345")
    assert not contains_string("number", "7392", "17392")
    assert contains_string("name", "renata okafor", "my sister  RENATA okafor!")
    assert not contains_string("name", "renata", "renatas")
