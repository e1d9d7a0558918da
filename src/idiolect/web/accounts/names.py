"""Names of people: normalization, invisible and look-alike letters, and the key that is unique.

A name is normalized before it is checked: normalization can lengthen a name, or make two names
equal.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 30

_INVISIBLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f"
    "\\u200b-\\u200f\\u202a-\\u202e"
    "\\u2060-\\u206f\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff0-\\ufff8\\U0001bca0-\\U0001bca3"
    "\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff]"
)
"""Characters that are displayed as nothing: control characters, and Unicode's
Default_Ignorable_Code_Point. Some of these are letters, such as the Hangul fillers."""

_LOOK_ALIKES = str.maketrans(
    # Cyrillic, then Greek, then Latin small capitals: small letters of which the small or the
    # capital form looks like a Latin letter.
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0455\u0456\u0458"
    "\u04bb\u04cf\u0501\u051b\u051d\u0475"
    "\u03b1\u03b2\u03b5\u03b6\u03b7\u03b9\u03ba\u03bc\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03f3"
    "\u1d00\u1d04\u1d05\u1d07\u1d0a\u1d0b\u1d0d\u1d0f\u1d18\u1d1b\u1d1c\u1d20\u1d21\u1d22\u0261\u0131",
    "abekmhopctyxsijhldqwvabezhikmnoptyxjacdejkmoptuvwzgi",
)
"""Letters of other scripts that look like a Latin letter; the most common ones, not all."""


_RESERVED = (
    "admin|administrat(or|ion|ors)|root|superuser|sysadmin|system|owner|operator|official|staff|"
    "team|support|help(desk)?|security|webmaster|moderat(or|ors|ion)|mod|mods|nyms|idiolect|"
    "anonymous|deleted|everyone|you"
)
_RESERVED_NAME = re.compile(
    # Alone, with words around it that claim the same ("the-admin", "nyms_team"), or with digits.
    rf"((the|real|site|game)|{_RESERVED})*({_RESERVED})\d*"
)
"""Names of those who run the site, as ``is_reserved`` compares them."""
_DIGITS_AS_LETTERS = str.maketrans("013457", "oleast")


def normalize_name(name: str) -> str:
    """Return the name in the form in which it is checked, stored and shown.

    A text that is too long to be a name is returned unchanged, since normalizing takes long.
    """
    return unicodedata.normalize("NFKC", name) if len(name) <= MAX_LENGTH else name


def has_invisible(name: str) -> bool:
    """Return whether the name has characters that are displayed as nothing."""
    return _INVISIBLE.search(name) is not None


def remove_invisible(name: str) -> str:
    """Return the normalized name without the characters that are displayed as nothing."""
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", name))


def compute_name_key(name: str) -> str:
    """Return a key that is equal for names that look the same.

    Such names differ only in case, in character width, in invisible characters, or in letters of
    another script that look alike.
    """
    # Case folding can undo the normalization, so normalize again.
    folded = unicodedata.normalize("NFKC", remove_invisible(name).casefold())
    return folded.translate(_LOOK_ALIKES)


def is_reserved(name: str) -> bool:
    """Return whether the name says that its owner runs the site, in any case or look-alike form."""
    bare = re.sub(r"[\W_]", "", _remove_marks(compute_name_key(name)))
    # "4dm1n" and "m0d": the digits within are letters, those at the end may be a number. A small l
    # can stand for an i.
    forms = {bare, bare.translate(_DIGITS_AS_LETTERS), bare.rstrip("0123456789")}
    forms |= {form.translate(_DIGITS_AS_LETTERS) for form in forms}
    forms |= {form.replace("l", "i") for form in forms}
    return any(_RESERVED_NAME.fullmatch(form) for form in forms)


def _remove_marks(name: str) -> str:
    """Return the name without accents and other marks on its letters."""
    split = unicodedata.normalize("NFKD", name)
    return "".join(c for c in split if not unicodedata.combining(c))
