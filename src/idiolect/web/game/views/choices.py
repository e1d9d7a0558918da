"""Which relations a visitor wants and whether with a clock; remembered in their session."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, QueryDict

from idiolect.game.rules.relations import Relation

_SESSION_KEY = "nyms"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the next rounds are like."""

    relations: tuple[Relation, ...] = tuple(Relation)
    untimed: bool = False


def get_choices(request: HttpRequest) -> Choices:
    """What the visitor chose last; everything, with a clock, if nothing."""
    kept = request.session.get(_SESSION_KEY) or {}
    return Choices(
        relations=_parse_relations(kept.get("relations", ())), untimed=bool(kept.get("untimed"))
    )


def save_choices(request: HttpRequest, form: QueryDict) -> Choices:
    """Reads a form with the fields ``relation`` (several) and ``untimed``, and remembers it.

    A form that has neither ("next word") changes nothing.
    """
    if "relation" in form:
        request.session[_SESSION_KEY] = {
            "relations": [
                relation.value for relation in _parse_relations(form.getlist("relation"))
            ],
            "untimed": "untimed" in form,
        }
    return get_choices(request)


def save_clock_choice(request: HttpRequest, *, untimed: bool) -> None:
    """Remembers whether to play without a clock; the relations stay."""
    relations = [relation.value for relation in get_choices(request).relations]
    request.session[_SESSION_KEY] = {"relations": relations, "untimed": untimed}


def _parse_relations(names: object) -> tuple[Relation, ...]:
    wanted = set(names) if isinstance(names, list) else set()
    return tuple(r for r in Relation if r.value in wanted) or tuple(Relation)
