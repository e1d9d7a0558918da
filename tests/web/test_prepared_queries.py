"""Prepared queries return the same results as Django's own queries."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import BigIntegerField, CharField, Count, DurationField, F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from idiolect.web.accounts.models import User
from idiolect.web.models import Job
from idiolect.web.prepared_queries import PreparedQuery, PreparedUpdate, QueryParameter

pytestmark = pytest.mark.django_db
OWNER, KIND = QueryParameter("owner", BigIntegerField()), QueryParameter("kind", CharField())
JOBS = PreparedQuery(
    lambda: Job.objects.select_related("owner").filter(owner=OWNER, kind=KIND).order_by("kind")
)
KINDS = PreparedQuery(
    lambda: (
        Job.objects.filter(owner=OWNER)
        .order_by()
        .values_list("kind")
        .annotate(many=Count("pk"))
        .order_by("kind")
    )
)
PROGRESS = PreparedUpdate(
    lambda: Job.objects.filter(
        kind=KIND, made_at__gte=Now() - QueryParameter("ago", DurationField())
    ),
    stage=QueryParameter("stage", CharField()),
    attempts=F("attempts") + QueryParameter("more", BigIntegerField()),
)


def create_done_job(owner: User, kind: str) -> Job:
    """Create a job in state done."""
    return Job.objects.create(owner=owner, kind=kind, state=Job.State.DONE)


def test_prepared_query_returns_complete_models_for_each_value(ann: User, ben: User) -> None:
    created = create_done_job(ann, "one")
    create_done_job(ben, "two")
    for _ in range(2):
        (found,) = JOBS(owner=ann.pk, kind="one")
        assert found == created and found.made_at == created.made_at and found.arguments == {}
        with CaptureQueriesContext(connection) as queries:
            assert found.owner == ann
        assert not queries.captured_queries
        assert JOBS(owner=ann.pk, kind="two") == []
        assert JOBS.first(owner=ann.pk, kind="two") is None
        assert JOBS.first(owner=ben.pk, kind="two").owner == ben
    with CaptureQueriesContext(connection) as queries:
        JOBS(owner=ann.pk, kind="one")
    assert len(queries.captured_queries) == 1


def test_prepared_query_returns_rows_and_aggregates(ann: User) -> None:
    for kind in ("b", "a", "b"):
        create_done_job(ann, kind)
    assert KINDS(owner=ann.pk) == [("a", 1), ("b", 2)]


def test_prepared_update_returns_number_of_changed_rows(ann: User) -> None:
    created = [create_done_job(ann, kind) for kind in ("one", "one", "two")]
    assert PROGRESS(kind="one", ago=timedelta(hours=1), stage="half", more=3) == 2
    assert PROGRESS(kind="one", ago=timedelta(hours=-1), stage="late", more=3) == 0
    for row, stage, attempts in zip(created, ("half", "half", ""), (3, 3, 0), strict=True):
        row.refresh_from_db()
        assert (row.stage, row.attempts) == (stage, attempts)


def test_prepared_query_escapes_values_and_requires_all(ann: User) -> None:
    create_done_job(ann, "one")
    assert JOBS(owner=ann.pk, kind="x' OR '1'='1") == []
    with pytest.raises(KeyError):
        JOBS(owner=ann.pk)


@pytest.mark.django_db(transaction=True)
def test_prepared_query_uses_connection_of_each_thread(ann: User) -> None:
    created = create_done_job(ann, "one")
    assert JOBS(owner=ann.pk, kind="one") == [created]
    found: list[Job] = []

    def run_query() -> None:
        found.extend(JOBS(owner=ann.pk, kind="one"))
        connection.close()

    thread = threading.Thread(target=run_query)
    thread.start()
    thread.join()
    assert found == [created]
