"""The Chit Chat Challenge (package ``chitchat-dataset``): conversations of two people.

One item per turn of a sender that follows the other's; times are the messages' own (a
conversation's ``start`` is in another time zone and is not used).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, MissingError
from idiolect.history.dates import to_unix
from idiolect.importers.collector import Gatherer, Tally
from idiolect.importers.conversation import Message, goes_back, replies
from idiolect.importers.parsing import (
    as_list,
    as_object,
    as_text,
    package_file,
    read_json,
    starts_with,
)
from idiolect.importers.report import Imported, Importer, ImportOptions, ImportReport

_FILE = "dataset.json"


def _find(path: Path) -> Path | None:
    """The file itself, or the one in a folder."""
    file = path / _FILE if path.is_dir() else path
    return file if file.is_file() else None


def _detect(path: Path) -> bool:
    file = _find(path)
    if file is None or file.suffix != ".json":
        return False
    start = starts_with(file, 4096)
    return start.startswith("{") and '"messages"' in start and '"sender"' in start


def _load(path: Path | None, options: ImportOptions) -> Imported:
    place = path or package_file("chitchat_dataset", _FILE)
    file = _find(place)
    if file is None:
        raise MissingError(f"{place}: there is no {_FILE}")
    gatherer, tally = Gatherer(), Tally(file.name, "turns")
    unordered = 0
    for name, value in as_object(read_json(file), "the file", file).items():
        messages = list(_messages(name, value, file, tally))
        unordered += goes_back(messages)
        for message in messages:
            gatherer.person(message.sender)
        if messages:
            tally.skip("it opens the conversation, so it answers nothing", messages[0].where)
        for reply in replies(messages, name):
            gatherer.item(reply.sender, reply.record, tally)
    if not tally.read:
        raise DataError("no conversation of two people in it", file=file)
    notes = gatherer.notes()
    if unordered:
        notes += (f"conversations with a message earlier than the one before it: {unordered:,}",)
    return Imported(
        importer="chitchat",
        source=file.name if path else "the chitchat-dataset package",
        task="reply",
        histories=gatherer.histories(),
        report=ImportReport(files=(tally.report(),), notes=notes),
    )


def _messages(name: str, value: Any, file: Path, tally: Tally) -> Iterator[Message]:
    where = f"conversation {name}"
    turns = as_list(as_object(value, where, file).get("messages"), f"{where}, messages", file)
    for t, turn in enumerate(turns):
        for m, entry in enumerate(as_list(turn, f"{where}, turn {t}", file)):
            place = f"{where}, turn {t}, message {m}"
            message = _message(as_object(entry, place, file), place, file)
            if message.text.strip():
                yield message
            else:
                tally.skip("an empty message", place)


def _message(entry: dict[str, Any], where: str, file: Path) -> Message:
    sender = as_text(entry.get("sender"), f"{where}, sender", file)
    if not sender.strip():
        raise DataError(f"{where}: the sender is empty", file=file)
    try:
        time = to_unix(entry.get("timestamp"))
    except DataError as error:
        raise DataError(f"{where}: {error}", file=file) from error
    return Message(
        sender=sender,
        text=as_text(entry.get("text"), f"{where}, text", file),
        where=where,
        time=time,
        voice=sender,
    )


IMPORTER = Importer(
    name="chitchat",
    title="the Chit Chat Challenge's conversations",
    expects="the chitchat-dataset package's dataset.json; without a path the installed package's",
    detect=_detect,
    load=_load,
    package="chitchat_dataset",
)
