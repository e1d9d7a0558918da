"""Who can share: people of a store who agreed, whose adapter and whose history are both at hand.

An adapter may only be cut up where it is known which items it was trained on: they train its gates,
and whether it gives them away is measured on them. Knows the store, the ledger of consents and the
dataset; chooses nobody, and writes nothing.
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
from idiolect.audit.membership import AuditSubject
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
"""Items on each side of an audit at most, drawn by the seed: with 200 against 20 an AUC is known
to 0.1, and more of those trained on would tell no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Somebody who may be asked for pieces, with what those are made of."""

    person: str
    adapter: LoraAdapter
    steps: int
    """Of the adapter's training."""
    examples: tuple[Example, ...]
    """The usable items that the adapter was trained on, in time order."""
    subject: AuditSubject
    """For the audit: some of them, and some of the same person that were not trained on."""


class Candidates:
    """The people of one store, asked with their histories in one dataset.

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
        """These people, if each of them can share.

        Raises MissingError for who is a stranger, has not agreed, or has nothing to share.
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
        """The histories of all who agreed and can share, by name; the listener hears how many
        cannot, and why. Raises MissingError where nobody is left."""
        agreed = [c.person for c in list_consents(self.ledger) if c.scope == "pieces" and c.valid]
        if not agreed:
            raise MissingError(
                f"{self.store.folder}: nobody agreed that pieces of their adapter are shared; "
                "where they do, run: idiolect consent "
                f"{shlex.quote(str(self.store.folder))} --scope pieces --person ID"
            )
        reasons: Counter[str] = Counter()
        for person in agreed:
            if reason := self.explain_ineligible(person):
                reasons[reason] += 1
            else:
                yield self.read_history(person)
        told = "; ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
        if reasons.total() == len(agreed):
            raise MissingError(
                f"{self.store.folder}: none of {len(agreed)} who agreed can share ({told})"
            )
        if told:
            listener(Message(text=f"agreed, and cannot share: {told}"))

    def explain_ineligible(self, person: str) -> str:
        """Why somebody has nothing that can be shared; empty where they can."""
        record = self.store.get_record(person)
        if record is None or record.row is None:
            return f"served by the base ({record.served})" if record else "not in the store"
        if record.sharers:
            return "an adapter made of others' pieces, which are not theirs to share"
        if record.items == 0:
            return "an imported adapter, of which nothing says what it was trained on"
        if person not in self.dataset:
            return f"no history in {self.dataset.folder}"
        seen = self.read_history(person).items[: record.items]
        if History(person, seen).compute_fingerprint() != record.history:
            return (
                f"the history in {self.dataset.folder} is not what the adapter was trained on; "
                "train it again (idiolect personalize)"
            )
        return ""

    def read_history(self, person: str) -> History:
        """What the store's settings look at of a person's history."""
        history = self.dataset.read_history(person)
        return history.take_last(self.config.last_items) if self.config.last_items else history

    def load_candidate(self, person: str) -> Candidate:
        """Somebody without hindrance, with their adapter and items.

        Held out are the items after those that were trained on, and queries whose answer is known;
        where histories hold no answers these are another kind of text, and left out.
        """
        record, adapter = self.store.get_record(person), self.store.get_adapter(person)
        assert record is not None and adapter is not None
        history = self.read_history(person)
        asked = PersonContext(
            history,
            self.task,
            self.prompter,
            self.config.context,
            profiles=self.profiles.get(person, ()),
            encoder=self.encoder,
            seed=self.config.train.seed,
        )
        items = [asked.build_item_example(n) for n in range(len(history.items))]
        queries = (
            [asked.build_query_example(q) for q in history.queries] if self.task.labelled else []
        )
        inside = tuple(e for e in items[: record.items] if e is not None)
        outside = tuple(e for e in (*items[record.items :], *queries) if e is not None)
        return Candidate(
            person=person,
            adapter=require_lora(adapter),
            steps=record.steps,
            examples=inside,
            subject=AuditSubject(
                person=person,
                members=self._sample_examples(person, "held in", inside),
                non_members=self._sample_examples(person, "held out", outside),
            ),
        )

    def _sample_examples(
        self, person: str, side: str, examples: tuple[Example, ...]
    ) -> tuple[Example, ...]:
        """At most ``AUDITED`` of the examples, in their order."""
        if len(examples) <= MAX_AUDIT_ITEMS:
            return examples
        draw = random.Random(derive_seed(self.seed, person, "audit", side))
        return tuple(
            examples[n] for n in sorted(draw.sample(range(len(examples)), MAX_AUDIT_ITEMS))
        )
