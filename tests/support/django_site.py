"""Sets up Django and shared fixtures for the tests in tests/web; only their conftest imports this.

All other tests run without Django. The site writes to a temporary folder that is removed at the
end.
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
    """The account ``ann``."""
    from idiolect.web.accounts.models import User

    return User.objects.create_user("ann", PASSWORD)


@pytest.fixture
def ben(db: None):
    """The account ``ben``."""
    from idiolect.web.accounts.models import User

    return User.objects.create_user("ben", PASSWORD)


@pytest.fixture
def site():
    """A test client without an account; unlike Django's default, it checks CSRF tokens."""
    from django.test import Client

    return Client(enforce_csrf_checks=True, headers={"host": "localhost"})
