"""Datasets on disk: what is written is read back, whole, checked and lazily."""

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
    made: list[History] = []
    for person in people:
        items = interactions(0)
        made.append(History.from_interactions(person, items, interactions(len(items))))
    return made


def some(people: int = 3, items: int = 4) -> list[History]:
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


def written(folder: Path) -> Dataset:
    return write_dataset(folder, some(), task="lamp-7", source="test", splits={"p1": "test"})


@settings(max_examples=40, deadline=None)
@given(people=histories())
def test_what_is_written_is_read_back(
    people: list[History], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("round") / "data"
    dataset = write_dataset(folder, people, task="reply", source="test")
    expected = sorted(people, key=lambda h: h.person)
    assert list(dataset) == expected
    assert dataset.people == tuple(h.person for h in expected)
    assert len(dataset) == len(expected)
    assert [h.compute_fingerprint() for h in dataset] == [h.compute_fingerprint() for h in expected]
    for history in expected:
        counts = (len(history.items), len(history.queries))
        assert dataset.get_counts(history.person) == counts
        assert dataset.read_history(history.person) == history


def test_the_manifest_says_what_it_is_made_of(tmp_path: Path) -> None:
    dataset = write_dataset(
        tmp_path / "films",
        some(),
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


def test_equal_histories_give_equal_bytes(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a" / "data"), written(tmp_path / "b" / "data")
    for path in sorted(one.folder.iterdir()):
        assert path.read_bytes() == (other.folder / path.name).read_bytes()


def test_people_keep_together_over_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "GROUP_ROWS", 7)
    people = some(people=12, items=4)
    dataset = write_dataset(
        tmp_path / "data", iter(sorted(people, key=_name)), task="t", source="s"
    )
    groups: list[int] = []
    original = parquet.RowReader._read_group  # pyright: ignore[reportPrivateUsage]

    def counted(self: parquet.RowReader, group: int) -> object:
        groups.append(group)
        return original(self, group)

    monkeypatch.setattr(parquet.RowReader, "_read_group", counted)
    assert list(dataset) == sorted(people, key=_name)
    assert groups == list(range(6))  # 12 people of 5 rows, two a group, each group read once


def _name(history: History) -> str:
    return history.person


def test_someone_unknown_is_a_missing_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no person named 'zoe' among its 3 people"):
        written(tmp_path / "data").read_history("zoe")


def test_no_folder_or_no_dataset_is_a_missing_error(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such dataset folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="not a dataset"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("name", ["interactions.parquet", "people.parquet", "manifest.json"])
@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_changed_byte_is_refused(tmp_path: Path, name: str, where: float) -> None:
    path = written(tmp_path / "data").folder / name
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * where)] ^= 1
    path.write_bytes(raw)
    with pytest.raises(IntegrityError, match=name.replace(".", r"\.")):
        read_dataset(tmp_path / "data")


@pytest.mark.parametrize("name", ["interactions.parquet", "people.parquet"])
def test_a_cut_or_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / "data").folder / name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match="changed or truncated"):
        read_dataset(tmp_path / "data")
    path.unlink()
    with pytest.raises(IntegrityError, match="is missing"):
        read_dataset(tmp_path / "data")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "data")
    (tmp_path / "data" / "more.parquet").write_bytes(b"?")
    with pytest.raises(IntegrityError, match=r"more\.parquet: a foreign file"):
        read_dataset(tmp_path / "data")


def test_another_version_or_kind_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "data").folder / "manifest.json"
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


def test_other_columns_are_refused(tmp_path: Path) -> None:
    """Also where every checksum is right."""
    folder = written(tmp_path / "data").folder
    (folder / "interactions.parquet").write_bytes((folder / "people.parquet").read_bytes())
    manifest = read_json(folder / "manifest.json")
    manifest["files"]["interactions.parquet"] = manifest["files"]["people.parquet"]
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(IntegrityError, match="its columns are not person, kind"):
        read_dataset(folder)


