"""Candidates for sharing: people of a store with consent, an adapter, and the history it was
trained on.

An adapter can be shared only if its training items are known: they train its gates, and the audit
measures leakage on them. This module reads the store, the consent ledger and the dataset; it
selects no sharers and writes nothing.
"""

from __future__ import annotations

import random
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.adapters.store.consent import open_ledger
from idiolect.adapters.store.store import AdapterStore
from idiolect.audit.subject import AuditSubject
from idiolect.config import derive_seed
from idiolect.errors import MissingError
from idiolect.events import Listener, Message, null_listener
from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.privacy.consent import list_consents, require_consent
from idiolect.profiles.profile import Profile
from idiolect.prompts.context import PersonContext
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.retrieval.dense import Encoder
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig

MAX_AUDIT_ITEMS = 200
"""Maximum items on each side of the membership attack, a seeded draw. 200 against 20 items
determine an AUC to 0.1; more training items add no precision. The audit searches the texts of all
training items, and attacks those with risky texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedItem:
    """Where an item of the audit is in the person's history."""

    id: str
    number: int
    """Counted from 1, in time order."""
    time: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A person whose pieces may be shared, with the data that making them needs."""

    person: str
    adapter: LoraAdapter
    steps: int
    """Steps of the adapter's training."""
    examples: tuple[Example, ...]
    """The usable items that the adapter was trained on, in time order."""
    subject: AuditSubject
    """For the audit: the training items, a sample of them first, and items of the same person
    outside training."""
    trained: tuple[TrainedItem, ...]
    """The items of ``subject.trained_items``, in its order."""


class Candidates:
    """The people of one store, with their histories in one dataset.

    ``config``: the settings that their adapters were trained with.
    """

    def __init__(
        self,
        store: AdapterStore,
        dataset: Dataset,
        base: Base,
        config: PersonalConfig,
        *,
        profiles: Mapping[str, Sequence[Profile]] | None = None,
        encoder: Encoder | None = None,
        seed: int = 0,
    ) -> None:
        self.store, self.dataset, self.config, self.seed = store, dataset, config, seed
        self.profiles, self.encoder = profiles or {}, encoder
        self.task = get_task(dataset.task)
        self.prompter = PromptRenderer(base.tokenizer, config.prompt)
        self.ledger = open_ledger(store)

    def require_eligible(self, people: Sequence[str]) -> tuple[str, ...]:
        """Return these people without duplicates, if each of them can share.

        Raises MissingError for a person who is unknown, has not consented, or has nothing to share.
        """
        names = tuple(dict.fromkeys(people))
        for person in names:
            if self.store.get_record(person) is None:
                raise MissingError(
                    f"{self.store.folder}: no person named {person!r} among its "
                    f"{len(self.store.people)} people"
                )
        require_consent(self.ledger, names, "pieces", store=self.store.folder)
        for person in names:
            if reason := self.explain_ineligible(person):
                raise MissingError(f"{self.store.folder}: {person!r} cannot share: {reason}")
        return names

    def iter_eligible(self, listener: Listener = null_listener) -> Iterator[History]:
        """Yield the histories of all people who consented and can share, sorted by person.

        Reports to the listener how many cannot share, and why. Raises MissingError if no person
        can.
        """
        consenting = [
            c.person for c in list_consents(self.ledger) if c.scope == "pieces" and c.valid
        ]
        if not consenting:
            raise MissingError(
                f"{self.store.folder}: no person has consented to sharing pieces of their adapter; "
                "to record consent, run: idiolect consent "
                f"{shlex.quote(str(self.store.folder))} --scope pieces --person ID"
            )
        reasons: Counter[str] = Counter()
        for person in consenting:
            if reason := self.explain_ineligible(person):
                reasons[reason] += 1
            else:
                yield self.read_history(person)
        # Report reasons and counts, not names.
        summary = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
        if reasons.total() == len(consenting):
            raise MissingError(
                f"{self.store.folder}: none of the {len(consenting)} people who consented can "
                f"share ({summary})"
            )
        if summary:
            listener(Message(text=f"consented, but cannot share: {summary}"))

    def explain_ineligible(self, person: str) -> str:
        """Return why a person has nothing to share; empty if they can share."""
        record = self.store.get_record(person)
        if record is None or record.row is None:
            return f"served by the base ({record.served})" if record else "not in the store"
        # Checks without the history come first; reading it is the slow part.
        if record.sharers:
            return "the adapter is made of other people's pieces, which this person cannot share"
        if record.items == 0:
            return "the adapter was imported, so its training items are unknown"
        if person not in self.dataset:
            return f"no history in {self.dataset.folder}"
        # The training items must be a prefix of the history, as recorded by their fingerprint.
        seen = self.read_history(person).items[: record.items]
        if History(person, seen).compute_fingerprint() != record.history:
            return (
                f"the history in {self.dataset.folder} differs from what the adapter was trained "
                "on; train it again (idiolect personalize)"
            )
        return ""

    def read_history(self, person: str) -> History:
        """Return the part of a person's history that the store's settings use."""
        history = self.dataset.read_history(person)
        return history.take_last(self.config.last_items) if self.config.last_items else history

    def load_candidate(self, person: str) -> Candidate:
        """Load the adapter and items of an eligible person.

        Held out are the items after the training items, and queries with a known answer. If
        histories hold no answers, queries are a different kind of text and are left out.
        """
        record, adapter = self.store.get_record(person), self.store.get_adapter(person)
        assert record is not None and adapter is not None
        history = self.read_history(person)
        # Build the examples exactly as training did.
        context = PersonContext(
            history,
            self.task,
            self.prompter,
            self.config.context,
            profiles=self.profiles.get(person, ()),
            encoder=self.encoder,
            seed=self.config.train.seed,
        )
        items = [context.build_item_example(n) for n in range(len(history.items))]
        queries = (
            [context.build_query_example(q) for q in history.queries] if self.task.labeled else []
        )
        # Training items come first in the history; everything later is held out.
        inside = [(n, e) for n, e in enumerate(items[: record.items]) if e is not None]
        outside = [e for e in (*items[record.items :], *queries) if e is not None]
        sampled = self._draw_sample(person, "held in", len(inside))
        # The sample first, then the other training items.
        chosen = set(sampled)
        order = [*sampled, *(n for n in range(len(inside)) if n not in chosen)]
        examples = [inside[n][1] for n in order]
        trained = [(inside[n][0], history.items[inside[n][0]]) for n in order]
        return Candidate(
            person=person,
            adapter=require_lora(adapter),
            steps=record.steps,
            examples=tuple(e for _, e in inside),
            subject=AuditSubject(
                person=person,
                members=tuple(examples[: len(sampled)]),
                non_members=tuple(
                    outside[n] for n in self._draw_sample(person, "held out", len(outside))
                ),
                unsampled=tuple(examples[len(sampled) :]),
            ),
            trained=tuple(
                TrainedItem(id=item.id, number=n + 1, time=item.time) for n, item in trained
            ),
        )

    def _draw_sample(self, person: str, side: str, count: int) -> list[int]:
        """Return the numbers of at most ``MAX_AUDIT_ITEMS`` of ``count`` examples, in order."""
        if count <= MAX_AUDIT_ITEMS:
            return list(range(count))
        # A draw of its own per person and side, so that other people do not change it.
        draw = random.Random(derive_seed(self.seed, person, "audit", side))
        return sorted(draw.sample(range(count), MAX_AUDIT_ITEMS))
