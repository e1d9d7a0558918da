"""The tests of the site and the game once more, on PostgreSQL.

A process of their own runs them, since Django knows one set of databases a process. Left out is
what takes long and asks the database nothing new: browsers, and the training of players' models.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import postgres

TESTS = Path(__file__).parent.parent
PROGRAMS = postgres.binaries()
HERE = "postgresql" in os.environ.get("DATABASE_URL", "")


@pytest.mark.skipif(HERE, reason="this is that run")
@pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed: no test of it")
def test_everything_holds_on_postgresql_too() -> None:
    assert PROGRAMS is not None
    command = [sys.executable, "-m", "pytest", "-q", "-m", "django_db and not slow"]
    folders = [str(TESTS / name) for name in ("web",) if (TESTS / name).is_dir()]
    with postgres.server(PROGRAMS) as url:
        environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        done = subprocess.run(
            [*command, "-k", "not browser and not my_model", *folders],
            env=environment | {"DATABASE_URL": url},
            cwd=TESTS.parent,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.skipif(not HERE, reason="only within the test above")
@pytest.mark.django_db
def test_it_is_postgresql_15_or_later() -> None:
    from django.db import connection

    assert connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        (version,) = cursor.fetchall()[0]
    assert int(version) >= 150_000
