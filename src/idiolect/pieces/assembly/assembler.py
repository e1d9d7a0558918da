"""Assembles recipes for the people of a dataset, group by group, into a store of recipes.

Histories are streamed: only the examples of the current group are in memory. Runs are idempotent:
after a kill, or if called again, only missing and outdated recipes are made.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import DataError, MismatchError
from idiolect.events import Event, Listener, Message, Metrics, Progress, null_listener
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.assembly.target_users import check_target_users
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import RecipeConfig
from idiolect.pieces.recipes.recipe import Recipe, make_empty_recipe
from idiolect.pieces.recipes.shard import NO_USABLE_ITEM, RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.storage.metrics_log import MetricsLog
from idiolect.tasks.task import Task

PEOPLE_PER_SHARD = 64
"""People whose recipes are written together; a kill loses at most the work on one group."""
_MAX_NAMED_PEOPLE = 3
"""Maximum number of people that an error message names."""


@dataclass(frozen=True, kw_only=True)
class AssembleSummary:
    """The result of a run, in people."""

    recipes: Path
    assembled: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    no_items: tuple[str, ...] = ()
    """People without a usable item; the base serves them."""
    unusable_items: int = 0
    """Items that were left out: without an answer, or too long for the prompt."""
    sharers: int = 0
    """Number of sharers in the pool."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _PersonPlan:
    """The planned work for one person."""

    person: str
    made_by: str
    history_fingerprint: str
    """Fingerprint of the whole history."""
    examples: tuple[Example, ...]
    unusable_items: int
    """Number of items that were examined and left out."""

    @property
    def skip_reason(self) -> str:
        """Why this person gets no pieces, as text."""
        items = f"none of {self.unusable_items} items has a usable answer"
        return f"{self.person!r}: {items if self.unusable_items else 'the history is empty'}"


