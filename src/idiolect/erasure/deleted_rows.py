"""Pairs of prompt and response as the records that they were: rows that say them, words in them.

Whoever is forgotten by pairs has no ids to name; a row says a pair where it asks and answers so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from idiolect.errors import DataError
from idiolect.history.erasure import DatasetErasure
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.redact import OTHERS_LINE_PREFIX, OWN_LINE_PREFIX, Redaction
from idiolect.privacy.erasure import ErasureRequest
from idiolect.prompt_sets.pairs import Pair, normalize_text
from idiolect.tasks.task import Task


def parse_pair_fields(task: Task, pair: Pair) -> dict[str, str] | None:
    """A pair as the fields of a record, its prompt read as ``predict`` reads a question; ``None``
    where it is no question of the task."""
    try:
        return {**task.parse_input(pair.prompt), task.target_field: pair.response}
    except DataError:
        return None


def find_remaining_rows(task: Task, history: History, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Ids of the rows of a history that say what one of the pairs does."""
    said: set[tuple[str, str]] = set()
    for pair in pairs:
        fields = parse_pair_fields(task, pair)
        answer = normalize_text(pair.response)
        said.add((pair.key, answer))
        if fields is not None:
            asked = task.prompt(Interaction(id="", position=0, fields=fields))
            said.add((normalize_text(asked.text), answer))
    return tuple(
        item.id
        for item in (*history.items, *history.queries)
        if (normalize_text(task.prompt(item).text), normalize_text(task.target(item) or "")) in said
    )


def iter_own_texts(task: Task, pairs: Sequence[Pair]) -> Iterator[str]:
    """The person's words in pairs; other people's lines of a conversation are not theirs."""
    for pair in pairs:
        fields = parse_pair_fields(task, pair)
        for text in fields.values() if fields else (pair.prompt, pair.response):
            lines = [line for line in text.splitlines() if not line.startswith(OTHERS_LINE_PREFIX)]
            yield "\n".join(line.removeprefix(OWN_LINE_PREFIX) for line in lines)


class DeletedRows(DatasetErasure):
    """Datasets of a task, other than the one that the pairs are gone from: rows that still say them
    go there, too."""

    def __init__(
        self,
        task_of: Callable[[str], Task],
        task: Task,
        pairs: Sequence[Pair],
        *,
        keep_joint: bool = False,
    ) -> None:
        super().__init__(task_of, keep_joint=keep_joint)
        self.task, self.pairs = task, pairs

    def plan_redaction(self, folder: Path, leaving: ErasureRequest) -> Redaction | None:
        """What goes of a dataset; ``None`` where the folder is none, or that id is another's."""
        found = super().plan_redaction(folder, leaving)
        if found is None or found.dataset.task != self.task.name:
            return found
        if leaving.person not in found.dataset:
            return found
        ids = find_remaining_rows(self.task, found.dataset.read_history(leaving.person), self.pairs)
        if not ids:
            return found
        return super().plan_redaction(folder, replace(leaving, records=leaving.records.union(ids)))
