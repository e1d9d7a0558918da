"""A visitor's choice of relations and clock, stored in the session."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, QueryDict

from idiolect.game.rules.relations import Relation

_SESSION_KEY = "nyms"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The settings for the visitor's next rounds."""

    relations: tuple[Relation, ...] = tuple(Relation)
    untimed: bool = False


def get_choices(request: HttpRequest) -> Choices:
    """Return the visitor's last choices; the default is all relations, with a clock."""
    kept = request.session.get(_SESSION_KEY) or {}
    return Choices(
        relations=_parse_relations(kept.get("relations", ())), untimed=bool(kept.get("untimed"))
    )


def save_choices(request: HttpRequest, form: QueryDict) -> Choices:
    """Store the choices in a form with the fields ``relation`` (repeated) and ``untimed``.

    A form without ``relation``, such as the "Next word" button, changes nothing.
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
    """Store whether to play without a clock; keep the relations."""
    relations = [relation.value for relation in get_choices(request).relations]
    request.session[_SESSION_KEY] = {"relations": relations, "untimed": untimed}


def _parse_relations(names: object) -> tuple[Relation, ...]:
    """Return the known relations among ``names``, or all relations if there are none."""
    wanted = set(names) if isinstance(names, list) else set()
    return tuple(r for r in Relation if r.value in wanted) or tuple(Relation)
