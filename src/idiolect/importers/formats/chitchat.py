"""Imports the Chit Chat Challenge (package ``chitchat-dataset``): conversations of two people.

Creates one item per turn that follows the other person's turn. Times are those of the messages (a
conversation's ``start`` is in another time zone and is not used).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, MissingError
from idiolect.history.dates import to_unix
from idiolect.importers.collector import HistoryCollector, ReadCounts
from idiolect.importers.conversation import ChatMessage, is_out_of_order, iter_replies
from idiolect.importers.parsing import (
    read_json,
    read_start,
    require_list,
    require_object,
    require_text,
)
from idiolect.importers.report import ImportedHistories, Importer, ImportOptions, ImportReport
from idiolect.storage.data_packages import find_data_file

_FILE_NAME = "dataset.json"


def _find_file(path: Path) -> Path | None:
    """Return ``path`` itself if it is a file, or the dataset file in the folder."""
    file = path / _FILE_NAME if path.is_dir() else path
    return file if file.is_file() else None


def _detect_format(path: Path) -> bool:
    file = _find_file(path)
    if file is None or file.suffix != ".json":
        return False
    start = read_start(file, 4096)
    return start.startswith("{") and '"messages"' in start and '"sender"' in start


def _load_histories(path: Path | None, options: ImportOptions) -> ImportedHistories:
    place = path or find_data_file("chitchat_dataset", _FILE_NAME)
    file = _find_file(place)
    if file is None:
        raise MissingError(f"{place}: no {_FILE_NAME} found")
    collector, tally = HistoryCollector(), ReadCounts(file.name, "turns")
    unordered = 0
    for name, value in require_object(read_json(file), "the file", file).items():
        messages = list(_iter_messages(name, value, file, tally))
        unordered += is_out_of_order(messages)
        # People who only open conversations are kept, without items.
        for message in messages:
            collector.add_person(message.sender)
        if messages:
            tally.count_skip("the first turn of a conversation answers no other", messages[0].where)
        for reply in iter_replies(messages, name):
            collector.add_item(reply.sender, reply.record, tally)
    if not tally.read:
        raise DataError("the file contains no conversation of two people", file=file)
    # Out-of-order messages are only noted: the order in the file is kept.
    notes = collector.build_notes()
    if unordered:
        notes += (f"conversations with a message earlier than the previous one: {unordered:,}",)
    return ImportedHistories(
        importer="chitchat",
        source=file.name if path else "the chitchat-dataset package",
        task="reply",
        histories=collector.build_histories(),
        report=ImportReport(files=(tally.to_report(),), notes=notes),
    )


def _iter_messages(name: str, value: Any, file: Path, tally: ReadCounts) -> Iterator[ChatMessage]:
    where = f"conversation {name}"
    turns = require_list(
        require_object(value, where, file).get("messages"), f"{where}, messages", file
    )
    for t, turn in enumerate(turns):
        for m, entry in enumerate(require_list(turn, f"{where}, turn {t}", file)):
            place = f"{where}, turn {t}, message {m}"
            message = _parse_message(require_object(entry, place, file), place, file)
            if message.text.strip():
                yield message
            else:
                tally.count_skip("an empty message", place)


def _parse_message(entry: dict[str, Any], where: str, file: Path) -> ChatMessage:
    sender = require_text(entry.get("sender"), f"{where}, sender", file)
    if not sender.strip():
        raise DataError(f"{where}: the sender is empty", file=file)
    try:
        time = to_unix(entry.get("timestamp"))
    except DataError as error:
        raise DataError(f"{where}: {error}", file=file) from error
    return ChatMessage(
        sender=sender,
        text=require_text(entry.get("text"), f"{where}, text", file),
        where=where,
        time=time,
        voice=sender,
    )


IMPORTER = Importer(
    name="chitchat",
    title="the Chit Chat Challenge's conversations",
    expects="the chitchat-dataset package's dataset.json; without a path the installed package's",
    detect=_detect_format,
    load=_load_histories,
    package="chitchat_dataset",
)
