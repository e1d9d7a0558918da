"""Time limits and questions of the four relations."""

from __future__ import annotations

from idiolect.game.rules.relations import (
    GRACE_SECONDS,
    ROUND_SECONDS,
    Relation,
    format_question,
    is_in_time,
)


def test_is_in_time_allows_grace_second() -> None:
    for relation in Relation:
        assert is_in_time(relation, ROUND_SECONDS[relation] + GRACE_SECONDS)
        assert not is_in_time(relation, ROUND_SECONDS[relation] + GRACE_SECONDS + 0.01)
        assert is_in_time(relation, 3600, untimed=True)
        assert not is_in_time(relation, -1)
    assert dict(ROUND_SECONDS) == {"synonyms": 10, "antonyms": 10, "hyponyms": 15, "meronyms": 20}


def test_format_question_phrases_each_relation() -> None:
    assert (
        format_question(Relation.MERONYMS, "alligator", "an") == "What are parts of an alligator?"
    )
    assert format_question(Relation.HYPONYMS, "alligator", "an") == "What are kinds of alligator?"
    assert format_question(Relation.SYNONYMS, "happy") == "What is another word for happy?"
    assert (
        format_question(Relation.ANTONYMS, "entrance", "an")
        == "What is the opposite of an entrance?"
    )
