"""Fixtures of the site's tests."""

from __future__ import annotations

from support.django_site import ann, ben, site  # noqa: F401
