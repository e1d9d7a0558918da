"""Tests of the import of MovieLens in its three layouts, valid and broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.errors import DataError, MissingError
from idiolect.history.summary import summarize_dataset
from idiolect.importers.registry import import_histories
from idiolect.importers.report import ImportedHistories
from idiolect.storage.data_packages import get_data_package_version

INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
ITEM = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
RATED = "userId,movieId,rating,timestamp\n"
MOVIES = "movieId,title,genres\n"


def make_flags(*places: int) -> str:
    return "|".join("1" if place in places else "0" for place in range(19))


LAYOUTS = {
    "recbole": {
        "ml-100k.inter": INTER + "7\t1\t4\t200\n7\t2\t2\t100\n9\t1\t5\t300\n",
        "ml-100k.item": ITEM + "1\tGodfather, The\t1972\tAction Crime\n2\tNénette et Boni\t1996\t"
        "Drama\n",
    },
    "grouplens": {
        "u.data": "7\t1\t4\t200\n7\t2\t2\t100\n9\t1\t5\t300\n",
        "u.item": f"1|Godfather, The (1972)|01-Jan-1972||http://x|{make_flags(1, 6)}\n"
        f"2|Nénette et Boni (1996)|01-Jan-1996||http://x|{make_flags(8)}\n",
    },
    "csv": {
        "ratings.csv": RATED + "7,1,3.5,200\n7,2,1.5,100\n9,1,5.0,300\n",
        "movies.csv": MOVIES + '1,"Godfather, The (1972)",Action|Crime\n'
        "2,Nénette et Boni (1996),Drama\n",
    },
}


def write_layout(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        encoding = "latin-1" if name == "u.item" else "utf-8"
        (folder / name).write_bytes(text.encode(encoding))
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_movielens_layouts_give_equal_histories(tmp_path: Path, layout: str) -> None:
    folder = write_layout(tmp_path, LAYOUTS[layout])
    imported = import_histories(folder)
    assert (imported.importer, imported.task) == ("movielens", "rating")
    seven, nine = imported.histories
    godfather = {"title": "The Godfather", "year": "1972", "genres": "Action, Crime"}
    assert [(i.id, i.time) for i in seven.items] == [("2", 100.0), ("1", 200.0)]
    assert seven.items[0].fields["title"] == "Nénette et Boni"
    assert seven.items[0].fields["rating"] == "2"
    assert seven.items[1].fields == {**godfather, "rating": "4"}
    assert nine.items[0].fields == {**godfather, "rating": "5"}
    # The path of one file gives the same result as the folder.
    one_file = import_histories(folder / next(iter(LAYOUTS[layout])))
    assert one_file.histories == imported.histories


def test_movielens_rounds_half_stars_up_with_note(tmp_path: Path) -> None:
    rows = "".join(f"{u},1,{(u + 1) / 2},{u}\n" for u in range(10))
    folder = write_layout(tmp_path, {**LAYOUTS["csv"], "ratings.csv": RATED + rows})
    imported = import_histories(folder)
    assert [h.items[0].fields["rating"] for h in imported.histories] == list("1122334455")
    assert imported.report.notes == ("half-star ratings rounded up to whole stars: 5",)


def test_movielens_counts_skipped_records(tmp_path: Path) -> None:
    # Two unknown films, a duplicate, and a second rating of the same film.
    rows = "7\t1\t4\t200\n7\t99\t4\t200\n7\t98\t4\t201\n\n7\t1\t4\t200\n7\t1\t2\t300\n"
    folder = write_layout(tmp_path, {**LAYOUTS["recbole"], "ml-100k.inter": INTER + rows})
    imported = import_histories(folder)
    assert imported.report.format_lines() == [
        "ml-100k.inter: read 2 ratings, skipped 3, because",
        "  2: the film is not in the list of films (first: line 3, film 99)",
        "  1: a duplicate of an earlier record (first: line 6)",
        "ml-100k.item: read 2 films, skipped 0",
        "note: records with an id that the person already has, kept as ID#2, ID#3, ...: 1",
    ]
    assert [i.id for i in imported.histories[0].items] == ["1", "1#2"]


def test_movielens_parses_titles_and_years(tmp_path: Path) -> None:
    films = MOVIES + (
        '1,"Misérables, Les (1995)",Drama\n'
        '2,"Double vie de Véronique, La (Double Life of Veronique, The) (1991)",Drama\n'
        '3,"City of Lost Children, The (1995) ",(no genres listed)\n'
        "4,Babylon 5,Sci-Fi\n"
        '5,"Good, the Bad and the Ugly, The (1966)",Western\n'
        "6,  ,Drama\n"
    )
    rows = RATED + "".join(f"1,{film},3,{film}\n" for film in range(1, 7))
    imported = import_histories(write_layout(tmp_path, {"ratings.csv": rows, "movies.csv": films}))
    found = [
        (i.fields["title"], i.fields["year"], i.fields["genres"])
        for i in imported.histories[0].items
    ]
    assert found == [
        ("Les Misérables", "1995", "Drama"),
        ("La Double vie de Véronique (Double Life of Veronique, The)", "1991", "Drama"),
        ("The City of Lost Children", "1995", ""),
        ("Babylon 5", "", "Sci-Fi"),
        ("The Good, the Bad and the Ugly", "1966", "Western"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "place", "message"),
    [
        ("ml-100k.inter", INTER + "7\t1\t4\t200\n7\t1\n", ":3", "2 columns instead of 4"),
        ("ml-100k.inter", INTER + "7\t1\tgood\t200\n", ":2", "'good' is not a number"),
        ("ml-100k.inter", INTER + "7\t1\t6\t200\n", ":2", "the rating '6' is not in 0.5-5"),
        ("ml-100k.inter", INTER + "7\t1\t0\t200\n", ":2", "the rating '0' is not in 0.5-5"),
        ("ml-100k.inter", INTER + "7\t1\t4\tnan\n", ":2", "'nan' is not a number"),
        ("ml-100k.inter", INTER + "\t1\t4\t200\n", ":2", "the person or the film is empty"),
        ("ml-100k.inter", "7\t1\t4\t200\n", ":1", "expected the header"),
        ("ml-100k.inter", "", ":1", "expected the header"),
        ("ml-100k.inter", INTER, "", "the file contains no ratings"),
        ("ml-100k.item", ITEM + "1\tHeat\n", ":2", "2 columns instead of 4"),
    ],
)
def test_movielens_names_file_and_line_of_error(
    tmp_path: Path, name: str, text: str, place: str, message: str
) -> None:
    write_layout(tmp_path, {**LAYOUTS["recbole"], name: text})
    with pytest.raises(DataError, match=message) as caught:
        import_histories(tmp_path)
    assert f"{tmp_path / name}{place}: " in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "name", "text", "message"),
    [
        ("grouplens", "u.item", "1|Heat (1995)|x\n", "u.item:1: 3 columns instead of 24"),
        ("csv", "movies.csv", MOVIES + '1,"Heat\n', "movies.csv:2: not CSV"),
        ("csv", "movies.csv", MOVIES + "1,Heat, Drama, More\n", "movies.csv:2: 4 columns"),
        ("csv", "ratings.csv", "user,movie\n1,2\n", "ratings.csv:1: expected the header"),
    ],
)
def test_movielens_names_errors_in_other_layouts(
    tmp_path: Path, layout: str, name: str, text: str, message: str
) -> None:
    write_layout(tmp_path, {**LAYOUTS[layout], name: text})
    with pytest.raises(DataError, match=message):
        import_histories(tmp_path)


def test_movielens_refuses_wrong_encoding_and_missing_films(tmp_path: Path) -> None:
    write_layout(tmp_path, LAYOUTS["csv"])
    (tmp_path / "movies.csv").write_bytes(MOVIES.encode() + b"1,N\xe9nette,Drama\n")
    with pytest.raises(DataError, match=r"movies\.csv:2: not utf-8 text"):
        import_histories(tmp_path)
    (tmp_path / "movies.csv").unlink()
    with pytest.raises(MissingError, match=r"movies\.csv"):
        import_histories(tmp_path)
    with pytest.raises(MissingError, match=r"none of ml-100k\.inter, u\.data, ratings\.csv"):
        import_histories(tmp_path / "..", format="movielens")


@pytest.fixture(scope="module")
def real() -> ImportedHistories:
    if not get_data_package_version("recbole"):
        pytest.skip("recbole is not installed")
    return import_histories(format="movielens")


def test_movielens_imports_real_package(real: ImportedHistories, tmp_path: Path) -> None:
    assert len(real.histories) == 943
    assert sum(len(h.items) for h in real.histories) == 100_000
    assert real.report.format_lines() == [
        "ml-100k.inter: read 100,000 ratings, skipped 0",
        "ml-100k.item: read 1,682 films, skipped 0",
    ]
    found = summarize_dataset(real.write_to_folder(tmp_path / "ml"), answer_field="rating")
    assert (found.people, found.items, found.shortest, found.longest) == (943, 100_000, 20, 737)
    assert found.item_fields["title"].filled == found.item_fields["rating"].filled == 1.0
