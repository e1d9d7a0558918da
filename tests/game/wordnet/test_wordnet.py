"""The WordNet parser, the four relations, the base word rules and the build, on a small WordNet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from idiolect.errors import DataError, IntegrityError, MissingError
from idiolect.game.rules.relations import Relation
from idiolect.game.wordnet import build as building
from idiolect.game.wordnet.base_words import BaseWordSelector
from idiolect.game.wordnet.database import WordNet, read_wordnet
from idiolect.game.wordnet.determiners import choose_determiner
from idiolect.game.wordnet.offensive import find_offensive_synsets, remove_words
from idiolect.game.wordnet.plurals import (
    group_by_singular,
    list_plurals,
    list_unique_singulars,
    read_exceptions,
)
from idiolect.game.wordnet.relations import find_related, measure_depth
from idiolect.game.wordnet.table import TableRow, estimate_difficulties, format_table
from support import small_wordnet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_wordnet.write_small_wordnet(tmp_path_factory.mktemp("dict"))


@pytest.fixture(scope="module")
def wordnet(folder: Path) -> WordNet:
    return read_wordnet(folder)


MakeSelector = Callable[..., BaseWordSelector]


@pytest.fixture(scope="module")
def make_selector(wordnet: WordNet, folder: Path) -> MakeSelector:
    """Returns a function that makes a selector from Zipf frequencies; the default is 4.0."""

    def make(**frequencies: float) -> BaseWordSelector:
        irregular = group_by_singular(read_exceptions(folder / "noun.exc", wordnet))
        return BaseWordSelector(
            wordnet,
            frequency=lambda word: frequencies.get(word, 4.0),
            irregular=irregular,
            is_offensive=lambda word: word == "beak",
        )

    return make


def test_read_wordnet_returns_plain_spellings(wordnet: WordNet) -> None:
    (bald,) = wordnet.find_synsets("bald eagle")
    assert bald.words == ("bald eagle",)
    assert wordnet.find_synsets("glad")[0].words == ("happy", "glad")
    assert wordnet.find_synsets("nile")[0].words == ("Nile",)
    assert [synset.words[0] for synset in wordnet.find_synsets("oaf")] == ["lout", "boor"]
    assert wordnet.tag_counts["leaf", "n"] == 5


def test_read_wordnet_treats_satellite_adjectives_as_adjectives(wordnet: WordNet) -> None:
    assert wordnet.find_synsets("icy")[0].find_targets("&") == (wordnet.find_synsets("cold")[0].id,)


@pytest.mark.parametrize(
    ("relation", "base", "answers"),
    [
        (Relation.SYNONYMS, "happy", {"glad"}),
        (Relation.SYNONYMS, "water", {"h2o"}),
        (Relation.SYNONYMS, "eagle", set()),
        (Relation.ANTONYMS, "happy", {"sad"}),
        # Antonyms relate words, not synsets: "glad" is in the synset of "happy", but only "happy"
        # has an antonym.
        (Relation.ANTONYMS, "glad", set()),
        (Relation.ANTONYMS, "hot", {"cold"}),
        (Relation.ANTONYMS, "warm", set()),
        (Relation.HYPONYMS, "bird", {"eagle", "bald eagle"}),
        (Relation.HYPONYMS, "fluid", {"water", "h2o"}),
        (Relation.MERONYMS, "bird", {"beak", "bill", "flock", "face", "eye", "iris", "tail"}),
        (
            Relation.MERONYMS,
            "eagle",
            {"beak", "bill", "flock", "keratin", "face", "eye", "iris", "tail"},
        ),
        (Relation.MERONYMS, "no such word", set()),
    ],
)
def test_find_related_returns_answers_of_each_relation(
    wordnet: WordNet, relation: Relation, base: str, answers: set[str]
) -> None:
    assert set(find_related(wordnet, relation, base)) == answers


def test_measure_depth_returns_shortest_path_to_root(wordnet: WordNet) -> None:
    assert [
        measure_depth(wordnet, wordnet.find_synsets(w)[0].id) for w in ("entity", "whole", "bird")
    ] == [0, 3, 8]


def test_remove_words_empties_offensive_synsets_but_keeps_links(wordnet: WordNet) -> None:
    offensive = find_offensive_synsets(wordnet)
    assert {wordnet.synsets[i].words[0] for i in offensive} == {"lout", "boor"}
    clean = remove_words(wordnet, offensive)
    assert find_related(clean, Relation.SYNONYMS, "oaf") == ()
    assert "lout" not in find_related(clean, Relation.HYPONYMS, "person")
    assert set(find_related(clean, Relation.HYPONYMS, "person")) == {"man", "woman"}


def test_list_candidates_returns_plain_known_words(make_selector: MakeSelector) -> None:
    fit = make_selector(eagle=2.0, quickly=5.0, leaf=5.0, hot=4.4, teeth=4.0).list_candidates()
    assert "bird" in fit and "leaf" in fit and "hot" in fit
    assert "eagle" not in fit, "too rare"
    assert "quickly" not in fit, "frequent, but never tagged"
    assert "bald eagle" not in fit and "h2o" not in fit
    assert "nile" not in fit, "a name"
    assert not {"oaf", "lout", "beak", "suicide", "simpleton"} & set(fit)


def test_list_candidates_skips_untagged_nouns_with_rare_plurals(
    make_selector: MakeSelector,
) -> None:
    assert "flock" in make_selector().list_candidates()
    assert "flock" not in make_selector(flocks=2.0).list_candidates()
    assert "leaf" in make_selector(leaves=2.0, leafs=1.0).list_candidates()


def test_is_asked_needs_enough_answers_and_specific_nouns(make_selector: MakeSelector) -> None:
    words = make_selector()
    many = [f"answer {n}" for n in range(9)]
    assert words.is_asked(Relation.HYPONYMS, "bird", many)
    assert not words.is_asked(Relation.HYPONYMS, "bird", many[:7]), "too few"
    assert not words.is_asked(Relation.HYPONYMS, "whole", many), "too general"
    assert not words.is_asked(Relation.HYPONYMS, "fly", many), "not mainly a noun"
    assert not make_selector(**dict.fromkeys(many, 1.0)).is_asked(Relation.HYPONYMS, "bird", many)
    assert words.is_asked(Relation.MERONYMS, "bird", many)
    assert not words.is_asked(Relation.MERONYMS, "woman", many)
    assert words.is_asked(Relation.ANTONYMS, "hot", ["cold"])
    assert not words.is_asked(Relation.ANTONYMS, "warm", [])


def test_choose_determiner_follows_vowels_and_countability(make_selector: MakeSelector) -> None:
    words = make_selector(waters=3.0, eyes=1.0, tails=2.0, atmospheres=2.0)
    found = {
        w: choose_determiner(w, words) for w in ("eagle", "bird", "water", "happy", "atmosphere")
    }
    assert found == {"eagle": "an", "bird": "a", "water": "", "happy": "", "atmosphere": "the"}
    assert (
        choose_determiner("eye", words) == "" and choose_determiner("eye", make_selector()) == "an"
    )


def test_list_plurals_and_singulars_follow_exceptions_and_spelling(
    wordnet: WordNet, folder: Path
) -> None:
    exceptions = read_exceptions(folder / "noun.exc", wordnet)
    irregular = group_by_singular(exceptions)
    assert list_plurals("tooth", irregular) == ("teeth", "tooths")
    assert list_plurals("woman", irregular) == ("women", "womans")
    assert list_plurals("city", {}) == ("cities",) and list_plurals("day", {}) == ("days",)
    assert list_plurals("box", {}) == ("boxes",) and list_plurals("banjo", {}) == (
        "banjos",
        "banjoes",
    )
    assert dict(list_unique_singulars(exceptions, wordnet)) == {
        "teeth": "tooth",
        "leaves": "leaf",
        "men": "man",
        "women": "woman",
    }


def test_estimate_difficulties_decreases_with_common_answers() -> None:
    rows = [
        TableRow(
            relation=Relation.SYNONYMS,
            base=f"w{n}",
            determiner="",
            concrete=False,
            answers=("x",),
            common=n,
        )
        for n in (0, 5, 5, 20)
    ]
    hard = estimate_difficulties(rows)
    assert hard == sorted(hard, reverse=True)
    assert hard[1] == hard[2] == pytest.approx(0.5)
    assert all(0.3 <= d <= 0.7 for d in hard)
    assert format_table(rows[:1]).splitlines()[1] == "synonyms\tw0\t\t0\t0.50\tx"


def build_files(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Build the package data from ``folder``, whose hashes are accepted; returns bytes by name."""
    sums = folder.parent / "sources.sha256"
    names = sorted(path.name for path in folder.iterdir())
    sums.write_text(
        "".join(f"{building.blobs.sha256_file(folder / name)}  {name}\n" for name in names)
    )
    monkeypatch.setattr(building, "SOURCES", sums)
    out.mkdir()
    building.build_data(folder, folder / "noun.exc", out)
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_build_data_is_deterministic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "dict"
    source.mkdir()
    small_wordnet.write_small_wordnet(source)
    first = build_files(source, tmp_path / "one", monkeypatch)
    assert first == build_files(source, tmp_path / "two", monkeypatch)
    assert set(first) == {"table.tsv", "plurals.tsv", "LICENSE", "made_of.json"}
    assert b"The license of a test.\nIt has two lines.\n" in first["LICENSE"]
    assert b"\nmeronyms\teagle\tan\t1\t0.50\tface|bill|" in first["table.tsv"]
    assert set(json.loads(first["made_of.json"])["sha256"]) == set(first) - {"made_of.json"}