class Assembler:
    """Assembles recipes for people of one task, from one pool into one folder."""

    def __init__(
        self,
        base: Base,
        task: Task,
        pool: Pool,
        config: RecipeConfig,
        out: Path,
        *,
        at_once: int = PEOPLE_PER_SHARD,
        listener: Listener = null_listener,
    ) -> None:
        self.base, self.task, self.pool, self.config = base, task, pool, config
        self.out, self.people_per_shard, self.listener = out, at_once, listener
        self.prompter = PromptRenderer(base.tokenizer, config.prompt)
        settings = to_plain(config)
        del settings["device"]  # recipes do not depend on the device
        self._fingerprint_inputs = [base.identity, pool.id, sorted(pool.sharers), settings]

    def run(
        self, histories: Iterable[History], *, people: int, wait: bool = True
    ) -> AssembleSummary:
        """Make the recipe of each person who needs one; ``people`` is the number of histories.

        The folder is created with the first recipe. Raises the same errors as ``api.assemble``,
        and also DataError if no person has a usable item, MismatchError if a sharer withdraws
        during the run.
        """
        started = time.monotonic()
        self.pool.check_compatible(base=self.base.identity, task=self.task.name)
        check_target_users(self.base, self.pool, {}, self.config.assemble)
        tally = _RunCounter(people)
        with ExitStack() as stack:
            # An existing store is locked at once. A new one is created only when there is
            # something to write, so that a failed run leaves no folder.
            store_exists = (self.out / RecipeStore.HEADER_FILE).is_file()
            store = self._open_store(stack, wait) if store_exists else None
            for group in self._iter_groups(histories, store, tally):
                if store is None and not any(planned.examples for planned in group):
                    raise _make_nothing_error(group)
                group_started = time.monotonic()
                # Assemble the group (the slow part), check that no sharer withdrew meanwhile,
                # then commit.
                recipes = self._make_recipes(group, tally)
                seconds = time.monotonic() - group_started
                store = store or self._open_store(stack, wait)
                self._log_group(group, seconds)
                self._require_present(recipes.values())
                self._write_group(store, group, recipes)
                tally.count_group(group)
            if store is None:
                raise _make_nothing_error(())
            # Remove records that this run replaced.
            store.compact()
        if tally.unusable_items:
            self.listener(
                Message(text=f"items left out (no answer, or too long): {tally.unusable_items:,}")
            )
        return AssembleSummary(
            recipes=self.out,
            assembled=tuple(tally.assembled),
            unchanged=tuple(tally.unchanged),
            no_items=tuple(sorted(tally.no_items)),
            unusable_items=tally.unusable_items,
            sharers=len(self.pool.sharers),
            seconds=time.monotonic() - started,
        )

    def _open_store(self, stack: ExitStack, wait: bool) -> RecipeStore:
        store = RecipeStore.create(self.out, self.pool, settings=to_plain(self.config))
        stack.enter_context(store.lock_for_writing(wait=wait))
        return store

    def _iter_groups(
        self, histories: Iterable[History], store: RecipeStore | None, tally: _RunCounter
    ) -> Iterator[list[_PersonPlan]]:
        """Yield the people whose recipe must be made, in groups with ``people_per_shard`` usable
        people."""
        group: list[_PersonPlan] = []
        for history in histories:
            known = store.get_record(history.person) if store else None
            # The fingerprint covers everything the recipe depends on: if it is unchanged, so is
            # the recipe.
            made_by = compute_fingerprint(
                [*self._fingerprint_inputs, history.compute_fingerprint()]
            )
            if known is not None and known.made_by == made_by:
                tally.unchanged.append(history.person)
                tally.no_items += [history.person] if known.served == NO_USABLE_ITEM else []
                continue
            # Examples are rendered now, so that the history itself can be dropped.
            group.append(self._plan_person(history, made_by))
            if sum(bool(planned.examples) for planned in group) == self.people_per_shard:
                yield group
                group = []
        if group:
            yield group

    def _plan_person(self, history: History, made_by: str) -> _PersonPlan:
        """Collect a person's usable items; with ``recent_k``, from the latest backward until there
        are enough."""
        person = PersonContext(history, self.task, self.prompter, ContextConfig())
        wanted = self.config.assemble.recent_k or len(history.items)
        usable: list[Example] = []
        unusable = 0
        # Backward, so that ``recent_k`` renders no more items than it uses.
        for index in reversed(range(len(history.items))):
            if len(usable) == wanted:
                break
            example = person.build_item_example(index)
            if example is None or not example.num_targets:
                unusable += 1
            else:
                usable.append(example)
        return _PersonPlan(
            history.person,
            made_by,
            history.compute_fingerprint(),
            tuple(reversed(usable)),
            unusable,
        )

    def _make_recipes(self, group: Sequence[_PersonPlan], tally: _RunCounter) -> dict[str, Recipe]:
        """Return a group's recipes by person; report progress relative to the whole run."""

        def forward_event(event: Event) -> None:
            if isinstance(event, Progress):
                # Groups report their own progress; shift it to that of the whole run.
                event = replace(event, done=event.done + tally.people_done, total=tally.people)
            self.listener(event)

        target_users = {p.person: p.examples for p in group if p.examples}
        config = self.config.assemble
        made = assemble_recipes(self.base, self.pool, target_users, config, listener=forward_event)
        return {recipe.person: recipe for recipe in made}

    def _write_group(
        self, store: RecipeStore, group: Sequence[_PersonPlan], recipes: Mapping[str, Recipe]
    ) -> None:
        """Write a group as one shard."""
        sites, aggregate = len(self.pool.sites), self.config.assemble.aggregate
        entries: list[tuple[RecipeRecord, Recipe]] = []
        for p in group:
            record = RecipeRecord(
                person=p.person,
                made_by=p.made_by,
                served="adapter" if p.examples else NO_USABLE_ITEM,
                items=len(p.examples),
                history=p.history_fingerprint,
            )
            entries.append(
                # People without a usable item get an empty recipe, so that a rerun skips them.
                (record, recipes.get(p.person) or make_empty_recipe(p.person, sites, aggregate))
            )
        store.add_recipes(entries)

    def _log_group(self, group: Sequence[_PersonPlan], seconds: float) -> None:
        """Log the size and duration of a group, for the pool report."""
        items = [example for planned in group for example in planned.examples]
        # The last token of an item is predicted but not run.
        values = {
            "people": sum(bool(planned.examples) for planned in group),
            "items": len(items),
            "tokens": sum(len(example.ids) - 1 for example in items),
            "seconds": round(seconds, 3),
        }
        MetricsLog(self.out / "metrics.jsonl")(Metrics(stage="assemble", values=values))

    def _require_present(self, recipes: Iterable[Recipe]) -> None:
        """Raise MismatchError if a sharer withdrew since the pool was opened.

        A withdrawal looks for recipes only after it changed the pool, so recipes with its pieces
        must not be written later.
        """
        # Read the folder again: ``self.pool`` is the state at the start of the run.
        present = set(Pool.open(self.pool.folder).sharers)
        if any(set(recipe.sharers) - present for recipe in recipes):
            raise MismatchError(
                f"{self.pool.folder}: a sharer withdrew while recipes were made; run the command "
                "again"
            )


@dataclass(slots=True)
class _RunCounter:
    """Counters of a run."""

    people: int
    assembled: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    no_items: list[str] = field(default_factory=list)
    written: int = 0
    unusable_items: int = 0

    def count_group(self, group: Sequence[_PersonPlan]) -> None:
        """Count a group that was written."""
        self.assembled += [p.person for p in group if p.examples]
        self.no_items += [p.person for p in group if not p.examples]
        self.written += len(group)
        self.unusable_items += sum(p.unusable_items for p in group)

    @property
    def people_done(self) -> int:
        """Number of people handled so far."""
        return self.written + len(self.unchanged)


def _make_nothing_error(group: Sequence[_PersonPlan]) -> DataError:
    """Return the error for a run in which no person has a usable item."""
    if not group:
        return DataError("nothing to assemble: the dataset has no people")
    # Reasons for the first few people; the rest only as a number.
    named = "; ".join(planned.skip_reason for planned in group[:_MAX_NAMED_PEOPLE])
    more = f"; and {len(group) - _MAX_NAMED_PEOPLE} more" if len(group) > _MAX_NAMED_PEOPLE else ""
    return DataError(
        f"nothing to assemble: {named}{more}; the base serves them (to look at the items: "
        "idiolect inspect)"
    )
