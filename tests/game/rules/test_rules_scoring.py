"""Points of a round and their explanations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.game.rules.answers import stem
from idiolect.game.rules.relations import (
    Relation,
)
from idiolect.game.rules.scoring import (
    LISTED_BONUS,
    ROUND_BONUS,
    PriorAnswers,
    RoundScore,
    score_round,
)

SEAFOOD = {
    "fish": 54,
    "shrimp": 53,
    "lobster": 38,
    "crab": 36,
    "clams": 24,
    "salmon": 17,
    "oysters": 12,
    "scallops": 12,
    "shellfish": 10,
    "mussels": 10,
}
"""The answers for kinds of seafood in the original game, in percent of its players."""

OTHERS = PriorAnswers(rounds=100, given={stem(word): count for word, count in SEAFOOD.items()})


def score_answers(
    *answers: str,
    listed: tuple[str, ...] = (),
    earlier: PriorAnswers = OTHERS,
    little_played: bool = False,
) -> RoundScore:
    return score_round(
        Relation.HYPONYMS,
        "seafood",
        answers,
        earlier=earlier,
        listed=set(map(stem, listed)),
        little_played=little_played,
    )


def test_score_round_gives_share_of_other_players_as_points() -> None:
    result = score_answers(*SEAFOOD)
    assert [word.agreement for word in result.words] == list(SEAFOOD.values())
    assert result.total == sum(SEAFOOD.values())


def test_score_round_matches_answers_by_stem() -> None:
    result = score_answers("a Fish", "OYSTER", "clam", "mussel")
    assert [(w.answer, w.total) for w in result.words] == [
        ("a fish", 54),
        ("oyster", 12),
        ("clam", 24),
        ("mussel", 10),
    ]


def test_score_round_adds_bonus_for_listed_answers() -> None:
    fish, tuna = score_answers("fish", "tuna", listed=("tunas",)).words
    assert (fish.bonus, fish.total) == (0, 54)
    assert (tuna.agreement, tuna.bonus, tuna.total) == (0, LISTED_BONUS, 50)
    assert fish.why == "54 of 100 other players gave it too."
    assert tuna.why == ("None of 100 other players gave it. WordNet lists it as a kind of seafood.")


@pytest.mark.parametrize(
    "typed",
    [
        "seafood",
        "Seafoods",
        " SEAFOOD! ",
        "the seafood",
        "sea\u200bfood",
        "sea-food",
        "sea foods",
        "seafood seafood",
    ],
)
def test_score_round_ignores_base_word(typed: str) -> None:
    result = score_answers(typed, listed=("seafood",), little_played=True)
    assert result.words == () and result.total == 0


def test_score_round_counts_each_stem_once() -> None:
    result = score_answers("clam", "clams", "Clams", "the clam", listed=("clam",))
    assert [word.answer for word in result.words] == ["clam"]
    assert result.total == 24 + LISTED_BONUS


def test_score_round_adds_round_bonus_only_with_an_answer() -> None:
    none = PriorAnswers()
    played = score_answers("fish", earlier=none, little_played=True)
    assert (played.words[0].total, played.round_bonus, played.total) == (0, 40, ROUND_BONUS)
    assert played.words[0].why == "No other player has played this word yet."
    assert score_answers("", "?!", earlier=none, little_played=True).total == 0


def test_score_round_rounds_halves_up_and_caps_share() -> None:
    eighths = PriorAnswers(rounds=8, given={"fish": 1, "crab": 5, "lobster": 9})
    assert [
        w.agreement for w in score_answers("fish", "crab", "lobster", earlier=eighths).words
    ] == [
        13,
        63,
        100,
    ]


WORDS = st.sampled_from(["fish", "Fishes", "crab", "crabs", "seafood", "", "!", "the crab", "eel"])


@given(
    st.lists(WORDS, max_size=80),
    st.integers(0, 7),
    st.dictionaries(st.sampled_from(["fish", "crab", "eel", "seafood"]), st.integers(0, 7)),
    st.sets(st.sampled_from(["fish", "crab", "eel", "seafood"])),
    st.booleans(),
)
def test_score_round_total_is_sum_of_parts(answers, rounds, counts, listed, little_played) -> None:
    result = score_round(
        Relation.HYPONYMS,
        "seafood",
        answers,
        earlier=PriorAnswers(rounds=rounds, given=counts),
        listed=listed,
        little_played=little_played,
    )
    stems = [word.stem for word in result.words]
    assert len(set(stems)) == len(stems) and stem("seafood") not in stems
    assert all(0 <= w.agreement <= 100 and w.total == w.agreement + w.bonus for w in result.words)
    assert result.total == sum(word.total for word in result.words) + result.round_bonus
    assert (result.round_bonus > 0) == (little_played and bool(stems))
