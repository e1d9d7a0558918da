"""Imports chats with an assistant or between people, one JSON object each, for the *reply* task.

Reads OpenAI's ``messages`` (role, content) and ShareGPT's ``conversations`` (from, value), as JSONL
or as one JSON array. A speaker is a role and a name: ``name`` of a message, else ``user``,
``user_id`` or ``person`` of the conversation. The people to learn are those of one role, by default
``user``. Any other role is the other side of a chat, and learning it needs that person's consent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from idiolect.errors import DataError
from idiolect.history.dates import to_unix
from idiolect.history.jsonl import iter_json_lines
from idiolect.history.voices import clean_name
from idiolect.importers.collector import HistoryCollector, ReadCounts
from idiolect.importers.conversation import ChatMessage, iter_replies
from idiolect.importers.json_stream import iter_array
from idiolect.importers.other_side import record_other_side
from idiolect.importers.parsing import read_start, require_list, require_object, require_text
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions, ImportReport

_ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "model": "assistant"}
"""ShareGPT's names of the roles."""
_INSTRUCTION_ROLES = ("system", "developer")
_TOOL_ROLES = ("tool", "function", "observation", "function_call")
_PERSON_KEYS = ("user", "user_id", "person")
_MAX_NAMED_SPEAKERS = 8
"""The maximum number of speakers that an error message names."""
_TIME_KEYS = ("timestamp", "created_at", "create_time", "time", "date")


def _detect_format(path: Path) -> bool:
    """Check the first object; its keys come before its long texts."""
    if not path.is_file() or path.suffix not in (".jsonl", ".json", ".ndjson"):
        return False
    start = read_start(path, 4096)
    return ('"messages"' in start and '"role"' in start) or '"conversations"' in start


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    assert path is not None  # import_histories requires a path for formats without a package
    reader = _ChatReader(path, options)
    # A JSON array or one object per line.
    array = read_start(path, 64).startswith("[")
    for line, value in iter_array(path) if array else iter_json_lines(path):
        reader.add_conversation(line, value)
    return reader.build_result()


@dataclass(frozen=True, slots=True)
class _Said:
    """One message with the role and the name of its speaker; the name may be empty."""

    role: str
    name: str
    message: ChatMessage


@dataclass(frozen=True, slots=True)
class _Conversation:
    """One conversation of the file. ``user`` is the person that it names, or empty."""

    id: str
    user: str
    said: tuple[_Said, ...]


