"""Learning the other side of a chat: allowed with that person's consent, which the dataset keeps.

The person whose export it is may decide about their own words only. The words of an assistant are
no person's, if the caller says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from idiolect.errors import ConsentError, UsageError
from idiolect.importers.report import ImportOptions

MAX_STATEMENT_CHARS = 4000
"""The maximum length of a statement of consent, which is kept in the dataset's manifest."""


def record_other_side(
    options: ImportOptions, *, file: Path, role: str, names: Sequence[str]
) -> Mapping[str, object]:
    """Return what the manifest keeps about the consent to learn the other side.

    ``names`` are the names of the speakers to learn, if messages have names. Raises ConsentError if
    neither a consent nor a machine was stated, UsageError if the statement cannot be right.
    """
    statement = options.consent_of_person.strip()
    if len(statement) > MAX_STATEMENT_CHARS:
        raise UsageError(
            f"the statement of consent has {len(statement):,} characters; at most "
            f"{MAX_STATEMENT_CHARS:,} are kept"
        )
    if options.machine_text and statement:
        raise UsageError("--machine-text and --consent-of-person exclude each other")
    if options.machine_text and names:
        raise UsageError(
            f"{file}: the speakers of role {role!r} have names ({', '.join(names[:3])}), so these "
            "are people's words, not a machine's; ask them, and give --consent-of-person TEXT"
        )
    if options.machine_text:
        return {"machine_text": True}
    if not statement:
        whose = f"of {', '.join(names[:3])} " if names else ""
        raise ConsentError(
            f"{file}: the role {role!r} is the other side of these chats; its words {whose}may be "
            "learned only if that person agrees: record how they agreed with --consent-of-person "
            "TEXT or FILE; if a machine wrote them, say so with --machine-text"
        )
    return {"consent": statement, "recorded": datetime.now(UTC).date().isoformat()}
