"""Queries that are compiled once say what Django's own would."""

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


def job(owner: User, kind: str) -> Job:
    """A job that is over."""
    return Job.objects.create(owner=owner, kind=kind, state=Job.State.DONE)


def test_models_come_whole_each_time_for_other_values(ann: User, ben: User) -> None:
    made = job(ann, "one")
    job(ben, "two")
    for _ in range(2):
        (found,) = JOBS(owner=ann.pk, kind="one")
        assert found == made and found.made_at == made.made_at and found.arguments == {}
        with CaptureQueriesContext(connection) as asked:
            assert found.owner == ann
        assert not asked.captured_queries
        assert JOBS(owner=ann.pk, kind="two") == []
        assert JOBS.first(owner=ann.pk, kind="two") is None
        assert JOBS.first(owner=ben.pk, kind="two").owner == ben
    with CaptureQueriesContext(connection) as asked:
        JOBS(owner=ann.pk, kind="one")
    assert len(asked.captured_queries) == 1


def test_rows_and_sums(ann: User) -> None:
    for kind in ("b", "a", "b"):
        job(ann, kind)
    assert KINDS(owner=ann.pk) == [("a", 1), ("b", 2)]


def test_a_change_says_how_many_rows_it_changed(ann: User) -> None:
    made = [job(ann, "one"), job(ann, "one"), job(ann, "two")]
    assert PROGRESS(kind="one", ago=timedelta(hours=1), stage="half", more=3) == 2
    assert PROGRESS(kind="one", ago=timedelta(hours=-1), stage="late", more=3) == 0
    for row, stage, attempts in zip(made, ("half", "half", ""), (3, 3, 0), strict=True):
        row.refresh_from_db()
        assert (row.stage, row.attempts) == (stage, attempts)


def test_a_value_cannot_become_a_part_of_the_query(ann: User) -> None:
    job(ann, "one")
    assert JOBS(owner=ann.pk, kind="x' OR '1'='1") == []
    with pytest.raises(KeyError):
        JOBS(owner=ann.pk)


@pytest.mark.django_db(transaction=True)
def test_each_thread_asks_by_its_own_connection(ann: User) -> None:
    made = job(ann, "one")
    assert JOBS(owner=ann.pk, kind="one") == [made]
    found: list[Job] = []

    def ask() -> None:
        found.extend(JOBS(owner=ann.pk, kind="one"))
        connection.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found == [made]
