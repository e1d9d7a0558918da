"""The table that ships: it is what its record says, and it plays."""

from __future__ import annotations

import hashlib
import json
import string
from importlib import resources

import pytest

from idiolect.errors import MissingError
from idiolect.game.profanity import is_slur
from idiolect.game.rules.answers import stem
from idiolect.game.rules.choice import WordStats, choose_next_word, is_retired
from idiolect.game.rules.relations import Relation, format_question
from idiolect.game.words import load_table

DATA = resources.files("idiolect.game.wordnet")


def test_the_files_are_those_that_were_built() -> None:
    hashes = json.loads(DATA.joinpath("made_of.json").read_text("utf-8"))["sha256"]
    assert set(hashes) == {"table.tsv", "plurals.tsv", "LICENSE"}
    for name, expected in hashes.items():
        assert hashlib.sha256(DATA.joinpath(name).read_bytes()).hexdigest() == expected, name
    assert len(DATA.joinpath("table.tsv").read_bytes()) < 5_000_000


def test_the_licence_lies_beside_it() -> None:
    licence = DATA.joinpath("LICENSE").read_text("utf-8")
    assert "WordNet 3.1 Copyright 2011 by Princeton University" in licence
    assert "appear on ALL copies" in licence


@pytest.mark.parametrize("relation", Relation)
def test_there_are_many_plain_words_to_play(relation: Relation) -> None:
    words = load_table()
    bases = words.base_words(relation)
    assert len(bases) > 500 and len(set(bases)) == len(bases)
    for base in bases:
        assert set(base) <= set(string.ascii_lowercase) and len(base) >= 3
        assert words.get_determiner(base) in ("", "a", "an", "the")
        assert 0 < words.get_difficulty_prior(relation, base) < 1
        listed = words.list_answers(relation, base)
        assert listed and base not in listed
        assert format_question(relation, base, words.get_determiner(base))
    chosen = [
        WordStats(word=base, prior=words.get_difficulty_prior(relation, base)) for base in bases
    ]
    assert not any(map(is_retired, chosen))


def test_no_base_word_is_a_slur() -> None:
    bases = {base for relation in Relation for base in load_table().base_words(relation)}
    assert [base for base in bases if is_slur(base)] == []


@pytest.mark.parametrize(
    ("relation", "base", "answers"),
    [
        (Relation.MERONYMS, "eagle", ["wings", "beak", "feathers", "tail"]),
        (Relation.MERONYMS, "knife", ["blade", "handle", "point"]),
        (Relation.MERONYMS, "dog", ["teeth", "tail", "face", "eyes", "paws"]),
        (Relation.HYPONYMS, "bird", ["eagle", "bald eagle", "penguins"]),
        (Relation.HYPONYMS, "tree", ["oak", "christmas tree", "pine"]),
        (Relation.ANTONYMS, "hot", ["cold"]),
        (Relation.SYNONYMS, "glad", ["happy"]),
    ],
)
def test_what_players_say_is_listed(relation: Relation, base: str, answers: list[str]) -> None:
    known = load_table().get_stems(relation, base)
    missing = {answer for answer in answers if stem(answer) not in known}
    assert not missing


def test_wordnet_does_not_list_everything() -> None:
    words = load_table()
    assert stem("wheel") not in words.get_stems(Relation.MERONYMS, "eagle")
    assert stem("eagle") not in words.get_stems(Relation.MERONYMS, "eagle")
    assert stem("warm") not in words.get_stems(Relation.ANTONYMS, "hot")
    assert words.list_answers(Relation.MERONYMS, "no such word") == ()
    assert words.get_stems(Relation.MERONYMS, "no such word") == frozenset()


def test_known_answers_stand_first() -> None:
    kinds = load_table().list_answers(Relation.HYPONYMS, "bird")
    assert kinds.index("chicken") < kinds.index("gallus gallus")


@pytest.mark.parametrize(
    ("base", "determiner"),
    [
        ("eagle", "an"),
        ("horse", "a"),
        ("umbrella", "an"),
        ("university", ""),
        ("uniform", "a"),
        ("hour", "an"),
        ("furniture", ""),
        ("trousers", ""),
        ("happy", ""),
        ("no such word", ""),
    ],
)
def test_determiners(base: str, determiner: str) -> None:
    assert load_table().get_determiner(base) == determiner


def test_concrete_is_what_can_be_touched() -> None:
    words = load_table()
    assert words.is_concrete("eagle") and words.is_concrete("bottle")
    assert not words.is_concrete("sadness") and not words.is_concrete("happy")
    with pytest.raises(MissingError, match="no such word"):
        words.is_concrete("no such word")
    with pytest.raises(MissingError, match="meronyms"):
        words.get_difficulty_prior(Relation.MERONYMS, "happy")


def test_irregular_plurals_are_their_singulars() -> None:
    assert stem("teeth") == stem("tooth")
    assert stem("women") == stem("a woman")
    assert stem("milk teeth") == stem("milk tooth")
    assert stem("data") != stem("datum")
    assert stem("omen") != stem("oman")


def test_the_whole_table_can_be_chosen_from() -> None:
    from random import Random

    words = load_table()
    stats = [
        WordStats(word=base, prior=words.get_difficulty_prior(Relation.HYPONYMS, base))
        for base in words.base_words(Relation.HYPONYMS)
    ]
    easy = choose_next_word(stats, skill=0.1, seen=(), draw=Random(1))
    hard = choose_next_word(stats, skill=0.9, seen=(), draw=Random(1))
    assert easy.prior < 0.4 < 0.6 < hard.prior
