"""The end of guests: a guest exists only through the session cookie of one browser.

Once no session of a guest is left (it expired, or the browser signed in to an account or signed
out), no one can reach the guest's games any more, not even to delete them. So the site does.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef
from django.utils import timezone

from idiolect.web.accounts import personal_data
from idiolect.web.accounts.models import User
from idiolect.web.models import Session

_NEW_FOR = timedelta(hours=1)
"""A guest is made just before the guest's session: spare those that are being made. A guest from
after now is from before the clock was set back, and is not."""


def delete_unreachable_guests(now: datetime | None = None) -> int:
    """Delete the guests who have no session, with all their data; return their number."""
    now = now or timezone.now()
    sessions = Session.objects.filter(owner=OuterRef("pk"), expire_date__gt=now)
    unreachable = User.objects.filter(~Exists(sessions), is_guest=True)
    guests = list(unreachable.exclude(joined__range=(now - _NEW_FOR, now + _NEW_FOR)))
    # One transaction for each guest, so that players do not wait for all of them.
    for guest in guests:
        personal_data.erase_person(guest)
    return len(guests)
