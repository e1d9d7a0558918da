"""Tests of datasets on disk: round trip, checks on reading, and atomic writes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import DataError, IdiolectError, IntegrityError, MissingError, UsageError
from idiolect.history import parquet
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.write import write_dataset
from idiolect.storage.files import read_json, write_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def histories(draw: st.DrawFn) -> list[History]:
    def interactions(start: int) -> list[Interaction]:
        rows = draw(
            st.lists(
                st.tuples(
                    st.none() | st.floats(allow_nan=False, allow_infinity=False),
                    st.dictionaries(TEXT, TEXT, max_size=3),
                    st.lists(TEXT, max_size=2).map(tuple),
                ),
                max_size=4,
            )
        )
        return [
            Interaction(id=f"i{p}", position=p, fields=fields, time=time, voices=voices)
            for p, (time, fields, voices) in enumerate(rows, start=start)
        ]

    people = draw(st.lists(TEXT.filter(bool), unique=True, max_size=5))
    drawn: list[History] = []
    for person in people:
        items = interactions(0)
        drawn.append(History.from_interactions(person, items, interactions(len(items))))
    return drawn


def make_histories(people: int = 3, items: int = 4) -> list[History]:
    return [
        History.from_interactions(
            f"p{u}",
            [
                Interaction(id=f"{i}", position=i, fields={"text": f"words {u} {i}"}, time=float(i))
                for i in range(items)
            ],
            [Interaction(id="q", position=items, fields={"text": "?"})],
        )
        for u in range(people)
    ]


def write_sample(folder: Path) -> Dataset:
    return write_dataset(
        folder, make_histories(), task="lamp-7", source="test", splits={"p1": "test"}
    )


@settings(max_examples=40, deadline=None)
@given(people=histories())
def test_write_dataset_round_trips(
    people: list[History], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("round") / "data"
    dataset = write_dataset(folder, people, task="reply", source="test")
    # Datasets are sorted by person.
    expected = sorted(people, key=lambda h: h.person)
    assert list(dataset) == expected
    assert dataset.people == tuple(h.person for h in expected)
    assert len(dataset) == len(expected)
    assert [h.compute_fingerprint() for h in dataset] == [h.compute_fingerprint() for h in expected]
    for history in expected:
        counts = (len(history.items), len(history.queries))
        assert dataset.get_counts(history.person) == counts
        assert dataset.read_history(history.person) == history


def test_write_dataset_stores_source_settings_and_splits(tmp_path: Path) -> None:
    dataset = write_dataset(
        tmp_path / "films",
        make_histories(),
        task="rating",
        source="movielens: u.data",
        settings={"importer": "movielens"},
        splits={"p1": "test", "p2": "other"},
    )
    assert (dataset.name, dataset.task) == ("films", "rating")
    assert dataset.manifest["source"] == "movielens: u.data"
    assert dataset.manifest["settings"] == {"importer": "movielens"}
    assert (dataset.manifest["people"], dataset.manifest["items"]) == (3, 12)
    assert dataset.manifest["queries"] == 3
    assert [dataset.get_split(p) for p in dataset.people] == ["", "test", "other"]
    assert dataset.list_split_people("test") == ("p1",)
    assert "p1" in dataset
    assert "p9" not in dataset
    assert [h.person for h in dataset.iter_histories(["p2", "p0"])] == ["p2", "p0"]


def test_write_dataset_gives_equal_bytes_for_equal_histories(tmp_path: Path) -> None:
    one, other = write_sample(tmp_path / "a" / "data"), write_sample(tmp_path / "b" / "data")
    for path in sorted(one.folder.iterdir()):
        assert path.read_bytes() == (other.folder / path.name).read_bytes()


def test_write_dataset_keeps_people_within_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small row groups, so that the dataset has several.
    monkeypatch.setattr(parquet, "GROUP_ROWS", 7)
    people = make_histories(people=12, items=4)
    dataset = write_dataset(
        tmp_path / "data", iter(sorted(people, key=get_name)), task="t", source="s"
    )
    groups: list[int] = []
    original = parquet.RowReader._read_group  # pyright: ignore[reportPrivateUsage]

    def count_group_reads(self: parquet.RowReader, group: int) -> object:
        groups.append(group)
        return original(self, group)

    monkeypatch.setattr(parquet.RowReader, "_read_group", count_group_reads)
    assert list(dataset) == sorted(people, key=get_name)
    assert groups == list(range(6))  # 12 people with 5 rows, two per group; each group is read once


def get_name(history: History) -> str:
    return history.person


def test_read_history_raises_for_unknown_person(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no person named 'zoe' among its 3 people"):
        write_sample(tmp_path / "data").read_history("zoe")


def test_read_dataset_raises_if_there_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such dataset folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="not a dataset"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["interactions.parquet", "people.parquet", "manifest.json"])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_read_dataset_refuses_changed_byte(tmp_path: Path, name: str, where: float) -> None:
    path = write_sample(tmp_path / "data").folder / name
    # Flip one bit.
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * where)] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        read_dataset(tmp_path / "data")


@pytest.mark.parametrize("name", ["interactions.parquet", "people.parquet"])
def test_read_dataset_refuses_truncated_or_missing_file(tmp_path: Path, name: str) -> None:
    path = write_sample(tmp_path / "data").folder / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match="changed or truncated"):
        read_dataset(tmp_path / "data")
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_dataset(tmp_path / "data")


def test_read_dataset_refuses_foreign_file(tmp_path: Path) -> None:
    write_sample(tmp_path / "data")
    (tmp_path / "data" / "more.parquet").write_bytes(b"?")
    with pytest.raises(IntegrityError, match=r"more\.parquet: a foreign file"):
        read_dataset(tmp_path / "data")


def test_read_dataset_refuses_other_version_or_kind(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "data").folder / "manifest.json"
    manifest = read_json(path)
    write_json(path, manifest | {"version": 99})
    with pytest.raises(IntegrityError, match="dataset version 99"):
        read_dataset(tmp_path / "data")
    write_json(path, manifest | {"format": "idiolect-adapter"})
    with pytest.raises(IntegrityError, match="not the manifest of a dataset"):
        read_dataset(tmp_path / "data")
    write_json(path, manifest | {"items": 11})
    with pytest.raises(IntegrityError, match="number of rows or people differs from the manifest"):
        read_dataset(tmp_path / "data")


def test_read_dataset_refuses_other_columns(tmp_path: Path) -> None:
    """Even if all checksums match."""
    folder = write_sample(tmp_path / "data").folder
    (folder / "interactions.parquet").write_bytes((folder / "people.parquet").read_bytes())
    manifest = read_json(folder / "manifest.json")
    # Make the checksum match the wrong file.
    manifest["files"]["interactions.parquet"] = manifest["files"]["people.parquet"]
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(IntegrityError, match="its columns are not person, kind"):
        read_dataset(folder)


def test_write_dataset_replaces_dataset_only_with_overwrite(tmp_path: Path) -> None:
    write_sample(tmp_path / "data")
    with pytest.raises(UsageError, match="already contains a dataset"):
        write_dataset(tmp_path / "data", make_histories(1), task="t", source="s")
    assert len(read_dataset(tmp_path / "data")) == 3
    assert (
        len(
            write_dataset(
                tmp_path / "data", make_histories(1), task="t", source="s", overwrite=True
            )
        )
        == 1
    )


def test_write_dataset_never_replaces_folder_that_is_not_a_dataset(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="not a dataset"):
        write_dataset(tmp_path / "thesis", make_histories(), task="t", source="s", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "years of work"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="is a file"):
        write_dataset(tmp_path / "file", make_histories(), task="t", source="s", overwrite=True)


def make_item(name: str, position: int, time: float | None = None, text: str = "x") -> Interaction:
    return Interaction(id=name, position=position, fields={"text": text}, time=time)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (History("", ()), "without an id"),
        (
            History("a", (make_item("1", 0), make_item("1", 1))),
            "person 'a', item '1': the id appears twice",
        ),
        (
            History("a", (), (make_item("1", 0), make_item("1", 1))),
            "query '1': the id appears twice",
        ),
        (History("a", (make_item("1", 0, math.nan),)), "the time is nan"),
        (History("a", (make_item("1", 0, math.inf),)), "the time is inf"),
        (
            History("a", (make_item("1", 1), make_item("2", 0))),
            r"not in the order of \(time, position\)",
        ),
        (
            History("a", (make_item("1", 0), make_item("2", 0))),
            r"not in the order of \(time, position\)",
        ),
        (History("a", (make_item("1", 0, text="\ud800"),)), "people 'a' to 'a': a value cannot"),
    ],
)
def test_write_dataset_refuses_unreadable_history_and_leaves_nothing(
    tmp_path: Path, history: History, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_dataset(tmp_path / "data", [history], task="t", source="s")
    assert list(tmp_path.iterdir()) == []


def test_write_dataset_refuses_duplicate_or_unsorted_people(tmp_path: Path) -> None:
    one, two = make_histories(2)
    with pytest.raises(DataError, match="person 'p0' appears twice"):
        write_dataset(tmp_path / "data", [one, two, one], task="t", source="s")
    with pytest.raises(UsageError, match="sorted by person: 'p0' is after 'p1'"):
        write_dataset(tmp_path / "data", iter([two, one]), task="t", source="s")
    assert list(tmp_path.iterdir()) == []


def test_write_dataset_keeps_old_dataset_after_error_in_source(tmp_path: Path) -> None:
    def iter_broken() -> Iterator[History]:
        yield from make_histories(1)
        raise DataError("line 7 is broken", file="in.jsonl", line=7)

    write_sample(tmp_path / "data")
    with pytest.raises(DataError, match=r"in\.jsonl:7"):
        write_dataset(tmp_path / "data", iter_broken(), task="t", source="s", overwrite=True)
    assert len(read_dataset(tmp_path / "data")) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from idiolect.history.history import History
    from idiolect.history.interaction import Interaction
    from idiolect.history.write import write_dataset

    def people():
        for u in range(20000):
            item = Interaction(id="0", position=0, fields={"text": str(u)})
            yield History.from_interactions(f"p{u:05}", [item])
            if u == 9000:
                os.kill(os.getpid(), signal.SIGKILL)

    write_dataset(Path(sys.argv[1]), people(), task="t", source="s", overwrite=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_write_dataset_keeps_old_dataset_after_kill(tmp_path: Path) -> None:
    write_sample(tmp_path / "data")
    code = textwrap.dedent(KILLED)
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(read_dataset(tmp_path / "data")) == 3
    # Writing again also cleans up after the killed process.
    written_again = write_dataset(
        tmp_path / "data", make_histories(1), task="t", source="s", overwrite=True
    )
    assert len(written_again) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # the partial folder is removed


def test_write_dataset_accepts_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert len(write_sample(tmp_path / "data")) == 3


def test_write_dataset_raises_if_other_process_was_faster(tmp_path: Path) -> None:
    def iter_slowly() -> Iterator[History]:
        yield from make_histories(1)
        write_sample(tmp_path / "data")  # meanwhile, by another process

    with pytest.raises(UsageError, match="another process has just written"):
        write_dataset(tmp_path / "data", iter_slowly(), task="t", source="s")
    assert len(read_dataset(tmp_path / "data")) == 3


def test_write_dataset_raises_idiolect_error_for_os_error(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("", encoding="utf-8")
    with pytest.raises(IdiolectError, match="blocked"):
        write_dataset(tmp_path / "blocked" / "data", make_histories(), task="t", source="s")
