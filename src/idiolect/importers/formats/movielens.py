"""Imports MovieLens ratings: recbole's copy of ml-100k, GroupLens' ``u.data``, and ``ratings.csv``.

Creates one item per rating with the fields title, year, genres (comma-separated) and rating (``1``
to ``5``).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from idiolect.errors import DataError, MissingError
from idiolect.importers.collector import HistoryCollector, RawRecord, ReadCounts
from idiolect.importers.parsing import read_lines
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions, ImportReport
from idiolect.storage.data_packages import find_data_file

_GENRES = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
]
"""The genre flags of ``u.item`` in order, from the README of ml-100k."""
_TITLE = re.compile(r"(?P<title>.*\S)\s*\((?P<year>\d{4})\)\s*", re.DOTALL)
_ARTICLE = re.compile(
    r"(?P<rest>[^()]+), (?P<article>The|A|An|La|Le|Les|Il|El|Das|Der|Die|L')(?P<more> \(.*\))?"
)


_HEADERS = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float",
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq",
    "ratings.csv": "userId,movieId,rating,timestamp",
    "movies.csv": "movieId,title,genres",
}
"""Header lines by file name; ``u.data`` and ``u.item`` have none."""


@dataclass(frozen=True, slots=True)
class _FileLayout:
    """The names of the ratings file and the films file of one layout."""

    ratings: str
    films: str


_LAYOUTS = (
    _FileLayout("ml-100k.inter", "ml-100k.item"),
    _FileLayout("u.data", "u.item"),
    _FileLayout("ratings.csv", "movies.csv"),
)


def _find_layout(path: Path) -> tuple[_FileLayout, Path] | None:
    """Return the layout and its folder; ``path`` is the folder or one of the two files."""
    for layout in _LAYOUTS:
        folder = path.parent if path.name in (layout.ratings, layout.films) else path
        if (folder / layout.ratings).is_file():
            return layout, folder
    return None


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    folder = path or find_data_file("recbole", "dataset_example/ml-100k")
    found = _find_layout(folder)
    if found is None:
        known = ", ".join(layout.ratings for layout in _LAYOUTS)
        raise MissingError(f"{folder}: none of {known} found")
    layout, folder = found
    # Read the films first: a rating is stored with its film's fields.
    films_tally = ReadCounts(layout.films, "films")
    films = _read_films(folder / layout.films, films_tally)
    collector, tally = HistoryCollector(), ReadCounts(layout.ratings, "ratings")
    rounded_count = _collect_ratings(folder / layout.ratings, films, collector, tally)
    notes = collector.build_notes()
    if rounded_count:
        notes += (f"half-star ratings rounded up to whole stars: {rounded_count:,}",)
    return ImportedHistories(
        importer="movielens",
        source=layout.ratings if path else "recbole's ml-100k",
        task="rating",
        histories=collector.build_histories(),
        report=ImportReport(files=(tally.to_report(), films_tally.to_report()), notes=notes),
    )


def _collect_ratings(
    path: Path,
    films: Mapping[str, Mapping[str, str]],
    collector: HistoryCollector,
    tally: ReadCounts,
) -> int:
    """Add every rating of a known film; returns the number of half-star ratings that were
    rounded."""
    rounded_count = 0
    for line, row in _iter_rows(path):
        where = f"line {line}"
        if len(row) < 4:
            raise DataError(f"{len(row)} columns instead of 4", file=path, line=line)
        person, film, stars, seconds = (cell.strip() for cell in row[:4])
        rating, time = _parse_number(stars, path, line), _parse_number(seconds, path, line)
        if not 0.5 <= rating <= 5:
            raise DataError(f"the rating {stars!r} is not in 0.5-5", file=path, line=line)
        if not person or not film:
            raise DataError("the person or the film is empty", file=path, line=line)
        if film not in films:
            tally.count_skip("the film is not in the list of films", f"{where}, film {film}")
            continue
        # Half stars round up, so that ratings are the whole numbers 1 to 5.
        rounded_count += rating != int(rating)
        fields = {**films[film], "rating": str(math.floor(rating + 0.5))}
        record = RawRecord(id=film, fields=fields, time=time, where=where)
        collector.add_item(person, record, tally)
    if not tally.read:
        raise DataError("the file contains no ratings", file=path)
    return rounded_count


def _parse_number(text: str, path: Path, line: int) -> float:
    """Parse a finite number; raises DataError with file and line."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{text!r} is not a number", file=path, line=line)
    return value


