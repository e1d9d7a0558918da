"""Imports chats with an assistant or between people, one JSON object each, for the *reply* task.

Reads OpenAI's ``messages`` (role, content) and ShareGPT's ``conversations`` (from, value), as JSONL
or as one JSON array. ``user``, ``user_id`` or ``person`` names the person. Their words are those of
one role, ``user`` by default.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from idiolect.errors import DataError
from idiolect.history.dates import to_unix
from idiolect.history.jsonl import iter_json_lines
from idiolect.importers.collector import HistoryCollector, ReadCounts
from idiolect.importers.conversation import ChatMessage, iter_replies
from idiolect.importers.json_stream import iter_array
from idiolect.importers.parsing import read_start, require_list, require_object, require_text
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions, ImportReport

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"}
"""ShareGPT's names of the roles."""
_INSTRUCTION_ROLES = ("system", "developer")
_TOOL_ROLES = ("tool", "function", "observation", "function_call")
_PERSON_KEYS = ("user", "user_id", "person")
_TIME_KEYS = ("timestamp", "created_at", "create_time", "time", "date")


def _detect_format(path: Path) -> bool:
    """Check the first object; its keys come before its long texts."""
    if not path.is_file() or path.suffix not in (".jsonl", ".json", ".ndjson"):
        return False
    start = read_start(path, 4096)
    return ('"messages"' in start and '"role"' in start) or '"conversations"' in start


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    assert path is not None  # import_histories requires a path for formats without a package
    reader = _ChatReader(path, options.person, options.person_role or "user")
    # A JSON array or one object per line.
    array = read_start(path, 64).startswith("[")
    for line, value in iter_array(path) if array else iter_json_lines(path):
        reader.add_conversation(line, value)
    return reader.build_result()


@dataclass(slots=True)
class _ChatReader:
    """Reads the conversations of one file. ``named`` is the person for all of them, or empty."""

    path: Path
    named: str
    role: str
    collector: HistoryCollector = field(default_factory=HistoryCollector)
    roles: set[str] = field(default_factory=set[str])
    number: int = 0
    """Number of conversations so far; the id of a conversation without one."""
    tally: ReadCounts = field(init=False)

    def __post_init__(self) -> None:
        self.tally = ReadCounts(self.path.name, "turns")

    def add_conversation(self, line: int, value: Any) -> None:
        """Add the turns of one conversation in which the person's role answers."""
        where = f"line {line}"
        record = require_object(value, where, self.path)
        user = next((record[key] for key in _PERSON_KEYS if record.get(key) is not None), None)
        user = "" if user is None else require_text(user, f"{where}, the person", self.path)
        # An explicitly given person overrides the names in the file.
        person = self.named or user
        if not person.strip():
            raise DataError(
                f"no person: none of the keys {', '.join(_PERSON_KEYS)}",
                file=self.path,
                line=line,
                hint="name one with --person",
            )
        self.number += 1
        name = require_text(record.get("id", self.number), f"{where}, id", self.path)
        # If --person replaced the user's name, the original name is quoted as a voice.
        messages = list(self._iter_messages(record, where, user if user != person else ""))
        if messages and messages[0].sender == self.role:
            self.tally.count_skip(
                "the first turn of a conversation answers no other", messages[0].where
            )
        for reply in iter_replies(messages, name):
            if reply.sender == self.role:
                self.collector.add_item(person, reply.record, self.tally)

    def _iter_messages(
        self, record: dict[str, Any], where: str, user: str
    ) -> Iterator[ChatMessage]:
        """Yield the messages that contain someone's words; ``user`` is the partner's name, if
        known."""
        key = "messages" if "messages" in record else "conversations"
        for number, value in enumerate(require_list(record.get(key), f"{where}, {key}", self.path)):
            place = f"{where}, {key}[{number}]"
            entry = require_object(value, place, self.path)
            said = entry.get("role", entry.get("from"))
            role = require_text(said, f"{place}, role", self.path).strip().lower()
            # Map ShareGPT's role names to OpenAI's.
            role = _ROLES.get(role, role)
            # Instructions are no part of the conversation; tool output is counted as skipped.
            if role in _INSTRUCTION_ROLES:
                continue
            if role in _TOOL_ROLES:
                self.tally.count_skip("a tool message", place)
                continue
            self.roles.add(role)
            text = self._join_content(entry.get("content", entry.get("value")), place)
            if not text.strip():
                self.tally.count_skip("an empty message", place)
                continue
            name = require_text(entry.get("name") or "", f"{place}, name", self.path)
            yield ChatMessage(
                sender=role,
                text=text,
                where=place,
                time=self._find_time(entry, record, place),
                voice=name or (user if role == "user" else ""),
            )

    def _join_content(self, content: Any, where: str) -> str:
        """Return the text of a message's content, which is text or a list of parts."""
        if content is None:
            return ""
        if not isinstance(content, list):
            return require_text(content, f"{where}, content", self.path)
        texts: list[str] = []
        # Multimodal content: keep the text parts, count the others.
        for number, value in enumerate(cast("list[Any]", content)):
            spot = f"{where}, content[{number}]"
            part = (
                {"text": value}
                if isinstance(value, str)
                else require_object(value, spot, self.path)
            )
            if isinstance(part.get("text"), str):
                texts.append(part["text"])
            else:
                self.tally.count_skip("a non-text part of a message", spot)
        return "\n".join(texts)

    def _find_time(self, entry: dict[str, Any], record: dict[str, Any], where: str) -> float | None:
        """Return the time of the message, else that of the conversation, else ``None``."""
        for source in (entry, record):
            for key in _TIME_KEYS:
                if source.get(key) is not None:
                    try:
                        return to_unix(source[key])
                    except DataError as error:
                        raise DataError(f"{where}, {key}: {error}", file=self.path) from error
        return None

    def build_result(self) -> ImportedHistories:
        """Return everything that was read; raises DataError if it is nothing."""
        if not self.tally.read:
            raise DataError(
                f"no turn of the role {self.role!r} answers another turn; "
                f"roles found: {', '.join(sorted(self.roles)) or 'none'}",
                file=self.path,
                hint="name the person's role with --person-role",
            )
        return ImportedHistories(
            importer="chat",
            source=self.path.name,
            task="reply",
            histories=self.collector.build_histories(),
            report=ImportReport(
                files=(self.tally.to_report(),), notes=self.collector.build_notes()
            ),
            settings={"person_role": self.role},
        )


IMPORTER = Importer(
    name="chat",
    title="chats as JSONL: OpenAI messages or ShareGPT",
    expects="a .jsonl or .json file whose objects have messages (role, content) or conversations "
    "(from, value), and user, user_id or person",
    detect=_detect_format,
    load=_load_histories,
    options=("person", "person_role"),
)
