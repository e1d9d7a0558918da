"""The site's settings for tests: a folder of its own, a cheap hash, a database in a file."""

from __future__ import annotations

from idiolect.web.settings import *  # noqa: F403  (how Django settings build on others)
from idiolect.web.settings import DATABASES, HOME

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",  # argon2 is slow on purpose
    "django.contrib.auth.hashers.Argon2PasswordHasher",
]
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    # Threads of one test see the same file; a database in memory would be one connection.
    DATABASES["default"]["TEST"] = {"NAME": str(HOME / "test.sqlite3")}
