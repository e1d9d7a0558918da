"""Undoes what hides words from a search of a file's bytes: escapes, tags, Base64, UTF-16.

Each function takes bytes and returns other bytes in which the words are plain. A wrong guess does
no harm, because the bytes are searched as they are, too.
"""

from __future__ import annotations

import binascii
import html
import json
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

OVERLAP_BYTES = 1 << 16
"""Overlap of two chunks of a file: longer than any searched piece of text in any encoding."""
_MIN_ENCODED_CHARS = 24
_MAX_SHIFTED_CHARS = 1 << 20
"""Longer encoded blocks are decoded from their first character only."""
_UNICODE_ESCAPES = re.compile(rb"(?:\\+u[0-9a-fA-F]{4})+")
_BYTE_ESCAPES = re.compile(rb"\\+x([0-9a-fA-F]{2})")
_PERCENT = re.compile(rb"%[0-9a-fA-F]{2}")
_QUOTED = re.compile(rb"=(?:[0-9A-F]{2}|\r?\n)")
_ENTITY = re.compile(rb"&#?\w{1,31};")
_TAG = re.compile(rb"<[^<>]{0,4000}>")
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_BASE64_MARKS = bytes(65 if n in _BASE64 else 32 for n in range(256))
"""Maps the characters of Base64 to ``A``, and all other bytes to a space."""
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_LINE_GAP = re.compile(rb"={0,2}(?:\\[nr]|[\s\"',>+|])*")
"""What separates two lines of an encoded block, also in a quoted mail or a list of strings."""
_HEX = re.compile(rb"[0-9a-fA-F]+")


def iter_plain_forms(raw: bytes) -> Iterator[bytes]:
    """Yield the bytes, and each form in which one more kind of escape was undone."""
    yield raw
    wide = decode_wide(raw)
    if wide:
        raw = wide
        yield raw
    plain = raw
    # One after the other, because they are nested in each other: HTML in JSON, links in a mail.
    for undo in (_unescape_strings, _unquote_lines, _unquote_percent, _unescape_html, _drop_tags):
        changed = undo(plain)
        if changed is not plain:
            plain = changed
            yield plain


def iter_encoded_blocks(raw: bytes) -> Iterator[tuple[bytes, ...]]:
    """Yield what each block of Base64 or hex digits may stand for: several guesses per block."""
    marks = raw.translate(_BASE64_MARKS)
    run = b"A" * _MIN_ENCODED_CHARS
    at = marks.find(run)
    while at >= 0:
        block, after = _join_lines(raw, marks, at)
        if len(block) % 2 == 0 and _HEX.fullmatch(block):
            yield (bytes.fromhex(block.decode()),)
        # The first characters may belong to a word before the block.
        shifts = range(4 if len(block) <= _MAX_SHIFTED_CHARS else 1)
        yield tuple(_decode_base64(block[shift:]) for shift in shifts)
        at = marks.find(run, after)


def _join_lines(raw: bytes, marks: bytes, start: int) -> tuple[bytes, int]:
    """Return the characters of an encoded block without line ends, and where it ends."""
    parts: list[bytes] = []
    at = start
    while True:
        end = marks.find(b" ", at)
        end = len(raw) if end < 0 else end
        parts.append(raw[at:end])
        # A block goes on behind a line end, with quote marks or list separators around it.
        gap = _LINE_GAP.match(raw, end, end + 64)
        after = gap.end() if gap else end
        is_line_end = b"\n" in raw[end:after] or b"\\n" in raw[end:after]
        if not is_line_end or marks[after : after + 1] != b"A":
            return b"".join(parts), end
        at = after


def _decode_base64(block: bytes) -> bytes:
    block = block.translate(_URL_SAFE)
    whole = block[: len(block) // 4 * 4]
    rest = block[len(whole) :]
    # A single character more is no byte.
    padded = whole + (rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b"")
    try:
        return binascii.a2b_base64(padded)
    except binascii.Error:
        return b""


def decode_wide(raw: bytes) -> bytes:
    """Return UTF-16 or UTF-32 as UTF-8, with or without a byte order mark; empty if it is
    neither."""
    marks = (
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    )
    encoding = next((name for mark, name in marks if raw.startswith(mark)), "")
    if not encoding:
        # Without a mark: most second bytes of UTF-16 are zero, and three of four in UTF-32.
        start = raw[:4096]
        for width, name in ((4, "utf-32"), (2, "utf-16")):
            zeros = [start[n::width].count(0) * width / max(1, len(start)) for n in range(width)]
            if min(zeros[1:]) > 0.7 and zeros[0] < 0.3:
                encoding = f"{name}-le"
            elif min(zeros[:-1]) > 0.7 and zeros[-1] < 0.3:
                encoding = f"{name}-be"
            if encoding:
                break
    return raw.decode(encoding, errors="ignore").encode(errors="ignore") if encoding else b""


def _unescape_strings(raw: bytes) -> bytes:
    """Undo the escapes of JSON, Python and most other languages."""
    if b"\\" not in raw:
        return raw
    for escape in (rb"\n", rb"\r", rb"\t"):
        raw = raw.replace(escape, b" ")
    out = _UNICODE_ESCAPES.sub(_decode_escapes, raw)
    return _BYTE_ESCAPES.sub(lambda match: bytes.fromhex(match[1].decode()), out)


def _decode_escapes(match: re.Match[bytes]) -> bytes:
    # As JSON: two escapes of a surrogate pair are one character.
    digits = re.findall(rb"u([0-9a-fA-F]{4})", match[0])
    text = json.loads(b'"' + b"".join(b"\\u" + one for one in digits) + b'"')
    return text.encode("utf-8", errors="ignore")


def _unquote_lines(raw: bytes) -> bytes:
    """Undo quoted-printable, the encoding of mails."""
    return binascii.a2b_qp(raw) if _QUOTED.search(raw) else raw


def _unquote_percent(raw: bytes) -> bytes:
    """Undo the encoding of addresses, also if it was done twice."""
    for _ in range(2):
        if _PERCENT.search(raw) is None:
            break
        raw = unquote_to_bytes(raw)
    return raw


def _unescape_html(raw: bytes) -> bytes:
    if _ENTITY.search(raw) is None:
        return raw
    text = raw.decode("utf-8", errors="surrogateescape")
    return html.unescape(text).encode("utf-8", errors="surrogateescape")


def _drop_tags(raw: bytes) -> bytes:
    return _TAG.sub(b"", raw) if b"<" in raw else raw