def test_build_data_rejects_missing_and_different_sources(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(IntegrityError, match=r"data\.adj is not the expected source file"):
        building.build_data(folder, folder / "noun.exc", tmp_path)
    with pytest.raises(MissingError, match=r"data\.adj does not exist"):
        building.build_data(tmp_path, folder / "noun.exc", tmp_path)
    assert building.main([str(tmp_path), str(folder / "noun.exc"), "--out", str(tmp_path)]) == 1
    assert "error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("data.noun", "00000001 03 n 02 entity"),
        ("data.noun", "1 03 n 01 entity 0 000 | short offset"),
        ("index.noun", "entity n 2 1 @ 2 0 00000000"),
        ("index.noun", "entity n 1 1 @ 1 0 99999999"),
        ("index.sense", "entity 1"),
    ],
)
def test_read_wordnet_names_malformed_line(tmp_path: Path, name: str, line: str) -> None:
    small_wordnet.write_small_wordnet(tmp_path)
    with (tmp_path / name).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=rf"{name}:\d+: "):
        read_wordnet(tmp_path)


def test_read_wordnet_and_exceptions_name_missing_file(tmp_path: Path, wordnet: WordNet) -> None:
    with pytest.raises(MissingError, match=r"data\.noun does not exist"):
        read_wordnet(tmp_path)
    with pytest.raises(MissingError, match="wordnet-base"):
        read_exceptions(tmp_path / "noun.exc", wordnet)
    (tmp_path / "noun.exc").write_text("teeth\n")
    with pytest.raises(DataError, match=r"noun\.exc:1: a plural without a singular"):
        read_exceptions(tmp_path / "noun.exc", wordnet)
