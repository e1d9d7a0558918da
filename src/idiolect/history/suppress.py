"""Leaves forgotten people and records out of histories that are imported or trained again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.errors import MismatchError
from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.history.redact import AuthoredText, Redaction
from idiolect.privacy.suppression import SUPPRESSION_FILE, SuppressionList

_MAX_NAMED_PEOPLE = 5
"""Maximum number of people that an error message names."""


@dataclass(frozen=True, kw_only=True)
class SuppressedHistories:
    """What is left of some histories, and what was left out."""

    histories: tuple[History, ...]
    people: tuple[str, ...] = ()
    """Forgotten people who were among the histories, or are quoted in them."""
    records: int = 0
    """Number of forgotten records."""


class _HistoriesInMemory(Dataset):
    """Histories that are no dataset yet, in the form that ``Redaction`` reads."""

    def __init__(self, histories: Sequence[History], task_name: str) -> None:
        # Nothing of these histories is on disk, so the parts of a dataset that read files stay out.
        self.task = task_name
        self._histories: Mapping[str, History] = {h.person: h for h in histories}

    @property
    def people(self) -> tuple[str, ...]:
        """All people, sorted."""
        return tuple(sorted(self._histories))

    def read_history(self, person: str) -> History:
        """Return the history of one of the people."""
        return self._histories[person]

    def __contains__(self, person: object) -> bool:
        return person in self._histories


def open_lists(paths: Sequence[Path]) -> tuple[SuppressionList, ...]:
    """Open the lists that exist among these files, each once."""
    unique = {path.resolve(): path for path in paths if path.is_file()}
    return tuple(map(SuppressionList, unique.values()))


def find_list_beside(folder: Path) -> Path:
    """Return the path of the list beside a dataset or a store."""
    return folder.absolute().parent / SUPPRESSION_FILE


def add_to_lists(
    paths: Sequence[Path],
    person: str,
    task_name: str,
    contents: Collection[str] | None,
    *,
    is_dry_run: bool,
) -> list[Path]:
    """Add a whole person, or contents of their records, to lists; return those that change.

    A dry run changes none.
    """
    out: list[Path] = []
    for path in {path.resolve(): path for path in paths}.values():
        known = SuppressionList(path)
        if not known.would_add(person, task_name, contents):
            continue
        if not is_dry_run and contents is None:
            known.add_person(person, task_name)
        elif not is_dry_run and contents is not None:
            known.add_records(person, task_name, contents)
        out.append(path)
    return out


def suppress_histories(
    histories: Sequence[History],
    task: AuthoredText,
    task_name: str,
    lists: Sequence[SuppressionList],
) -> SuppressedHistories:
    """Return the histories without the people and records on the lists, as ``forget`` removes
    them."""
    voices = {v for h in histories for i in (*h.items, *h.queries) for v in i.voices}
    names = sorted({h.person for h in histories} | voices)
    people, count, remaining = list[str](), 0, tuple(histories)
    for person in names if lists else ():
        known = _HistoriesInMemory(remaining, task_name)
        if any(found.contains_person(person, task_name) for found in lists):
            people.append(person)
            remaining = tuple(Redaction(known, person, task).iter_histories())
            continue
        ids = (
            find_forgotten_records(known.read_history(person), task_name, lists)
            if (person in known)
            else ()
        )
        if ids:
            count += len(ids)
            remaining = tuple(Redaction(known, person, task, records=ids).iter_histories())
    return SuppressedHistories(histories=remaining, people=tuple(people), records=count)


def find_forgotten_records(
    history: History, task_name: str, lists: Sequence[SuppressionList]
) -> tuple[str, ...]:
    """Return the ids of a history's rows that are on one of the lists."""
    contents = {row.id: row.compute_fingerprint() for row in (*history.items, *history.queries)}
    found = {
        content
        for known in lists
        for content in known.find_records(history.person, task_name, set(contents.values()))
    }
    return tuple(record for record, content in contents.items() if content in found)


def require_none_forgotten(
    histories: Iterable[History], task_name: str, data: Path, out: Path
) -> None:
    """Raise MismatchError if a history of ``data`` holds anything on the lists beside ``data`` and
    ``out``, so that nothing is made of it again."""
    lists = open_lists([find_list_beside(data), find_list_beside(out)])
    if not lists:
        return
    people = [h.person for h in histories if contains_forgotten(h, task_name, lists)]
    if people:
        named = ", ".join(people[:_MAX_NAMED_PEOPLE])
        more = f" and {len(people) - _MAX_NAMED_PEOPLE} more" * (len(people) > _MAX_NAMED_PEOPLE)
        raise MismatchError(
            f"{data}: holds what was forgotten, in the histories of {named}{more}; import the data "
            "again, which leaves it out, or take a person off the list: idiolect suppressed"
        )


def contains_forgotten(history: History, task_name: str, lists: Sequence[SuppressionList]) -> bool:
    """Whether a history is of a forgotten person, quotes one, or holds a forgotten record."""
    voices = {v for row in (*history.items, *history.queries) for v in row.voices}
    return any(
        known.contains_person(person, task_name)
        for known in lists
        for person in (history.person, *sorted(voices))
    ) or bool(find_forgotten_records(history, task_name, lists))
