"""Reading and writing the table of pairs as TSV or Parquet, in our format or the original game's.

The table of the original KnowYourNyms has the columns BASE_WORD, INPUT_WORD, RELATION_ID and CNT.
All of its rows are meronyms, and RELATION_ID is only a row number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

from idiolect.errors import DataError, MissingError, UsageError
from idiolect.game.export.pairs import PairRow
from idiolect.game.rules.answers import normalize_answer
from idiolect.game.rules.relations import Relation
from idiolect.storage.files import write_atomic

COLUMNS = tuple(f.name for f in fields(PairRow))
ORIGINAL_COLUMNS = ("BASE_WORD", "INPUT_WORD", "RELATION_ID", "CNT")


def write_pairs(path: Path, rows: Sequence[PairRow]) -> None:
    """Write the table as ``.tsv`` or ``.parquet``, by the file's suffix.

    Raises UsageError for any other suffix.
    """
    match path.suffix.lower():
        case ".tsv":
            out = io.StringIO()
            writer = csv.DictWriter(out, COLUMNS, dialect="excel-tab", lineterminator="\n")
            writer.writeheader()
            for row in rows:
                writer.writerow({name: _format_cell(value) for name, value in asdict(row).items()})
            write_atomic(path, out.getvalue())
        case ".parquet":
            write_atomic(path, _encode_parquet(rows))
        case _:
            raise UsageError(f"{path}: the name of a table of pairs must end in .tsv or .parquet")


def read_pairs(path: Path) -> list[PairRow]:
    """Read a table that ``write_pairs`` wrote, or a TSV of the original game.

    Raises MissingError if the file does not exist, DataError if its columns are unknown or a row is
    malformed.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    rows: Iterable[Mapping[str, Any]]
    if path.suffix.lower() == ".parquet":
        columns, rows = _read_parquet_rows(path)
    else:
        columns, rows = _read_tsv_rows(path)
    # The column names tell the format.
    readers: dict[tuple[str, ...], Callable[[Mapping[str, Any]], PairRow]] = {
        COLUMNS: _parse_own_row,
        ORIGINAL_COLUMNS: _parse_original_row,
    }
    if columns not in readers:
        raise DataError(f"unknown columns {columns}", file=path, hint=f"expected {COLUMNS}")
    found: list[PairRow] = []
    # Line 1 holds the column names.
    for line, row in enumerate(rows, 2):
        try:
            found.append(readers[columns](row))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"not a row of pairs: {error}", file=path, line=line) from error
    return found


def _format_cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case _:
            return str(value)


def _read_tsv_rows(path: Path) -> tuple[tuple[str, ...], list[dict[str, str]]]:
    try:
        reader = csv.DictReader(io.StringIO(path.read_text("utf-8")), dialect="excel-tab")
        return tuple(reader.fieldnames or ()), list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"not readable as TSV: {error}", file=path) from error


def _parse_own_row(row: Mapping[str, Any]) -> PairRow:
    values: dict[str, Any] = {}
    for name, value in row.items():
        match name:
            case "relation":
                values[name] = Relation(value).value
            case "base_word" | "answer":
                values[name] = _require_text(name, value)
            case "in_wordnet":
                # Parquet stores booleans, TSV "yes" and "no".
                values[name] = (
                    value if isinstance(value, bool) else {"yes": True, "no": False}[value]
                )
            case "share" | "agreement" | "agreement_low" | "agreement_high":
                values[name] = None if value in ("", None) else float(value)
            case _:
                values[name] = int(value)
    return PairRow(**values)


def _parse_original_row(row: Mapping[str, Any]) -> PairRow:
    """A row of the original game. It has the number of players who gave the answer, but not the
    number who were asked; so the shares are unknown."""
    count = int(row["CNT"])
    return PairRow(
        relation=Relation.MERONYMS.value,
        base_word=_require_text("BASE_WORD", row["BASE_WORD"]),
        answer=_require_text("INPUT_WORD", row["INPUT_WORD"]),
        players=count,
        asked=0,
        given=count,
        rounds=0,
        share=None,
        in_wordnet=False,
        confirmed=0,
        rejected=0,
        agreement=None,
        agreement_low=None,
        agreement_high=None,
    )


def _require_text(name: str, value: object) -> str:
    kept = normalize_answer(str(value or ""))
    if not kept:
        raise ValueError(f"{name} is empty")
    return kept


def _build_schema() -> Any:
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

    pa = cast("Any", pyarrow)
    # By the annotations of PairRow, which are strings (postponed evaluation).
    kinds = {
        "str": pa.string(),
        "int": pa.int32(),
        "bool": pa.bool_(),
        "float | None": pa.float64(),
    }
    return pa.schema([pa.field(f.name, kinds[str(f.type)]) for f in fields(PairRow)])


def _encode_parquet(rows: Sequence[PairRow]) -> bytes:
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

    pa, out = cast("Any", pyarrow), io.BytesIO()
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=_build_schema())
    pa.parquet.write_table(table, out, compression="zstd")
    return out.getvalue()


def _read_parquet_rows(path: Path) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]
    import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

    pa = cast("Any", pyarrow)
    try:
        table = pa.parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"not readable as Parquet: {error}", file=path) from error
    return tuple(table.column_names), table.to_pylist()
