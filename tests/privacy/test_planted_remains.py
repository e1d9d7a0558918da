"""An outsider's check of forgetting: words in all kinds of files and places must be found, or be
listed as not looked into."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from idiolect.privacy.fingerprints import make_key
from idiolect.privacy.search import containers, readers
from idiolect.privacy.search.file_search import SHORT_FOUND, WORDS_FOUND
from idiolect.privacy.search.patterns import (
    TENSORS_FOUND,
    SearchPatterns,
    split_into_patterns,
    split_short_texts,
)
from idiolect.privacy.search.scan import ScanResult, scan_tree
from support.planted_remains import PLANTS, encode_locked_zip, tar_bytes, zip_bytes

WORDS = "the heron by the inlet has never been seen at dawn"
PATTERNS = SearchPatterns(split_into_patterns([WORDS]))
NOT_DECODED = {
    *("damaged ZIP", "damaged database", "encrypted ZIP", "7z", "PDF"),
    *("linked parent folder", "named pipe", "socket"),
}
"""Where the words cannot be found: these must be listed as not looked into."""

pytestmark = pytest.mark.finding("verification")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "searched"
    folder.mkdir()
    (tmp_path / "outside").mkdir()
    return folder


def search_words(here: Path, words: str = WORDS) -> ScanResult:
    return scan_tree([here], "", SearchPatterns(split_into_patterns([words])))


@pytest.mark.parametrize("kind", PLANTS)
def test_scan_tree_finds_or_lists_planted_words(here: Path, kind: str) -> None:
    (here / "innocent.txt").write_text("nothing of interest")
    assert search_words(here) == ScanResult(files=1)
    PLANTS[kind](here, here.parent / "outside", WORDS)
    result = search_words(here)
    if kind in NOT_DECODED:
        assert not result.hits and result.unsearched
    else:
        assert result.hits
        assert all(hit.what.startswith(WORDS_FOUND) for hit in result.hits)


@pytest.mark.parametrize("kind", [kind for kind in PLANTS if kind not in NOT_DECODED])
def test_scan_tree_finds_hashed_words(here: Path, kind: str) -> None:
    PLANTS[kind](here, here.parent / "outside", WORDS)
    hashed = SearchPatterns(hashed=PATTERNS.hash_patterns(make_key()))
    assert scan_tree([here], "", hashed).hits == scan_tree([here], "", PATTERNS).hits


@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("Café naïveté à la crème brûlée, größer als Straße", "utf-8"),
        ("Café naïveté à la crème brûlée, größer als Straße", "cp1252"),
        ("Café naïveté à la crème brûlée, größer als Straße", "utf-16-le"),
        ("цапля у залива никогда не видна на рассвете", "utf-8"),
        ("цапля у залива никогда не видна на рассвете", "utf-16"),
        ("цапля у залива никогда не видна на рассвете", "utf-16-le"),
        ("цапля у залива никогда не видна на рассвете", "cp1251"),
        ("цапля у залива никогда не видна на рассвете", "koi8-r"),
        ("入り江のサギを夜明けに見た人は誰もいないと彼女は書いていた", "shift_jis"),
        ("入り江のサギを夜明けに見た人は誰もいないと彼女は書いていた", "utf-8"),
    ],
)
def test_scan_tree_finds_words_in_other_encodings(here: Path, words: str, encoding: str) -> None:
    (here / "a.txt").write_bytes(f"-- {words} --".encode(encoding))
    assert [hit.what for hit in search_words(here, words).hits] == [WORDS_FOUND]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_scan_tree_finds_decomposed_accents(here: Path, form: str) -> None:
    import unicodedata

    words = "Café naïveté à la crème brûlée, größer als"
    (here / "a.txt").write_text(unicodedata.normalize(form, words))  # pyright: ignore[reportArgumentType]
    assert search_words(here, words).hits


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'{"author": "ANN-4711"}'),
        ("a.txt", b"by Ann-4711."),
        ("b.dat", "Ann-4711".encode("utf-16-le")),
        ("c.bin", b"\x00\x01" + base64.b64encode(b"this is what ANN-4711 said")),
        ("log", b"GET /people?id=%41nn%2D4711"),
        ("aNN-4711.txt", b""),
        ("a.zip", zip_bytes("of/ann-4711.txt", b"")),
    ],
)
def test_scan_tree_finds_id_in_any_case_and_encoding(here: Path, name: str, content: bytes) -> None:
    (here / name).write_bytes(content)
    hits = scan_tree([here], "ann-4711", PATTERNS).hits
    assert hits and {hit.what for hit in hits} <= {"the id", "the id in its name"}


def test_scan_tree_finds_short_texts_as_whole_values(here: Path) -> None:
    short, too_short = split_short_texts(["Call me back", "yes", "wonderful", WORDS])
    assert (short, too_short) == ({"call me back"}, 2)
    patterns = SearchPatterns(short=short)
    (here / "innocent.txt").write_text("yes, wonderful: he said call me back later")
    assert scan_tree([here], "", patterns).hits == ()
    (here / "a.json").write_text('{"reply": "call me  BACK"}')
    (here / "b.txt").write_text("09:41 ann: Call me back\n")
    (here / "c.csv").write_text('1,"Call me back",2\n')
    hashed = SearchPatterns(hashed=patterns.hash_patterns(make_key()))
    for search in (patterns, hashed):
        hits = scan_tree([here], "", search).hits
        assert [(hit.where.name, hit.what) for hit in hits] == [
            (name, SHORT_FOUND) for name in ("a.json", "b.txt", "c.csv")
        ]


def test_scan_tree_finds_words_across_chunks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idiolect.privacy.search.file_search._CHUNK_BYTES", 1 << 17)
    raw = b"x" * ((1 << 17) - 20) + WORDS.encode() + b"x" * (1 << 17)
    (here / "a.txt").write_bytes(raw)
    (here / "b.gz").write_bytes(gzip.compress(raw))
    assert {hit.where.name for hit in search_words(here).hits} == {"a.txt", "b.gz"}


def test_scan_tree_reports_each_name_of_a_file(here: Path) -> None:
    (here / "a.txt").write_text(WORDS)
    (here / "b.txt").hardlink_to(here / "a.txt")
    (here / "c.txt").symlink_to("a.txt")
    result = search_words(here)
    assert [hit.where.name for hit in result.hits] == ["a.txt", "b.txt", "c.txt"]
    assert result.files == 1


def test_scan_tree_names_the_member_of_an_archive(here: Path) -> None:
    inner = zip_bytes("deep/x.txt", WORDS.encode())
    (here / "a.tar").write_bytes(tar_bytes("b.zip", inner))
    assert [hit.inside for hit in search_words(here).hits] == ["b.zip/deep/x.txt"]


def test_hashed_patterns_hold_no_words() -> None:
    patterns = SearchPatterns(split_into_patterns([WORDS]), frozenset([bytes(range(64))]))
    hashed = patterns.hash_patterns(make_key())
    text = repr(hashed)
    assert "heron" not in text and "inlet" not in text
    # Another key gives other hashes.
    assert hashed.texts.isdisjoint(patterns.hash_patterns(make_key()).texts)
    assert SearchPatterns(hashed=hashed).find_in_bytes(b"x" + bytes(range(64))) == {TENSORS_FOUND}


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits a thousandth of the real ones, so that a test needs no gigabytes."""
    monkeypatch.setattr(containers, "FREE_EXPANDED_BYTES", 1 << 16)
    monkeypatch.setattr(containers, "MAX_RATIO", 20)
    monkeypatch.setattr(containers, "MAX_EXPANDED_BYTES", 1 << 20)


