"""Queries whose SQL is compiled only once, for the few queries that every page of the game runs.

Building and compiling a Django query takes five times as much CPU time as running it. A prepared
query is compiled once per thread, with parameters for the values that change; each call only binds
the values. This relies on undocumented parts of how Django compiles query sets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from django.db import connection
from django.db.models import Expression, Field
from django.db.models.sql import UpdateQuery


class QueryParameter(Expression):
    """A named placeholder in a query for a value that each call supplies."""

    def __init__(self, name: str, field: Field[Any, Any]) -> None:
        """Name the parameter; ``field`` converts its values for the database."""
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, *_: Any, **__: Any) -> tuple[str, list[Any]]:
        """Return a placeholder, with this object in place of the value."""
        return "%s", [self]

    def prepare_value(self, values: Mapping[str, Any]) -> Any:
        """Return the value of this parameter in the form that the database expects."""
        field = cast(Any, self.output_field)
        return field.get_db_prep_value(values[self.name], connection, prepared=False)


class PreparedQuery:
    """A query set with parameters, compiled once per thread.

    Example::

        by_name = PreparedQuery(lambda: User.objects.filter(key=QueryParameter("key", CharField())))
        by_name.first(key="ann")
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        """Take a function that builds the query set; it runs at the first call in each thread."""
        self._make = make
        # Per thread, since a compiler belongs to the thread's database connection.
        self._cache = threading.local()

    def __call__(self, **values: Any) -> list[Any]:
        """Run the query with these parameters; return models or rows, as the query set says.

        Raises KeyError if a parameter has no value.
        """
        try:
            query_set, compiler, sql, parameters = self._cache.query
        except AttributeError:
            query_set, compiler, sql, parameters = self._cache.query = self._compile_query()
        # Django's iterator asks the compiler for SQL: answer with the compiled one.
        compiler.as_sql = lambda *_, **__: (sql, _bind_values(parameters, values))
        return list(query_set._iterable_class(query_set))

    def first(self, **values: Any) -> Any:
        """Return the first result; None if there is none."""
        found = self(**values)
        return found[0] if found else None

    def _compile_query(self) -> tuple[Any, Any, str, Sequence[Any]]:
        query_set = self._make()
        compiler = query_set.query.get_compiler(connection=connection)
        sql, parameters = compiler.as_sql()
        query_set.query.get_compiler = lambda *_, **__: compiler
        return query_set, compiler, sql, parameters


class PreparedUpdate:
    """An update of all rows of a query set, with parameters, compiled once per thread."""

    def __init__(self, make: Callable[[], Any], **changes: Any) -> None:
        """Take a function that builds the query set, and the new value of each changed field."""
        self._make, self._changes = make, changes
        self._cache = threading.local()

    def __call__(self, **values: Any) -> int:
        """Run the update with these parameters; return the number of changed rows."""
        try:
            sql, parameters = self._cache.query
        except AttributeError:
            sql, parameters = self._cache.query = self._compile_update()
        with connection.cursor() as cursor:
            cursor.execute(sql, _bind_values(parameters, values))
            return cursor.rowcount

    def _compile_update(self) -> tuple[str, Sequence[Any]]:
        query = self._make().query.chain(UpdateQuery)
        query.add_update_values(self._changes)
        return query.get_compiler(connection=connection).as_sql()


def _bind_values(parameters: Sequence[Any], values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Replace each QueryParameter by its value; keep the constants of the query."""
    return tuple(
        part.prepare_value(values) if isinstance(part, QueryParameter) else part
        for part in parameters
    )
