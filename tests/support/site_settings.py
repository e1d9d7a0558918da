"""The site's settings for tests: a fast password hasher, and a test database in a file."""

from __future__ import annotations

from idiolect.web.settings import *  # noqa: F403  (the usual way to extend Django settings)
from idiolect.web.settings import DATABASES, HOME

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",  # argon2 is slow on purpose
    "idiolect.web.accounts.hashers.Argon2InTurn",
]
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    # All threads of a test can open a file; a database in memory has only one connection.
    DATABASES["default"]["TEST"] = {"NAME": str(HOME / "test.sqlite3")}
