"""Matches prompt-response pairs against dataset rows, and extracts the person's own words from
pairs.

Deleted records are given as pairs without ids. A row matches a pair if its prompt and its answer
are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from idiolect.errors import DataError
from idiolect.history.erasure import DatasetErasure
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.redact import Redaction
from idiolect.history.voices import OWN_LINE_PREFIX, is_others_line
from idiolect.privacy.erasure import ErasureRequest
from idiolect.prompt_sets.pairs import Pair, normalize_text
from idiolect.tasks.task import Task


def parse_pair_fields(task: Task, pair: Pair) -> dict[str, str] | None:
    """Return a pair as record fields, with the prompt parsed as ``predict`` parses a question;
    ``None`` if it is not a question of this task."""
    try:
        return {**task.parse_input(pair.prompt), task.target_field: pair.response}
    except DataError:
        return None


def find_remaining_rows(task: Task, history: History, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """Return the ids of a history's rows that match one of the pairs."""
    wanted: set[tuple[str, str]] = set()
    for pair in pairs:
        fields = parse_pair_fields(task, pair)
        answer = normalize_text(pair.response)
        wanted.add((pair.key, answer))
        if fields is not None:
            # The task may word the prompt differently from how the file gives the question.
            prompt = task.prompt(Interaction(id="", position=0, fields=fields))
            wanted.add((normalize_text(prompt.text), answer))
    rows = (*history.items, *history.queries)
    return tuple(
        row.id
        for row in rows
        if (normalize_text(task.prompt(row).text), normalize_text(task.target(row) or "")) in wanted
    )


def iter_own_texts(task: Task, pairs: Sequence[Pair]) -> Iterator[str]:
    """Yield the person's own words in pairs, without other people's lines of a conversation."""
    for pair in pairs:
        fields = parse_pair_fields(task, pair)
        for text in fields.values() if fields else (pair.prompt, pair.response):
            lines = [line for line in text.splitlines() if not is_others_line(line)]
            yield "\n".join(line.removeprefix(OWN_LINE_PREFIX) for line in lines)


class DeletedRows(DatasetErasure):
    """Also removes the pairs' rows from other datasets of the same task. The main dataset no longer
    contains them."""

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
        """Plan what to remove from a dataset; ``None`` if the folder is not a dataset, or if the id
        belongs to another person there."""
        found = super().plan_redaction(folder, leaving)
        if found is None or found.dataset.task != self.task.name:
            return found
        if leaving.person not in found.dataset:
            return found
        # Rows that match the pairs are handled like records given by id.
        ids = find_remaining_rows(self.task, found.dataset.read_history(leaving.person), self.pairs)
        if not ids:
            return found
        return super().plan_redaction(
            folder, replace(leaving, records=frozenset(ids), contents=None)
        )
