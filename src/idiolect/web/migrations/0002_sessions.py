"""Gives each session its owner, so that deleting a person deletes all of their sessions.

Moves the sessions of Django's own table, which is dropped: all people stay signed in. Also marks the
database for a first removal of what earlier versions left of deleted people in its file.
"""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import migrations, models
from django.utils import timezone

FORMER_TABLE = "django_session"


def move_sessions(apps, schema_editor):
    """Copy the sessions that have not expired, with the user that each of them names."""
    connection = schema_editor.connection
    if FORMER_TABLE not in connection.introspection.table_names():
        return
    people = set(apps.get_model("accounts", "User").objects.values_list("pk", flat=True))
    Session = apps.get_model("server", "Session")
    former = SessionStore()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT session_key, session_data, expire_date FROM {FORMER_TABLE}"
            " WHERE expire_date > %s",
            [connection.ops.adapt_datetimefield_value(timezone.now())],
        )
        rows = cursor.fetchall()
        moved = []
        for key, data, expires in rows:
            owner = former.decode(data).get(SESSION_KEY)
            owner = int(owner) if owner else None
            if owner is None or owner in people:
                expires = _parse_time(connection, expires)
                moved.append(
                    Session(session_key=key, session_data=data, expire_date=expires, owner_id=owner)
                )
        Session.objects.bulk_create(moved, batch_size=500)
        cursor.execute(f"DROP TABLE {FORMER_TABLE}")


def _parse_time(connection, value):
    """SQLite stores times as text; PostgreSQL returns them as times."""
    if isinstance(value, str):
        value = timezone.datetime.fromisoformat(value)
    return value if timezone.is_aware(value) else timezone.make_aware(value, connection.timezone)


def mark_deletion(apps, schema_editor):
    """Have the hourly task rewrite an SQLite file, as after a deletion."""
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("PRAGMA user_version = 1")


class Migration(migrations.Migration):
    dependencies = [
        ("server", "0001_initial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "session_key",
                    models.CharField(
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                        verbose_name="session key",
                    ),
                ),
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                (
                    "owner",
                    models.ForeignKey(
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"verbose_name": "session", "verbose_name_plural": "sessions"},
        ),
        migrations.RunPython(move_sessions, migrations.RunPython.noop),
        migrations.RunPython(mark_deletion, migrations.RunPython.noop),
    ]
