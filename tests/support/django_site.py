"""Sets Django up for the tests of the site and of what is on it; their conftest imports this.

Only they do: no other test loads Django. Everything the site writes goes to a folder that is
removed at the end.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import django
import pytest

if os.environ.get("DJANGO_SETTINGS_MODULE") != "support.site_settings":
    _HOME = tempfile.mkdtemp(prefix="idiolect-site-")
    atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
    os.environ["IDIOLECT_HOME"] = _HOME
    os.environ["DJANGO_SETTINGS_MODULE"] = "support.site_settings"
    os.environ.pop("IDIOLECT_HOSTS", None)
django.setup()

PASSWORD = "correct horse battery"


@pytest.fixture
def ann(db: None):
    """An account."""
    from idiolect.web.accounts.models import User

    return User.objects.create_user("ann", PASSWORD)


@pytest.fixture
def ben(db: None):
    """Another account."""
    from idiolect.web.accounts.models import User

    return User.objects.create_user("ben", PASSWORD)


@pytest.fixture
def site():
    """A visitor's browser, without scripts, that checks CSRF tokens as the site does."""
    from django.test import Client

    return Client(enforce_csrf_checks=True, headers={"host": "localhost"})
