"""Errors whose messages are written for players: the site's pages show these and no others.

Other errors may name paths of the server or quote what a program read; pages only say that
something went wrong, and the log has the rest.
"""

from __future__ import annotations

from idiolect.errors import MissingError, UsageError

UNEXPECTED = "Something went wrong; the site's log has the details."
"""What pages say about any other error."""


class PlayerError(Exception):
    """Base class: the message is for players, and has no path and no data of other people."""

    status = 400
    """The HTTP status of the page that shows the message."""


class NotYoursError(PlayerError, MissingError):
    """What the player asked for does not exist, or belongs to another player."""

    status = 404


class NotNowError(PlayerError, UsageError):
    """What the player asked for is not possible now."""

    status = 409
