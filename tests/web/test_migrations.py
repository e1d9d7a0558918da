"""Migrations of databases that an earlier version of the site wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore as FormerStore
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client
from django.utils import timezone

from idiolect.web.accounts.models import User
from idiolect.web.accounts.names import compute_name_key
from idiolect.web.accounts.players import BACKEND
from idiolect.web.models import Session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def migrate() -> Iterator[Callable[[str, str], Any]]:
    """Returns a function that migrates an app to a migration and returns the models of then."""

    def migrate_to(app: str, name: str) -> Any:
        MigrationExecutor(connection).migrate([(app, name)])
        return MigrationExecutor(connection).loader.project_state((app, name)).apps

    yield migrate_to
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())


@pytest.mark.finding("names")
def test_names_migration_gives_each_person_a_valid_name(migrate: Any) -> None:
    former = migrate("accounts", "0001_initial").get_model("accounts", "User")
    given = [
        "ann\u3164",
        "ann",
        "Ivan",
        "\u0418\u0432\u0430\u043d",
        "\u115f\u1160",
        "guest-0123456789ab",
    ]
    # SQLite did not limit the length.
    given += ["\ufdfa" * 30 if connection.vendor == "sqlite" else "zed"]
    keys = [former.objects.create(username=name, key=name.casefold()).pk for name in given]
    migrate("accounts", "0002_names")
    names = list(User.objects.order_by("pk").values_list("username", flat=True))
    assert names[:6] == [
        f"ann-{keys[0]}",
        *given[1:4],
        f"player{keys[4]}",
        given[5],
    ]
    for person in User.objects.all():
        person.full_clean(exclude=["password"])
        assert person.key == compute_name_key(person.username)


@pytest.mark.finding("deleted-player-remains")
def test_sessions_migration_keeps_people_signed_in(migrate: Any, ann: User) -> None:
    migrate("server", "0001_initial")
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE django_session (session_key varchar(40) PRIMARY KEY,"
            f" session_data text, expire_date {connection.data_types['DateTimeField']})"
        )
        day = timedelta(days=1)
        signed_in = {
            "_auth_user_id": str(ann.pk),
            "_auth_user_backend": BACKEND,
            "_auth_user_hash": ann.get_session_auth_hash(),
        }
        rows = {
            "of-ann-0123456789": (signed_in, day),
            "of-visitor": ({}, day),
            "of-deleted": (signed_in | {"_auth_user_id": "999999"}, day),
            "expired": (signed_in, -day),
        }
        for key, (data, left) in rows.items():
            expires = connection.ops.adapt_datetimefield_value(timezone.now() + left)
            cursor.execute(
                "INSERT INTO django_session VALUES (%s, %s, %s)",
                [key, FormerStore().encode(data), expires],
            )
    migrate("server", "0002_sessions")
    kept = {row.session_key: row.owner for row in Session.objects.all()}
    assert kept == {"of-ann-0123456789": ann, "of-visitor": None}
    assert "django_session" not in connection.introspection.table_names()
    browser = Client()
    browser.cookies["sessionid"] = "of-ann-0123456789"
    assert browser.get("/account/").status_code == 200