def _iter_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows with their line numbers, without the header if the format has one."""
    lines = _iter_nonblank_lines(path, "latin-1" if path.name == "u.item" else "utf-8")
    if path.name in _HEADERS:
        number, header = next(lines, (1, ""))
        if not header.startswith(_HEADERS[path.name]):
            raise DataError(
                f"expected the header {_HEADERS[path.name]!r}, found {header[:40]!r}",
                file=path,
                line=number,
            )
    # u.item separates columns by "|", CSV by commas, the other files by tabs.
    for number, text in lines:
        if path.suffix != ".csv":
            yield number, text.split("|" if path.name == "u.item" else "\t")
            continue
        try:
            yield number, next(csv.reader([text], strict=True))
        except csv.Error as error:
            raise DataError(f"not CSV: {error}", file=path, line=number) from error


def _iter_nonblank_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    return ((n, text) for n, text in read_lines(path, encoding=encoding) if text.strip())


def _read_films(path: Path, tally: ReadCounts) -> dict[str, dict[str, str]]:
    """Return the fields of each film by its id."""
    films: dict[str, dict[str, str]] = {}
    for line, row in _iter_rows(path):
        fields = _parse_film(path, line, row)
        if not fields["title"]:
            tally.count_skip("no title", f"line {line}")
            continue
        films[row[0].strip()] = fields
        tally.read += 1
    return films


def _parse_film(path: Path, line: int, row: list[str]) -> dict[str, str]:
    """Return the fields of one row of a films file."""
    if path.name == "u.item":
        if len(row) != 5 + len(_GENRES):
            raise DataError(f"{len(row)} columns instead of 24", file=path, line=line)
        genres = [name for name, flag in zip(_GENRES, row[5:], strict=True) if flag == "1"]
        return _build_film_fields(row[1], "", genres)
    if path.suffix == ".csv":
        if len(row) != 3:
            raise DataError(f"{len(row)} columns instead of 3", file=path, line=line)
        return _build_film_fields(row[1], "", row[2].split("|"))
    if len(row) != 4:
        raise DataError(f"{len(row)} columns instead of 4", file=path, line=line)
    return _build_film_fields(row[1], row[2], row[3].split())


def _build_film_fields(title: str, year: str, genres: list[str]) -> dict[str, str]:
    """Return a film's fields; ``Godfather, The`` becomes ``The Godfather``, as people write it."""
    title = title.strip()
    # Only recbole has the year in a column of its own.
    if not year and (found := _TITLE.fullmatch(title)):
        title, year = found["title"], found["year"]
    # Move a trailing article to the front; French "L'" needs no space.
    if moved := _ARTICLE.fullmatch(title):
        gap = "" if moved["article"].endswith("'") else " "
        title = f"{moved['article']}{gap}{moved['rest']}{moved['more'] or ''}"
    known = [g for g in genres if g and g not in ("unknown", "(no genres listed)")]
    return {
        "title": title,
        "year": year if re.fullmatch(r"\d{4}", year) else "",
        "genres": ", ".join(known),
    }


IMPORTER = Importer(
    name="movielens",
    title="MovieLens film ratings",
    expects="a folder with ml-100k.inter + ml-100k.item, u.data + u.item, or ratings.csv + "
    "movies.csv; without a path the recbole package's ml-100k",
    detect=lambda path: _find_layout(path) is not None,
    load=_load_histories,
    package="recbole",
)
