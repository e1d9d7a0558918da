"""Which relations a visitor wants and whether with a clock; remembered in their session."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, QueryDict

from idiolect.game.rules.relations import Relation

_KEY = "nyms"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the next rounds are like."""

    relations: tuple[Relation, ...] = tuple(Relation)
    untimed: bool = False


def choices(request: HttpRequest) -> Choices:
    """What the visitor chose last; everything, with a clock, if nothing."""
    kept = request.session.get(_KEY) or {}
    return Choices(
        relations=_relations(kept.get("relations", ())), untimed=bool(kept.get("untimed"))
    )


def choose(request: HttpRequest, form: QueryDict) -> Choices:
    """Reads a form with the fields ``relation`` (several) and ``untimed``, and remembers it.

    A form that has neither ("next word") changes nothing.
    """
    if "relation" in form:
        request.session[_KEY] = {
            "relations": [relation.value for relation in _relations(form.getlist("relation"))],
            "untimed": "untimed" in form,
        }
    return choices(request)


def set_clock(request: HttpRequest, *, untimed: bool) -> None:
    """Remembers whether to play without a clock; the relations stay."""
    relations = [relation.value for relation in choices(request).relations]
    request.session[_KEY] = {"relations": relations, "untimed": untimed}


def _relations(names: object) -> tuple[Relation, ...]:
    wanted = set(names) if isinstance(names, list) else set()
    return tuple(r for r in Relation if r.value in wanted) or tuple(Relation)