def _zip_of_zeros() -> bytes:
    return zip_bytes("zeros", bytes(4 << 20))


def _zip_of_many() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(1200):
            archive.writestr(f"{number}", b"")
    return out.getvalue()


def _tar_with_long_header() -> bytes:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"comment": "x" * 10_000}
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.zip", _zip_of_zeros),
        ("a.gz", lambda: gzip.compress(bytes(4 << 20))),
        ("a.tar.gz", lambda: gzip.compress(tar_bytes("zeros", bytes(4 << 20)))),
        ("many.zip", _zip_of_many),
        ("nested.zip", lambda: zip_bytes("b.zip", _zip_of_zeros())),
    ],
)
@pytest.mark.usefixtures("small_limits")
def test_scan_tree_stops_at_limits_and_lists_the_file(
    here: Path, name: str, make: Callable[[], bytes]
) -> None:
    (here / name).write_bytes(make())
    (here / "z.txt").write_text(WORDS)
    result = search_words(here)
    # The rest of the folder is searched, and what was not is listed.
    assert [hit.where.name for hit in result.hits] == ["z.txt"]
    assert any("expands to more than" in one.why for one in result.unsearched)


def test_scan_tree_limits_the_headers_of_an_archive(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "MAX_TAR_HEADER_BYTES", 9_000)
    (here / "a.tar.gz").write_bytes(_tar_with_long_header())
    assert "a header in it is too large" in search_words(here).unsearched[0].why


