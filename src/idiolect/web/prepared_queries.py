"""Queries whose SQL is made once: for the handful that every page of the game asks.

Building a query out of Django's parts takes a processor five times as long as asking it. Here it is
built and compiled once a thread, with slots for the values that change; asking fills the slots.
Knows how Django's query sets become SQL (nothing public says so), and no table.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from django.db import connection
from django.db.models import Expression, Field
from django.db.models.sql import UpdateQuery


class QueryParameter(Expression):
    """A place in a query for a value that is known when it is asked."""

    def __init__(self, name: str, field: Field[Any, Any]) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, *_: Any, **__: Any) -> tuple[str, list[Any]]:
        """Its placeholder; what stands for the value is the slot itself."""
        return "%s", [self]

    def prepare_value(self, values: Mapping[str, Any]) -> Any:
        """The value, as the database takes it."""
        field = cast(Any, self.output_field)
        return field.get_db_prep_value(values[self.name], connection, prepared=False)


class PreparedQuery:
    """A query set with slots, compiled once a thread."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._cache = threading.local()

    def __call__(self, **values: Any) -> list[Any]:
        """What the query set has for these values: models or rows, as it says."""
        try:
            asked, compiler, sql, slots = self._cache.query
        except AttributeError:
            asked, compiler, sql, slots = self._cache.query = self._compile_query()
        compiler.as_sql = lambda *_, **__: (sql, _bind_values(slots, values))
        return list(asked._iterable_class(asked))

    def first(self, **values: Any) -> Any:
        """The first of them; None where there is none."""
        found = self(**values)
        return found[0] if found else None

    def _compile_query(self) -> tuple[Any, Any, str, Sequence[Any]]:
        asked = self._make()
        compiler = asked.query.get_compiler(connection=connection)
        sql, slots = compiler.as_sql()
        asked.query.get_compiler = lambda *_, **__: compiler
        return asked, compiler, sql, slots


class PreparedUpdate:
    """A change of all rows of a query set, with slots, compiled once a thread."""

    def __init__(self, make: Callable[[], Any], **changes: Any) -> None:
        self._make, self._changes = make, changes
        self._cache = threading.local()

    def __call__(self, **values: Any) -> int:
        """Make the change; how many rows it changed."""
        try:
            sql, slots = self._cache.query
        except AttributeError:
            sql, slots = self._cache.query = self._compile_update()
        with connection.cursor() as cursor:
            cursor.execute(sql, _bind_values(slots, values))
            return cursor.rowcount

    def _compile_update(self) -> tuple[str, Sequence[Any]]:
        query = self._make().query.chain(UpdateQuery)
        query.add_update_values(self._changes)
        return query.get_compiler(connection=connection).as_sql()


def _bind_values(slots: Sequence[Any], values: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(
        part.prepare_value(values) if isinstance(part, QueryParameter) else part for part in slots
    )
