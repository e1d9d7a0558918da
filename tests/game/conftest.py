"""What tests of the game share: the site, and people who play it."""

from __future__ import annotations

from django_site import ann, ben, site  # noqa: F401
