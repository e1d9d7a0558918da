"""The site as an ASGI application, for uvicorn: ``idiolect.server.asgi:application``."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "idiolect.server.settings")

application = get_asgi_application()