def test_an_existing_dataset_is_replaced_only_when_told(tmp_path: Path) -> None:
    written(tmp_path / "data")
    with pytest.raises(UsageError, match="already contains a dataset"):
        write_dataset(tmp_path / "data", some(1), task="t", source="s")
    assert len(read_dataset(tmp_path / "data")) == 3
    assert len(write_dataset(tmp_path / "data", some(1), task="t", source="s", overwrite=True)) == 1


def test_a_folder_that_is_no_dataset_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="not a dataset"):
        write_dataset(tmp_path / "thesis", some(), task="t", source="s", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.txt").read_text(encoding="utf-8") == "years of work"
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="is a file"):
        write_dataset(tmp_path / "file", some(), task="t", source="s", overwrite=True)


def item(name: str, position: int, time: float | None = None, text: str = "x") -> Interaction:
    return Interaction(id=name, position=position, fields={"text": text}, time=time)


@pytest.mark.parametrize(
    ("history", "message"),
    [
        (History("", ()), "without an id"),
        (History("a", (item("1", 0), item("1", 1))), "person 'a', item '1': the id appears twice"),
        (History("a", (), (item("1", 0), item("1", 1))), "query '1': the id appears twice"),
        (History("a", (item("1", 0, math.nan),)), "the time is nan"),
        (History("a", (item("1", 0, math.inf),)), "the time is inf"),
        (History("a", (item("1", 1), item("2", 0))), r"not in the order of \(time, position\)"),
        (History("a", (item("1", 0), item("2", 0))), r"not in the order of \(time, position\)"),
        (History("a", (item("1", 0, text="\ud800"),)), "people 'a' to 'a': a value cannot"),
    ],
)
def test_what_could_not_be_read_back_is_refused_and_nothing_stays(
    tmp_path: Path, history: History, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_dataset(tmp_path / "data", [history], task="t", source="s")
    assert list(tmp_path.iterdir()) == []


def test_a_person_twice_or_out_of_order_is_refused(tmp_path: Path) -> None:
    one, two = some(2)
    with pytest.raises(DataError, match="person 'p0' appears twice"):
        write_dataset(tmp_path / "data", [one, two, one], task="t", source="s")
    with pytest.raises(UsageError, match="sorted by person: 'p0' is after 'p1'"):
        write_dataset(tmp_path / "data", iter([two, one]), task="t", source="s")
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_source_leaves_the_older_dataset(tmp_path: Path) -> None:
    def broken() -> Iterator[History]:
        yield from some(1)
        raise DataError("line 7 is broken", file="in.jsonl", line=7)

    written(tmp_path / "data")
    with pytest.raises(DataError, match=r"in\.jsonl:7"):
        write_dataset(tmp_path / "data", broken(), task="t", source="s", overwrite=True)
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
def test_a_killed_write_leaves_what_was_there(tmp_path: Path) -> None:
    written(tmp_path / "data")
    code = textwrap.dedent(KILLED)
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(read_dataset(tmp_path / "data")) == 3
    written_again = write_dataset(tmp_path / "data", some(1), task="t", source="s", overwrite=True)
    assert len(written_again) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["data"]  # the partial is swept away


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert len(written(tmp_path / "data")) == 3


def test_who_is_slower_is_told(tmp_path: Path) -> None:
    def slow() -> Iterator[History]:
        yield from some(1)
        written(tmp_path / "data")  # meanwhile, by someone else

    with pytest.raises(UsageError, match="another process has just written"):
        write_dataset(tmp_path / "data", slow(), task="t", source="s")
    assert len(read_dataset(tmp_path / "data")) == 3


def test_every_error_is_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("", encoding="utf-8")
    with pytest.raises(IdiolectError, match="blocked"):
        write_dataset(tmp_path / "blocked" / "data", some(), task="t", source="s")
