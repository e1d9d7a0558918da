"""Consent to the notice that a player reads before the game stores anything."""

from __future__ import annotations

from typing import Any

from idiolect.web.game.models import Consent

NOTICE_VERSION = 2
"""Version of the notice in ``templates/game/notice.html``.

If a change alters what the notice says, increase the version: the site then asks all players to
agree again. A change of wording that keeps the meaning keeps the version."""


def has_agreed(player: Any) -> bool:
    """Return whether this player agreed to the current version of the notice."""
    return (
        player is not None
        and Consent.objects.filter(player=player, version=NOTICE_VERSION).exists()
    )


def record_consent(player: Any) -> None:
    """Store the player's consent to the current notice; a second call changes nothing."""
    Consent.objects.get_or_create(player=player, version=NOTICE_VERSION)
