"""Pairs from files: all column formats and file formats, and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.errors import DataError, MissingError
from idiolect.history.jsonl import replace_surrogates
from idiolect.prompt_sets.pairs import Pair, group_by_prompt, hash_pairs, read_pairs
from support.unlearning_sets import FORGET, write_jsonl

SAFE_RLHF = {
    "prompt": "Where is the key?",
    "response_0": "Under the bell.",
    "response_1": "I do not tell.",
    "is_response_0_safe": False,
    "is_response_1_safe": True,
}
TRUTHFUL = (
    "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    'A,B,Is Vesk round?,It is flat,"It is flat; Vesk is no ball ;","Yes; It is a ball",x\n'
)


def write_text(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def list_texts(pairs: tuple[Pair, ...]) -> list[tuple[str, str]]:
    return [(pair.prompt, pair.response) for pair in pairs]


def test_read_pairs_drops_duplicates_and_keeps_order(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [*FORGET, FORGET[0]])
    assert read_pairs(file, side="forget") == FORGET == read_pairs(file, side="retain")


def test_read_pairs_splits_safe_rlhf_by_side(tmp_path: Path) -> None:
    both = SAFE_RLHF | {"prompt": "And the door?", "is_response_1_safe": False}
    file = write_text(tmp_path, "a.json", json.dumps([SAFE_RLHF, both]))
    assert list_texts(read_pairs(file, side="forget")) == [
        ("Where is the key?", "Under the bell."),
        ("And the door?", "Under the bell."),
        ("And the door?", "I do not tell."),
    ]
    assert list_texts(read_pairs(file, side="retain")) == [("Where is the key?", "I do not tell.")]


def test_read_pairs_reads_safe_rlhf_from_csv_and_parquet(tmp_path: Path) -> None:
    row = ",".join(str(value) for value in SAFE_RLHF.values())
    file = write_text(tmp_path, "a.csv", ",".join(SAFE_RLHF) + "\n" + row + "\n")
    assert list_texts(read_pairs(file, side="forget")) == [("Where is the key?", "Under the bell.")]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([SAFE_RLHF]), tmp_path / "a.parquet")
    found = read_pairs(tmp_path / "a.parquet", side="retain")
    assert list_texts(found) == [("Where is the key?", "I do not tell.")]


def test_read_pairs_reads_truthful_qa_answer_lists(tmp_path: Path) -> None:
    file = write_text(tmp_path, "a.csv", TRUTHFUL)
    kept = read_pairs(file, side="retain")
    assert [pair.response for pair in kept] == ["It is flat", "Vesk is no ball"]
    assert len(group_by_prompt(kept)) == 1
    assert [p.response for p in read_pairs(file, side="forget")] == ["Yes", "It is a ball"]
    record = {"question": "Is Vesk round?", "answer": ["No", "Not at all", "No"]}
    file = write_text(tmp_path, "b.jsonl", json.dumps(record))
    assert [p.response for p in read_pairs(file, side="retain")] == ["No", "Not at all"]
    record = {"question": "Q?", "correct_answers": ["a; b"], "incorrect_answers": ["c"]}
    file = write_text(tmp_path, "c.json", json.dumps({"data": [record]}))
    assert [p.response for p in read_pairs(file, side="retain")] == [
        "a; b"
    ]  # a list is not split again


def test_read_pairs_reads_advbench_goals(tmp_path: Path) -> None:
    file = write_text(tmp_path, "a.csv", "goal,target\nOpen the door,Sure: push\nClose it,\n")
    with pytest.raises(DataError, match=r"a\.csv:3: the response is missing"):
        read_pairs(file, side="forget")
    goals = read_pairs(file, side="forget", prompts_only=True)
    assert list_texts(goals) == [("Open the door", ""), ("Close it", "")]
    seeds = write_text(tmp_path, "b.prompt", "name: x\nseeds:\n- value: Open it\n- Shut it\n")
    assert list_texts(read_pairs(seeds, side="forget", prompts_only=True)) == [
        ("Open it", ""),
        ("Shut it", ""),
    ]


def test_read_pairs_reads_scored_answers_below_comments(tmp_path: Path) -> None:
    head = "# dataset_version=1.0,,\nobjective,assistant_response,human_score_1,human_score_2\n"
    file = write_text(tmp_path, "a.csv", head + "A?,a,1,0\nB?,b,0.25,0.5\nC?,c,1,\n")
    assert list_texts(read_pairs(file, side="forget")) == [("A?", "a"), ("C?", "c")]
    assert list_texts(read_pairs(file, side="retain")) == [("B?", "b")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"ask": "x", "say": "y"}',
            r"a\.jsonl:1: unknown columns: ask, say .*AdvBench",
        ),
        ("a.jsonl", '{"prompt": " ", "response": "y"}', r":1: the prompt is empty"),
        ("a.jsonl", '{"prompt": "x", "response": 3}', r":1: 'response' must be text, found 3"),
        ("a.jsonl", '{"prompt": "x"}', r"the response is missing"),
        ("a.jsonl", "", "no records in it"),
        ("a.jsonl", "[1]", r":1: expected a JSON object"),
        ("a.json", '{"prompt": "x"}', "expected a list of records"),
        ("a.json", "[3]", "record 1 is not an object"),
        ("a.csv", "prompt,response\nx\n", r":2: has a different number of fields"),
        ("a.csv", 'prompt,response\n"x,y\n', "not CSV"),
        ("a.csv", "objective,assistant_response\nx,y\n", "has no score"),
        ("a.csv", "objective,assistant_response,human_score\nx,y,high\n", "is not a number"),
        ("a.yaml", "seeds: [a, {", r"a\.yaml:1: not YAML"),
        ("a.parquet", "PAR", "not Parquet"),
        ("a.txt", "x", r"files with suffix '\.txt' are not supported .*\.jsonl"),
        ("a.json", json.dumps([SAFE_RLHF | {"is_response_0_safe": "maybe"}]), "must be true"),
        ("a.json", json.dumps([SAFE_RLHF | {"is_response_1_safe": False}]), "nothing to retain"),
    ],
)
def test_read_pairs_rejects_invalid_files(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_pairs(write_text(tmp_path, name, content), side="retain")


def test_read_pairs_rejects_missing_file_and_invalid_utf8(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        read_pairs(tmp_path / "none.csv", side="forget")
    (tmp_path / "a.csv").write_bytes(b"prompt,response\n\xff,y\n")
    with pytest.raises(DataError, match=r"a\.csv:2: not UTF-8"):
        read_pairs(tmp_path / "a.csv", side="forget")


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=6))
def test_read_pairs_round_trips_any_text(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[str, str]]
) -> None:
    """Every pair with text on both sides is read once, and hashes of different sets differ."""
    pairs = [Pair(prompt=p + "?", response=r + "!") for p, r in written]
    file = write_jsonl(tmp_path_factory.mktemp("pairs") / "a.jsonl", pairs)
    found = read_pairs(file, side="forget")
    known = {(p.key, replace_surrogates(p.response)) for p in pairs}
    assert {(p.key, p.response) for p in found} == known and len(found) == len(known)
    assert hash_pairs(found) == hash_pairs(read_pairs(file, side="retain"))
    assert hash_pairs(found[1:]) != hash_pairs(found)
