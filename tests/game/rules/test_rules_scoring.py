"""What counts as an answer and what a round is worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.game.rules.answers import MAX_CHARS, filter_accepted, normalize_answer, stem
from idiolect.game.rules.relations import (
    GRACE_SECONDS,
    MAX_ANSWERS,
    ROUND_SECONDS,
    Relation,
    format_question,
    is_in_time,
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
"""The original game's answers for kinds of seafood, in percent of its players."""

OTHERS = PriorAnswers(rounds=100, given={stem(word): count for word, count in SEAFOOD.items()})


def scored(
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


def test_agreement_is_the_share_of_others() -> None:
    result = scored(*SEAFOOD)
    assert [word.agreement for word in result.words] == list(SEAFOOD.values())
    assert result.total == sum(SEAFOOD.values())


def test_stems_agree_whatever_the_form() -> None:
    result = scored("a Fish", "OYSTER", "clam", "mussel")
    assert [(w.answer, w.total) for w in result.words] == [
        ("a fish", 54),
        ("oyster", 12),
        ("clam", 24),
        ("mussel", 10),
    ]


def test_wordnet_gives_fifty_more() -> None:
    fish, tuna = scored("fish", "tuna", listed=("tunas",)).words
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
def test_the_base_word_never_counts(typed: str) -> None:
    result = scored(typed, listed=("seafood",), little_played=True)
    assert result.words == () and result.total == 0


def test_an_answer_counts_once() -> None:
    result = scored("clam", "clams", "Clams", "the clam", listed=("clam",))
    assert [word.answer for word in result.words] == ["clam"]
    assert result.total == 24 + LISTED_BONUS


def test_little_played_words_give_a_bonus_for_a_round_with_an_answer() -> None:
    nobody = PriorAnswers()
    played = scored("fish", earlier=nobody, little_played=True)
    assert (played.words[0].total, played.round_bonus, played.total) == (0, 40, ROUND_BONUS)
    assert played.words[0].why == "Nobody has played this word before you."
    assert scored("", "?!", earlier=nobody, little_played=True).total == 0


def test_halves_are_rounded_up_and_no_share_exceeds_one() -> None:
    eighths = PriorAnswers(rounds=8, given={"fish": 1, "crab": 5, "lobster": 9})
    assert [w.agreement for w in scored("fish", "crab", "lobster", earlier=eighths).words] == [
        13,
        63,
        100,
    ]


def test_ten_thousand_answers_are_sixty() -> None:
    def endless():
        for number in range(10_000):
            yield f"fish number {number}"
        raise AssertionError("nobody looks at all of them")

    assert len(filter_accepted("seafood", endless())) == MAX_ANSWERS


def test_a_megabyte_is_an_answer_of_fifty_characters() -> None:
    assert normalize_answer("x" * 2**20) == "x" * MAX_CHARS


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Ice\t Cream ", "ice cream"),
        ("«Fish!»", "fish"),
        ("\uff26\uff29\uff33\uff28", "fish"),
        ("lady\u2019s finger", "lady's finger"),
        ("a\x00b", "ab"),
        ("\ud800", ""),
        ("...", ""),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("'; DROP TABLE answers; --", "drop table answers"),
        ("CO\u2082", "co2"),
        ("e\u0301clair", "\u00e9clair"),
    ],
)
def test_normalised(typed: str, kept: str) -> None:
    assert normalize_answer(typed) == kept


def test_a_stem_fits_where_its_answer_fits() -> None:
    assert len(stem("ova " * 13)) <= MAX_CHARS


def test_hyphens_articles_and_possessives_do_not_tell_answers_apart() -> None:
    assert stem("Ice-Creams") == stem("the ice cream") == stem("ice  cream's")
    assert stem("a") == "a"
    assert stem("some") == "some"


@given(st.text(max_size=300))
def test_normalising_again_changes_nothing(text: str) -> None:
    once = normalize_answer(text)
    assert normalize_answer(once) == once
    assert len(once) <= MAX_CHARS
    assert once == once.strip()
    assert stem(text) == stem(once) == stem(once).strip()
    assert len(stem(once)) <= MAX_CHARS
    once.encode("utf-8")


WORDS = st.sampled_from(["fish", "Fishes", "crab", "crabs", "seafood", "", "!", "the crab", "eel"])


@given(
    st.lists(WORDS, max_size=80),
    st.integers(0, 7),
    st.dictionaries(st.sampled_from(["fish", "crab", "eel", "seafood"]), st.integers(0, 7)),
    st.sets(st.sampled_from(["fish", "crab", "eel", "seafood"])),
    st.booleans(),
)
def test_a_round_adds_up(answers, rounds, counts, listed, little_played) -> None:
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


def test_time_is_the_servers_with_a_second_of_grace() -> None:
    for relation in Relation:
        assert is_in_time(relation, ROUND_SECONDS[relation] + GRACE_SECONDS)
        assert not is_in_time(relation, ROUND_SECONDS[relation] + GRACE_SECONDS + 0.01)
        assert is_in_time(relation, 3600, untimed=True)
        assert not is_in_time(relation, -1)
    assert dict(ROUND_SECONDS) == {"synonyms": 10, "antonyms": 10, "hyponyms": 15, "meronyms": 20}


def test_questions() -> None:
    assert (
        format_question(Relation.MERONYMS, "alligator", "an") == "What are parts of an alligator?"
    )
    assert format_question(Relation.HYPONYMS, "alligator", "an") == "What are kinds of alligator?"
    assert format_question(Relation.SYNONYMS, "happy") == "What is another word for happy?"
    assert (
        format_question(Relation.ANTONYMS, "entrance", "an")
        == "What is the opposite of an entrance?"
    )
