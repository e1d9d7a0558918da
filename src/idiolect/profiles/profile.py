"""A profile: what a person's earlier items say about them, as a short text with its origin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A text about one person, made from the first ``cut`` items of their history and no others.

    ``fingerprint`` is that of these items, ``question`` the hash of what the writer was asked.
    """

    person: str
    cut: int
    text: str
    writer: str
    fingerprint: str
    question: str


def split_at_half(items: int) -> tuple[int, ...]:
    """Where profiles are cut by default: at half of a history, for use in training on the second
    half, and at its end, for queries."""
    return (items // 2, items)


def select_profile(profiles: Iterable[Profile], visible: int) -> str:
    """The latest text about a person that saw only their first ``visible`` items, or ``""``.

    All ``profiles`` must be of one person.
    """
    allowed = [profile for profile in profiles if profile.cut <= visible]
    assert len({profile.person for profile in allowed}) <= 1, "profiles of several people"
    return max(allowed, key=lambda profile: profile.cut).text if allowed else ""
