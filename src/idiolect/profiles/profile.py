"""The profile of a person: a short text made from their earlier items, with its origin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A text about one person, made only from the first ``cut`` items of their history.

    ``fingerprint`` is that of these items; ``question`` is the hash of the writer's prompt.
    """

    person: str
    cut: int
    text: str
    writer: str
    fingerprint: str
    question: str


def split_at_half(items: int) -> tuple[int, ...]:
    """Return the default cuts of a history with this number of items: its half and its end.

    The first profile is for training on the second half, the second for queries.
    """
    return (items // 2, items)


def select_profile(profiles: Iterable[Profile], visible: int) -> str:
    """Return the latest text made from the first ``visible`` items only, or ``""``.

    All ``profiles`` must be of one person.
    """
    allowed = [profile for profile in profiles if profile.cut <= visible]
    assert len({profile.person for profile in allowed}) <= 1, "profiles of several people"
    return max(allowed, key=lambda profile: profile.cut).text if allowed else ""
