"""The word table that ships with the package: integrity, contents, and use by the rules."""

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


def test_package_data_matches_recorded_hashes() -> None:
    hashes = json.loads(DATA.joinpath("made_of.json").read_text("utf-8"))["sha256"]
    assert set(hashes) == {"table.tsv", "plurals.tsv", "LICENSE"}
    for name, expected in hashes.items():
        assert hashlib.sha256(DATA.joinpath(name).read_bytes()).hexdigest() == expected, name
    assert len(DATA.joinpath("table.tsv").read_bytes()) < 5_000_000


def test_package_data_contains_wordnet_license() -> None:
    text = DATA.joinpath("LICENSE").read_text("utf-8")
    assert "WordNet 3.1 Copyright 2011 by Princeton University" in text
    assert "appear on ALL copies" in text


@pytest.mark.parametrize("relation", Relation)
def test_word_table_has_many_plain_base_words_per_relation(relation: Relation) -> None:
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


def test_word_table_has_no_slur_as_base_word() -> None:
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
def test_get_stems_contains_typical_player_answers(
    relation: Relation, base: str, answers: list[str]
) -> None:
    known = load_table().get_stems(relation, base)
    missing = {answer for answer in answers if stem(answer) not in known}
    assert not missing


def test_get_stems_excludes_unrelated_words() -> None:
    words = load_table()
    assert stem("wheel") not in words.get_stems(Relation.MERONYMS, "eagle")
    assert stem("eagle") not in words.get_stems(Relation.MERONYMS, "eagle")
    assert stem("warm") not in words.get_stems(Relation.ANTONYMS, "hot")
    assert words.list_answers(Relation.MERONYMS, "no such word") == ()
    assert words.get_stems(Relation.MERONYMS, "no such word") == frozenset()


def test_list_answers_puts_best_known_first() -> None:
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
def test_get_determiner_returns_article_of_base_word(base: str, determiner: str) -> None:
    assert load_table().get_determiner(base) == determiner


def test_is_concrete_accepts_only_tangible_things() -> None:
    words = load_table()
    assert words.is_concrete("eagle") and words.is_concrete("bottle")
    assert not words.is_concrete("sadness") and not words.is_concrete("happy")
    with pytest.raises(MissingError, match="no such word"):
        words.is_concrete("no such word")
    with pytest.raises(MissingError, match="meronyms"):
        words.get_difficulty_prior(Relation.MERONYMS, "happy")


def test_stem_maps_irregular_plurals_to_singulars() -> None:
    assert stem("teeth") == stem("tooth")
    assert stem("women") == stem("a woman")
    assert stem("milk teeth") == stem("milk tooth")
    assert stem("data") != stem("datum")
    assert stem("omen") != stem("oman")


def test_choose_next_word_follows_skill_on_whole_table() -> None:
    from random import Random

    words = load_table()
    stats = [
        WordStats(word=base, prior=words.get_difficulty_prior(Relation.HYPONYMS, base))
        for base in words.base_words(Relation.HYPONYMS)
    ]
    easy = choose_next_word(stats, skill=0.1, seen=(), draw=Random(1))
    hard = choose_next_word(stats, skill=0.9, seen=(), draw=Random(1))
    assert easy.prior < 0.4 < 0.6 < hard.prior
