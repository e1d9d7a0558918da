"""What a player is told before anything is kept, and that they agreed to it."""

from __future__ import annotations

from typing import Any

from idiolect.web.game.models import Consent

NOTICE_VERSION = 1
"""Of the notice (``templates/game/notice.html``); a change of what it says is a new version, which
everyone is asked to agree to again."""


def has_agreed(player: Any) -> bool:
    """Whether this player agreed to the notice as it is now."""
    return (
        player is not None
        and Consent.objects.filter(player=player, version=NOTICE_VERSION).exists()
    )


def record_consent(player: Any) -> None:
    """Writes down that they did; a second time changes nothing."""
    Consent.objects.get_or_create(player=player, version=NOTICE_VERSION)
