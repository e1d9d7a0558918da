"""Exports of the game: the table of pairs, its files, histories, and agreement."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import DataError, MissingError, UsageError
from idiolect.game.export import agreement, files, histories, pairs
from idiolect.game.export.histories import SECONDS_PER_DAY
from idiolect.game.plays import Plays
from idiolect.game.rules.answers import stem
from idiolect.history.dataset import read_dataset
from idiolect.history.write import write_dataset
from support.game_players import FIRST_TIME, make_round, make_seafood_rounds, make_vote

KNIFE = Plays(
    rounds=[
        make_round("ann", "knife", "blade, handle"),
        make_round("ann", "knife", "blades", at=10),
        make_round("bob", "knife", "blade, tip", at=20),
        make_round("cid", "knife", "handles, blade", at=30),
        make_round("dora", "spoon", "handle", at=40),
    ],
    votes=[
        make_vote("ann", "knife", "wing", False),
        make_vote("bob", "knife", "wing", True),
        make_vote("bob", "knife", "wing", False, at=5),
        make_vote("cid", "knife", "wing", False),
        make_vote("dora", "knife", "blade", True),
    ],
)


def lexicon(relation: str, base_word: str) -> set[str]:
    """Lists "blade" as a part of "knife", and nothing else."""
    return {stem("blade")} if (relation, base_word) == ("meronyms", "knife") else set()


def empty_lexicon(relation: str, base_word: str) -> set[str]:
    return set()


def test_build_pair_rows_counts_players_and_rounds_separately() -> None:
    rows = {
        (r.base_word, r.answer): r for r in pairs.build_pair_rows(KNIFE, lexicon, least_players=1)
    }
    blade = rows["knife", "blade"]
    assert (blade.players, blade.asked, blade.given, blade.rounds) == (3, 3, 4, 4)
    assert (blade.share, blade.agreement, blade.in_wordnet) == (1.0, 1.0, True)
    handle = rows["knife", "handle"]
    assert (handle.players, handle.asked, handle.given, handle.rounds) == (2, 3, 2, 4)
    assert handle.share == 0.5 and handle.agreement == pytest.approx(2 / 3)
    assert handle.agreement_low == pytest.approx(0.2077, abs=1e-3)
    assert handle.agreement_high == pytest.approx(0.9385, abs=1e-3)
    assert not handle.in_wordnet
    assert rows["spoon", "handle"].agreement == 1.0


def test_build_pair_rows_counts_last_vote_of_each_player() -> None:
    rows = {
        (r.base_word, r.answer): r for r in pairs.build_pair_rows(KNIFE, lexicon, least_players=1)
    }
    wing = rows["knife", "wing"]
    assert (wing.confirmed, wing.rejected) == (0, 3)
    assert (wing.players, wing.given, wing.asked) == (0, 0, 3)
    assert (rows["knife", "blade"].confirmed, rows["knife", "blade"].rejected) == (1, 0)


def test_build_pair_rows_hides_pairs_of_few_players() -> None:
    rows = pairs.build_pair_rows(KNIFE, lexicon)
    assert [(r.base_word, r.answer) for r in rows] == [("knife", "blade"), ("knife", "wing")]


def test_build_pair_rows_reproduces_original_seafood_counts() -> None:
    rows = pairs.build_pair_rows(Plays(rounds=make_seafood_rounds()), empty_lexicon)
    assert [(r.answer, r.players) for r in rows][:5] == [
        ("fish", 54),
        ("shrimp", 53),
        ("lobster", 38),
        ("crab", 36),
        ("clams", 24),
    ]
    assert {r.asked for r in rows} == {60}
    assert rows[0].share == pytest.approx(0.9)


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.parquet"])
def test_read_pairs_returns_what_was_written(tmp_path: Path, name: str) -> None:
    rows = pairs.build_pair_rows(KNIFE, lexicon, least_players=1)
    files.write_pairs(tmp_path / name, rows)
    found = files.read_pairs(tmp_path / name)
    assert [replace(r, share=None, agreement=None, agreement_low=None, agreement_high=None)
            for r in found] == [
        replace(r, share=None, agreement=None, agreement_low=None, agreement_high=None)
        for r in rows
    ]  # fmt: skip
    for one, other in zip(found, rows, strict=True):
        assert one.agreement == pytest.approx(other.agreement, rel=1e-5)


def test_read_pairs_reads_original_table_as_meronyms(tmp_path: Path) -> None:
    path = tmp_path / "relations.tsv"
    path.write_text("BASE_WORD\tINPUT_WORD\tRELATION_ID\tCNT\nknife\tblade\t787\t37\n")
    (row,) = files.read_pairs(path)
    assert (row.relation, row.base_word, row.answer, row.players) == (
        "meronyms",
        "knife",
        "blade",
        37,
    )
    assert row.share is None and row.agreement is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n1\t2\n", "unknown columns"),
        ("BASE_WORD\tINPUT_WORD\tRELATION_ID\tCNT\nknife\tblade\t1\tmany\n", "many"),
        ("BASE_WORD\tINPUT_WORD\tRELATION_ID\tCNT\n!!\tblade\t1\t7\n", "BASE_WORD is empty"),
    ],
)
def test_read_pairs_rejects_malformed_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        files.read_pairs(path)


def test_write_pairs_rejects_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.tsv or \.parquet"):
        files.write_pairs(tmp_path / "pairs.xlsx", [])
    with pytest.raises(MissingError):
        files.read_pairs(tmp_path / "pairs.tsv")


def determiner(word: str) -> str:
    return "a"


def test_build_histories_keeps_questions_and_hides_names(tmp_path: Path) -> None:
    built = histories.build_histories(KNIFE.rounds, determiner, least_players=1)
    # One pseudonym per player.
    assert len(built) == 4
    assert len({h.person for h in built}) == 4
    assert all(re.fullmatch(r"player-[0-9a-f]{16}", h.person) for h in built)
    # All answers survive the dataset in one spelling, with the question that the player saw.
    write_dataset(tmp_path / "out", built, task="word-relation", source="the game")
    dataset = read_dataset(tmp_path / "out")
    texts = [[i.fields["answer"] for i in h.items] for h in dataset]
    assert sorted(texts) == [
        ["blade", "handle", "blade"],
        ["blade", "tip"],
        ["handle"],
        ["handle", "blade"],
    ]
    for history in dataset:
        for item in history.items:
            assert item.fields["question"] in (
                "What are parts of a knife?",
                "What are parts of a spoon?",
            )
            assert item.time is not None and item.time % SECONDS_PER_DAY == 0
    # No file contains a player's name.
    raw = b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())
    assert not any(name in raw for name in (b"ann", b"bob-", b"cid", b"dora"))


@pytest.mark.finding("published-histories")
@pytest.mark.parametrize("least", [1, 2, 3])
def test_build_histories_leaves_out_answers_of_few_players(least: int) -> None:
    built = histories.build_histories(KNIFE.rounds, determiner, least_players=least)
    # How many players gave each answer to each word, in the rounds themselves.
    players: dict[tuple[str, str], set[str]] = {}
    for row in KNIFE.rounds:
        for answer in row.answers:
            players.setdefault((row.base_word, answer.stem), set()).add(row.player)
    common = {key for key, who in players.items() if len(who) >= least}
    found = {(i.fields["base_word"], stem(str(i.fields["answer"]))) for h in built for i in h.items}
    assert found == common
    assert all(history.items for history in built)


@pytest.mark.finding("published-histories")
def test_build_pair_rows_hides_how_few_players_gave_a_voted_pair() -> None:
    votes = [make_vote(who, "knife", "tang", True) for who in ("ann", "bob", "cid")]
    given = [make_round("ann", "knife", "tang"), make_round("bob", "knife", "blade")]
    (row,) = pairs.build_pair_rows(Plays(rounds=given, votes=votes), lexicon)
    assert (row.answer, row.players, row.given, row.share, row.agreement) == ("tang", 0, 0, 0, 0)
    assert (row.asked, row.confirmed, row.agreement_low) == (2, 3, 0)


def test_build_histories_draws_new_pseudonyms_each_time() -> None:
    exports = [histories.build_histories(KNIFE.rounds, determiner) for _ in "12"]
    one, other = ({h.person for h in people} for people in exports)
    assert not one & other


def test_build_histories_skips_players_without_answers() -> None:
    assert histories.build_histories([make_round("ann", "knife", "")], determiner) == []


def test_build_player_history_orders_answers_by_time() -> None:
    rounds = [
        make_round("ann", "spoon", "bowl", at=60),
        make_round("ann", "knife", "tip, blade", at=5),
    ]
    history = histories.build_player_history("me", rounds, determiner)
    assert [i.fields["answer"] for i in history.items] == ["tip", "blade", "bowl"]
    assert [i.time for i in history.items] == [FIRST_TIME + 5, FIRST_TIME + 5, FIRST_TIME + 60]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=6))
def test_compute_agreement_matches_reliability_matrix(matrix: list[list[bool]]) -> None:
    """Compares with the krippendorff package's other input, a matrix of raters by units."""
    rounds = [
        make_round(
            f"p{n}", "knife", ",".join(w for w, said in zip("abcd", row, strict=True) if said)
        )
        for n, row in enumerate(matrix)
    ]
    found = agreement.compute_agreement(Plays(rounds=rounds))["answers"]
    said = np.array(matrix, dtype=float)[:, np.array(matrix).any(axis=0)]
    if said.size == 0 or said.min() == 1:
        assert found.alpha is None
    else:
        whole = krippendorff.alpha(reliability_data=said, level_of_measurement="nominal")
        assert found.alpha == pytest.approx(whole)