def test_scan_tree_opens_archives_to_a_limited_depth(here: Path) -> None:
    raw = WORDS.encode()
    for _ in range(containers.MAX_DEPTH + 1):
        raw = gzip.compress(raw)
    (here / "a.gz").write_bytes(raw)
    (result,) = search_words(here).unsearched
    assert "archives in archives" in result.why


def test_scan_tree_lists_large_json(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_JSON_BYTES", 1000)
    (here / "a.json").write_text(f'["{"x" * 1000}", "{WORDS}"]')
    (here / "a.log").write_text(f"[10:00] {'x' * 1000}")
    result = search_words(here)
    assert [hit.where.name for hit in result.hits] == ["a.json"]
    assert [one.where.name for one in result.unsearched] == ["a.json"]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("odd\nfile"), PermissionError(13, "no")]
)
def test_scan_tree_survives_any_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    (here / "a.zip").write_bytes(zip_bytes("x", b""))
    (here / "b.txt").write_text(WORDS)
    monkeypatch.setattr("idiolect.privacy.search.file_search.iter_members", fail)
    result = search_words(here)
    assert [hit.where.name for hit in result.hits] == ["b.txt"]
    assert type(error).__name__ in result.unsearched[0].why and "\n" not in result.unsearched[0].why


def test_scan_tree_reads_the_log_of_a_database_without_changes(here: Path) -> None:
    PLANTS["log of a database"](here, here.parent, "annabel")
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    result = scan_tree([here], "annabel", PATTERNS)
    # An id that is an ordinary word is found as a value, so the log must have been read as one.
    assert [(hit.where.name, hit.what) for hit in result.hits] == [("work.db", "the id")]
    assert result.unsearched == ()
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


@pytest.mark.parametrize(
    "text", ["x marks the spot", "PK is short", "BZh", "[not JSON", "\x1f\x8b"]
)
def test_scan_tree_takes_texts_for_texts(here: Path, text: str) -> None:
    (here / "a.txt").write_text(text)
    assert search_words(here) == ScanResult(files=1)


def test_scan_tree_lists_what_is_attached_to_a_mail(here: Path) -> None:
    for number, raw in enumerate((encode_locked_zip(WORDS), b"%PDF-1.7 and more of this kind")):
        (here / f"{number}.eml").write_bytes(base64.encodebytes(raw))
    assert [(one.where.name, one.why) for one in search_words(here).unsearched] == [
        ("0.eml", "it is encrypted"),
        ("1.eml", "a PDF: searched as bytes only"),
    ]


def test_scan_tree_survives_files_that_vanish_or_are_closed(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "a.txt").write_text(WORDS)
    (here / "b.txt").write_text(WORDS)

    def refuse(path: Path) -> str:
        if path.name == "a.txt":
            raise PermissionError(13, "Permission denied")
        return ""

    monkeypatch.setattr("idiolect.privacy.search.scan.describe_special", refuse)
    result = search_words(here)
    assert [hit.where.name for hit in result.hits] == ["b.txt"]
    assert [one.where.name for one in result.unsearched] == ["a.txt"]