@dataclass(slots=True)
class _ChatReader:
    """Reads the conversations of one file, then decides which speakers are learned."""

    path: Path
    options: ImportOptions
    conversations: list[_Conversation] = field(default_factory=list[_Conversation])
    collector: HistoryCollector = field(default_factory=HistoryCollector)
    tally: ReadCounts = field(init=False)

    def __post_init__(self) -> None:
        self.tally = ReadCounts(self.path.name, "turns")

    @property
    def role(self) -> str:
        """The role whose words are the person's own."""
        return _normalize_role(self.options.person_role or "user")

    def add_conversation(self, line: int, value: Any) -> None:
        """Read one conversation. Raises DataError if it does not say whose words it holds."""
        where = f"line {line}"
        record = require_object(value, where, self.path)
        user = next((record[key] for key in _PERSON_KEYS if record.get(key) is not None), None)
        user = "" if user is None else require_text(user, f"{where}, the person", self.path)
        user = user if user.strip() else ""
        default_id = len(self.conversations) + 1
        name = require_text(record.get("id", default_id), f"{where}, id", self.path)
        # The key of the conversation names the speaker of the role "user", if messages do not.
        said = tuple(self._iter_messages(record, where, user))
        own = [one for one in said if one.role == self.role]
        is_known = self.options.person or user or (own and all(one.name for one in own))
        if not is_known:
            raise DataError(
                f"no person: none of the keys {', '.join(_PERSON_KEYS)}",
                file=self.path,
                line=line,
                hint="name one with --person",
            )
        self.conversations.append(_Conversation(name, user, said))

    def _iter_messages(self, record: dict[str, Any], where: str, user: str) -> Iterator[_Said]:
        """Yield the messages that contain someone's words; ``user`` is the person that the
        conversation names, or empty."""
        key = "messages" if "messages" in record else "conversations"
        for number, value in enumerate(require_list(record.get(key), f"{where}, {key}", self.path)):
            place = f"{where}, {key}[{number}]"
            entry = require_object(value, place, self.path)
            said = entry.get("role", entry.get("from"))
            role = _normalize_role(require_text(said, f"{place}, role", self.path))
            # Instructions are no part of the conversation; tool output is counted as skipped.
            if role in _INSTRUCTION_ROLES:
                continue
            if role in _TOOL_ROLES:
                self.tally.count_skip("a tool message", place)
                continue
            text = self._join_content(entry.get("content", entry.get("value")), place)
            if not text.strip():
                self.tally.count_skip("an empty message", place)
                continue
            name = require_text(entry.get("name") or "", f"{place}, name", self.path)
            name = clean_name(name) or (user if role == "user" else "")
            source = entry.get("forwarded_from")
            message = ChatMessage(
                # A speaker is a role and a name: two friends in a row are two speakers.
                sender=f"{role}\n{name}" if name else role,
                text=text,
                where=place,
                time=self._find_time(entry, record, place),
                voice=name,
                label=name or role,
                forwarded_from=clean_name(source) if isinstance(source, str) else "",
            )
            yield _Said(role, name, message)

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
        """Return everything that was read.

        Raises DataError if it is nothing, ConsentError if the words are the other side's and
        nothing shows that this person agreed.
        """
        learned = self._find_learned_speakers()
        settings: dict[str, object] = {"person_role": self.role}
        # Any role but the user's is the other side, who must have agreed.
        if roles := sorted({role for role, _ in learned} - {"user"}):
            names = sorted({name for _, name in learned} - {""})
            settings["other_side"] = record_other_side(
                self.options, file=self.path, role=roles[0], names=names
            )
        quoting = 0
        for conversation in self.conversations:
            said = conversation.said
            if said and (said[0].role, said[0].name) in learned:
                self.tally.count_skip(
                    "the first turn of a conversation answers no other", said[0].message.where
                )
            # Only replies of people whose words are learned become items; the rest is context.
            people = {s.message.sender: learned.get((s.role, s.name), "") for s in said}
            for reply in iter_replies([s.message for s in said], conversation.id):
                if people[reply.sender]:
                    quoting += reply.has_quotes
                    self.collector.add_item(people[reply.sender], reply.record, self.tally)
        if not self.tally.read:
            raise self._explain_nothing_read(learned)
        notes = self.collector.build_notes()
        if quoting:
            notes += (
                f"turns whose quoted or forwarded words are kept as context only: {quoting:,}",
            )
        return ImportedHistories(
            importer="chat",
            source=self.path.name,
            task="reply",
            histories=self.collector.build_histories(),
            report=ImportReport(files=(self.tally.to_report(),), notes=notes),
            settings=settings,
        )

    def _find_learned_speakers(self) -> dict[tuple[str, str], str]:
        """Return the person's id by (role, name) of each speaker whose words are learned.

        Raises DataError if the given id fits several speakers.
        """
        speakers = [*dict.fromkeys((s.role, s.name) for c in self.conversations for s in c.said)]
        named, role_given = clean_name(self.options.person), bool(self.options.person_role)
        own = [speaker for speaker in speakers if speaker[0] == self.role]
        if not named:
            return {(role, name): name for role, name in own if name}
        # A given id that occurs in the file takes this speaker's words only.
        candidates = own if role_given else speakers
        if found := [speaker for speaker in candidates if speaker[1] == named]:
            # The same person can write in several roles; "user" needs no one else's consent.
            return dict.fromkeys([s for s in found if s[0] == self.role] or found, named)
        names = sorted({name for _, name in own if name})
        users = {c.user for c in self.conversations if c.user}
        if len(names) > 1 and not set(names) <= users:
            raise DataError(
                f"the role {self.role!r} has {len(names)} speakers: "
                f"{', '.join(names[:_MAX_NAMED_SPEAKERS])}; {named!r} is none of them",
                file=self.path,
                hint="give one of these names with --person, or import without --person to tell "
                "them apart",
            )
        return dict.fromkeys(own, named)

    def _explain_nothing_read(self, learned: Mapping[tuple[str, str], str]) -> DataError:
        """Say why there is no reply to learn, and what to do."""
        if learned:
            who = " and ".join(sorted(set(learned.values())))
            return DataError(
                f"{who!r} (role {self.role!r}) only opens these conversations and answers no "
                "turn of another speaker, so there is no reply to learn",
                file=self.path,
                hint="import longer conversations in which this person answers, or chats with "
                "people",
            )
        roles = sorted({s.role for c in self.conversations for s in c.said})
        return DataError(
            f"no turn of the role {self.role!r}; roles found: {', '.join(roles) or 'none'}",
            file=self.path,
            hint="name the person's role with --person-role",
        )


def _normalize_role(name: str) -> str:
    """Return OpenAI's name of a role; ShareGPT has others."""
    role = name.strip().lower()
    return _ROLES.get(role, role)


IMPORTER = Importer(
    name="chat",
    title="chats as JSONL: OpenAI messages or ShareGPT",
    expects="a .jsonl or .json file whose objects have messages (role, content) or conversations "
    "(from, value), and user, user_id or person",
    detect=_detect_format,
    load=_load_histories,
    options=("person", "person_role", "consent_of_person", "machine_text"),
)
