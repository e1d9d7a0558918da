"""The site's own app: rate limits, background jobs, base templates and styles."""

from __future__ import annotations

from django.apps import AppConfig


class WebConfig(AppConfig):
    """The app that all other apps of the site build on."""

    name = "idiolect.web"
    label = "server"  # the prefix of its tables
    verbose_name = "Site"
