"""The people, the base and the basis; then the methods, each trained, scored and attacked once.

Results are JSON files in the work folder, so that an interrupted run resumes.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from idiolect import api
from idiolect.adapters.arithmetic.directions import AdapterBasis
from idiolect.adapters.formats.basis import load_basis
from idiolect.adapters.lora import require_lora
from idiolect.adapters.protocol import Adapter
from idiolect.config import derive_seed
from idiolect.evaluation.demo import draw_people, make_experiment_config
from idiolect.events import Listener, Message
from idiolect.history.history import History
from idiolect.history.write import write_dataset
from idiolect.importers.registry import import_histories
from idiolect.models.base import Base
from idiolect.models.device import DtypeName
from idiolect.models.load import load_base
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.storage.files import read_json, write_json
from idiolect.tasks.registry import get_task
from idiolect.training.adapt_base import ExcludedTestSet, adapt_to_task
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.private.noise import DrawNoise, draw_secure_noise
from idiolect.training.private.train_private import train_private
from kit.resumable import ResultCache
from suites.pieces.scoring import HeldOutScorer
from suites.private.attacks import CanaryAttack, MembershipAttack
from suites.private.settings import (
    DONORS,
    LORA,
    PERSONAL,
    PRIVATE,
    SEED,
    TIMED_PEOPLE,
    TIMED_ROUNDS,
    Sizes,
)

TASK = get_task("rating")


class PrivateStudy:
    """The benchmark's work folder, and the methods that are compared in it."""

    def __init__(self, base: str, sizes: Sizes, work: Path, listener: Listener) -> None:
        self.public_base, self.sizes, self.work, self.listener = base, sizes, work, listener
        self.dtype: DtypeName = "float32" if base != "default" else "auto"
        work.mkdir(parents=True, exist_ok=True)
        cause = {"base": base, "sizes": asdict(sizes), "seed": SEED, "private": asdict(PRIVATE)}
        self.cache = ResultCache(work, cause)

    def measure_all(self) -> dict[str, Any]:
        """Train and score all methods; return the raw numbers."""
        own = self.cache.get_or_make("default", self._run_default)
        raw: dict[str, Any] = {
            "base": self.cache.get_or_make("base", lambda: self._score({})),
            "default": own,
            "basis": self.cache.get_or_make("basis", self._describe_basis),
            "mean": self.cache.get_or_make(
                "mean", lambda: self._score(dict.fromkeys(self.people, self.basis.mean))
            ),
            "no noise": self.cache.get_or_make(
                "no-noise", lambda: self._run_private(8.0, draw_nothing)
            ),
        }
        for number, epsilon in enumerate(self.sizes.epsilons):
            draws = self.sizes.draws if number == 0 else 1
            raw[f"epsilon {epsilon:g}"] = [
                self.cache.get_or_make(
                    f"epsilon-{epsilon:g}-{draw}", lambda e=epsilon: self._run_private(e)
                )
                for draw in range(draws)
            ]
        raw["times"] = self.cache.get_or_make("times", self._measure_times)
        raw["canaries"] = self.cache.get_or_make("canaries", self._run_canaries)
        return raw

    # ---- people and base ----

    @cached_property
    def roles(self) -> dict[str, list[str]]:
        """The people by role; no person has two."""
        path = self.work / "people.json"
        if path.is_file():
            return read_json(path)
        sizes = self.sizes
        tested, _ = draw_people(sizes.subject, sizes.people, seed=SEED)
        # The settings were chosen on people of the other half (docs/notes/private.md).
        half, _ = draw_people(
            replace(sizes.subject, min_items=60), 16, seed=SEED, purpose="development", last=80
        )
        used = {h.person for h in (*tested, *half)}
        able = sorted(
            p for p, h in self.histories.items() if p not in used and len(h.items) >= sizes.last
        )
        donors = random.Random(derive_seed(SEED, "donors")).sample(able, sizes.donors)
        roles = {
            "tested": sorted(h.person for h in tested),
            "development": sorted(h.person for h in half),
            "donors": sorted(donors),
        }
        write_json(path, roles)
        return roles

    @cached_property
    def histories(self) -> dict[str, History]:
        """All people of the dataset."""
        return {h.person: h for h in import_histories(format=self.sizes.subject.format).histories}

    @property
    def people(self) -> list[str]:
        """The people who are trained privately."""
        return self.roles["tested"]

    @cached_property
    def base(self) -> Base:
        """The base, adapted on ratings of people without a role."""
        folder = self.work / "base"
        if not folder.exists():
            self.listener(Message(text="adapting the base"))
            chosen = {person for people in self.roles.values() for person in people}
            others = [h for h in self.histories.values() if h.person not in chosen]
            counts = Counter(i.fields["title"] for h in others for i in h.items)
            top = {title for title, _ in counts.most_common(self.sizes.films)}
            others = [
                History(h.person, tuple(i for i in h.items if i.fields["title"] in top))
                for h in others
            ]
            config = make_experiment_config(self.sizes.subject, seed=SEED, quick=False).adapt
            assert config is not None
            kept_out = ExcludedTestSet(TASK, [self.histories[p] for p in chosen])
            public = load_base(self.public_base, dtype=self.dtype)
            adapt_to_task(public, TASK, others, kept_out, folder, config, listener=self.listener)
        return load_base(str(folder), dtype=self.dtype)

    @cached_property
    def examples(self) -> dict[str, tuple[Sequence[Example], Sequence[Example], Sequence[Example]]]:
        """Each person's records to train on, items left out of the same time, and queries."""
        prompter, sizes = PromptRenderer(self.base.tokenizer), self.sizes
        out: dict[str, Any] = {}
        for person in self.people:
            history = self.histories[person].take_last(sizes.last)
            context = PersonContext(history, TASK, prompter, ContextConfig())
            found = [context.build_item_example(n) for n in range(len(history.items))]
            earlier, queries = found[: -sizes.queries], found[-sizes.queries :]
            draw = random.Random(derive_seed(SEED, person, "left out"))
            outside = set(draw.sample(range(len(earlier)), sizes.outside))
            out[person] = (
                [e for n, e in enumerate(earlier) if n not in outside and e is not None],
                [e for n, e in enumerate(earlier) if n in outside and e is not None],
                [e for e in queries if e is not None],
            )
        return out

    # ---- the basis, made with the product's own commands ----

    @cached_property
    def basis(self) -> AdapterBasis:
        """The mean and the directions of the donors who agreed and pass the audit."""
        folder = self.work / "basis"
        if not folder.exists():
            self._make_basis(folder)
        return load_basis(folder, self.base)

    def _make_basis(self, folder: Path) -> None:
        sizes, donors = self.sizes, self.roles["donors"]
        data, store = self.work / "donor-data", self.work / "donors"
        if not data.exists():
            # The last items are queries: the audit needs items outside of training.
            some = [
                self.histories[p].take_last(sizes.items + sizes.queries).hold_out(sizes.queries)
                for p in donors
            ]
            write_dataset(data, some, task=TASK.name, source=sizes.subject.dataset)
        source = str(self.work / "base")
        config = replace(DONORS, dtype=self.dtype)
        api.personalize(
            api.PersonalizeRequest(data=data, store=store, base=source, config=config),
            listener=self.listener,
        )
        api.consent(api.ConsentRequest(store=store, people=donors, scope="mean"))
        # First find out which people the audit refuses, then leave these people out.
        trial = self.work / "basis-of-all"
        if not trial.exists():
            request = api.MeanRequest(
                store=store,
                data=data,
                people=donors,
                out=trial,
                directions=sizes.directions,
                override_leakage="used only if no one is refused",
            )
            found = api.mean(request, listener=self.listener)
            write_json(self.work / "refused.json", list(found.leaking))
        refused = read_json(self.work / "refused.json")
        if not refused:
            trial.rename(folder)
            return
        passed = [person for person in donors if person not in refused]
        request = api.MeanRequest(
            store=store,
            data=data,
            people=passed,
            out=folder,
            directions=min(sizes.directions, len(passed) // 2),
            override_leakage="the audit has passed each of them",
        )
        api.mean(request, listener=self.listener)

    def _describe_basis(self) -> dict[str, Any]:
        refused = len(read_json(self.work / "refused.json")) if self.basis else 0
        donors = len(self.roles["donors"])
        return {"directions": self.basis.count, "donors": donors - refused, "refused": refused}

    # ---- methods ----

    @property
    def jobs(self) -> list[TrainingJob]:
        """One job per person."""
        return [TrainingJob(person=p, examples=tuple(e[0])) for p, e in self.examples.items()]

    def _run_default(self) -> dict[str, Any]:
        """Train as ``personalize`` does by default."""
        trained = train_many(self.base, self.jobs, LORA, PERSONAL.train, listener=self.listener)
        return self._score({t.person: t.adapter for t in trained})

    def _run_private(
        self, epsilon: float, draw_noise: DrawNoise = draw_secure_noise
    ) -> dict[str, Any]:
        """Train privately."""
        config = replace(PRIVATE, epsilon=epsilon)
        trained = train_private(self.base, self.jobs, self.basis, config, draw_noise=draw_noise)
        return self._score({t.person: t.adapter for t in trained})

    def _measure_times(self) -> dict[str, Any]:
        """Measure the seconds of both kinds of training, in turn."""
        jobs, base, basis = self.jobs[:TIMED_PEOPLE], self.base, self.basis
        config = replace(PRIVATE, epsilon=self.sizes.epsilons[0])
        ways: dict[str, Callable[[], object]] = {
            "default": lambda: train_many(base, jobs, LORA, PERSONAL.train),
            "private": lambda: train_private(base, jobs, basis, config),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(TIMED_ROUNDS):
            for name, train in ways.items():
                began = time.monotonic()
                train()
                seconds[name].append(time.monotonic() - began)
        return dict(seconds)

    def _score(self, adapters: Mapping[str, Adapter]) -> dict[str, Any]:
        """Score the queries, and attack membership, with each person's adapter."""
        mine = {p: require_lora(a) for p, a in adapters.items()}
        scores = self.scorer.score_adapters(mine)
        found = {"nats": list(scores.nats), "mae": list(scores.mae)}
        if not mine:
            return found
        # An attacker of a private adapter knows the basis, so its mean is a reference, too.
        losses = self.membership.compute_losses(mine)
        references = {"base": self.base_losses}
        if any(a.config.shared_a for a in mine.values()):
            references["mean"] = self.mean_losses
        return found | {
            "auc": {
                name: self.membership.measure_auc(known, losses)
                for name, known in references.items()
            }
        }

    @cached_property
    def membership(self) -> MembershipAttack:
        """The attack on single records."""
        return MembershipAttack(self.base, self.examples)

    @cached_property
    def base_losses(self) -> dict[str, list[float]]:
        """The loss of each attacked item under the base, by person."""
        return self.membership.compute_losses({})

    @cached_property
    def mean_losses(self) -> dict[str, list[float]]:
        """The same with the mean of the basis."""
        return self.membership.compute_losses(dict.fromkeys(self.people, self.basis.mean))

    @cached_property
    def scorer(self) -> HeldOutScorer:
        """The queries of all people, with the five ratings as choices."""
        prompter = PromptRenderer(self.base.tokenizer)
        choices = [prompter.encode_answer(choice)[0] for choice in TASK.choices]
        asked = {person: examples[2] for person, examples in self.examples.items()}
        return HeldOutScorer(self.base, LORA, asked, choices=choices)

    def _run_canaries(self) -> dict[str, Any]:
        """Plant a canary in some histories, train both ways, and look for it."""
        attack = CanaryAttack(self.base, self.sizes)
        jobs = attack.plant(self.jobs[: self.sizes.canaries])
        default = train_many(self.base, jobs, LORA, PERSONAL.train, listener=self.listener)
        epsilon = self.sizes.epsilons[0]
        config = replace(PRIVATE, epsilon=epsilon)
        private = train_private(self.base, jobs, self.basis, config)
        return {
            "base": attack.search({}),
            "default": attack.search({t.person: t.adapter for t in default}),
            "private": attack.search({t.person: t.adapter for t in private}),
        }


def draw_nothing(count: int, deviation: float) -> Tensor:
    """Return zeros: shows what the directions alone can learn. Not private."""
    return torch.zeros(count, dtype=torch.float64)
