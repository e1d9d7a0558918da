"""The site's own app: rate limits, background jobs, base templates and styles."""

from __future__ import annotations

from django.apps import AppConfig


class WebConfig(AppConfig):
    """What every other app of the site builds on."""

    name = "idiolect.web"
    label = "server"
    verbose_name = "Site"
