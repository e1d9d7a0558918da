"""Runs the tests of the site and the game again on PostgreSQL.

They run in a child process, since Django has one set of databases per process. Browser tests and
training of players' models are left out: they are slow and add no new database queries.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import postgres

TESTS = Path(__file__).parent.parent
PROGRAMS = postgres.find_binaries()
IS_CHILD_RUN = "postgresql" in os.environ.get("DATABASE_URL", "")


@pytest.mark.skipif(IS_CHILD_RUN, reason="this is the run in the child process")
@pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed")
def test_site_passes_all_tests_on_postgresql() -> None:
    assert PROGRAMS is not None
    command = [sys.executable, "-m", "pytest", "-q", "-m", "django_db and not slow"]
    folders = [str(TESTS / name) for name in ("web",) if (TESTS / name).is_dir()]
    with postgres.run_server(PROGRAMS) as url:
        environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
        result = subprocess.run(
            [*command, "-k", "not browser and not my_model", *folders],
            env=environment | {"DATABASE_URL": url},
            cwd=TESTS.parent,
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]


@pytest.mark.skipif(not IS_CHILD_RUN, reason="runs only in the child process of the test above")
@pytest.mark.django_db
def test_database_is_postgresql_15_or_later() -> None:
    from django.db import connection

    assert connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        (version,) = cursor.fetchall()[0]
    assert int(version) >= 150_000