def test_compute_agreement_counts_answers_that_no_player_gave() -> None:
    """Compares our merged units of answers that no player gave with all units written out."""
    rounds = [make_round(p, "knife", w) for p, w in zip("abc", ("x", "x, y", "z"), strict=True)]
    rounds += [make_round(p, "spoon", w) for p, w in zip("ab", ("u", "u, x"), strict=True)]
    found = agreement.compute_agreement(Plays(rounds=rounds))["meronyms"]
    knife = [[1, 2], [2, 1], [2, 1], [3, 0]]  # x, y, z, u
    spoon = [[1, 1], [2, 0], [2, 0], [0, 2]]
    whole = krippendorff.alpha(value_counts=knife + spoon, level_of_measurement="nominal")
    assert found.alpha == pytest.approx(whole)


def test_compute_agreement_is_high_only_for_equal_answers() -> None:
    words = ("knife", "spoon", "fork")
    same = [make_round(f"p{n}", word, f"x{word}, y{word}") for word in words for n in range(4)]
    apart = [make_round(f"p{n}", word, f"x{n}, y{n}") for word in words for n in range(4)]
    some = same[:-1] + apart[-1:]
    alphas = [agreement.compute_agreement(Plays(rounds=r))["meronyms"] for r in (same, some, apart)]
    assert [a.players for a in alphas] == [4, 4, 4] and [a.words for a in alphas] == [3, 3, 3]
    one, middle, none = alphas
    assert one.alpha == 1.0 and one.interval == (1.0, 1.0)
    assert middle.alpha is not None and none.alpha is not None
    assert 0.5 < middle.alpha < 1 and none.alpha < 0
    assert middle.interval is not None
    assert middle.interval[0] <= middle.alpha <= middle.interval[1]


def test_compute_agreement_reports_votes_separately() -> None:
    votes = [make_vote(p, "knife", w, w == "blade") for p in "abc" for w in ("blade", "wing")]
    found = agreement.compute_agreement(Plays(rounds=[], votes=votes))["votes"]
    assert (found.alpha, found.words, found.players) == (1.0, 1, 3)


def test_compute_precision_by_count_groups_pairs_by_players() -> None:
    rows = pairs.build_pair_rows(KNIFE, lexicon, least_players=0)
    found = {p.least: p for p in agreement.compute_precision_by_count(rows)}
    assert Counter({least: p.pairs for least, p in found.items()}) == {
        1: 2,
        2: 1,
        3: 1,
        5: 0,
        10: 0,
        20: 0,
    }
    assert (found[3].in_wordnet, found[1].in_wordnet) == (1, 0)
    assert (found[3].voted, found[3].confirmed) == (1, 1)
    assert found[5].in_wordnet_interval == (0.0, 1.0)
