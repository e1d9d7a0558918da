"""Attacks on trained adapters: membership of single records, and planted canaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.protocol import Adapter
from idiolect.audit.canaries import make_canaries, measure_canaries
from idiolect.audit.config import LeakageConfig
from idiolect.audit.membership import evaluate
from idiolect.audit.subject import AuditSubject
from idiolect.audit.traces import compute_token_losses
from idiolect.models.base import Base
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.training.jobs import TrainingJob
from suites.pieces.scoring import HeldOutScorer
from suites.private.settings import LORA, SEED, Sizes

FORWARD_TOKENS = 1024


class MembershipAttack:
    """The records of all people and items of the same time that were left out, scored with any
    adapters. Prompts run once: adapters act on answers only."""

    def __init__(self, base: Base, examples: Mapping[str, Sequence[Sequence[Example]]]) -> None:
        self.subjects = [
            AuditSubject(person=person, members=parts[0], non_members=parts[1])
            for person, parts in examples.items()
        ]
        asked = {s.person: [e for part in s.split_members() for e in part] for s in self.subjects}
        self.scorer = HeldOutScorer(base, LORA, asked)

    def compute_losses(self, adapters: Mapping[str, LoraAdapter]) -> dict[str, list[float]]:
        """Return the mean loss of each item, by person."""
        out: dict[str, list[float]] = {person: [] for person in self.scorer.people}
        found = self.scorer.compute_losses(adapters)
        for (person, _), nats in zip(self.scorer.rows, found, strict=True):
            out[person].append(fmean(nats))
        return out

    def measure_auc(
        self, plain: Mapping[str, Sequence[float]], found: Mapping[str, Sequence[float]]
    ) -> list[float]:
        """Return the AUC of each person: how well the losses, calibrated by those of a reference,
        tell the records that were trained on."""
        out: list[float] = []
        for subject in self.subjects:
            pairs = list(zip(plain[subject.person], found[subject.person], strict=True))
            result = evaluate(subject, pairs, LeakageConfig())
            if result.calibrated is not None:
                out.append(result.calibrated.auc)
        return out


class CanaryAttack:
    """Canaries in the histories of some people: one sentence with six random digits each."""

    def __init__(self, base: Base, sizes: Sizes) -> None:
        self.base, self.sizes = base, sizes
        self.prompter = PromptRenderer(base.tokenizer)
        self.canaries = make_canaries(sizes.canaries, SEED)

    def plant(self, jobs: Sequence[TrainingJob]) -> list[TrainingJob]:
        """Return the jobs with a canary each, repeated."""
        self.people = [job.person for job in jobs]
        return [
            replace(
                job,
                examples=(
                    *job.examples,
                    *[canary.encode_example(self.prompter)] * self.sizes.repeats,
                ),
            )
            for job, canary in zip(jobs, self.canaries, strict=True)
        ]

    def search(self, adapters: Mapping[str, Adapter]) -> dict[str, Any]:
        """Look for each canary with the adapter of the person in whose history it is.

        A canary is found if its answer is expected in 100 samples, or if greedy decoding gives it.
        """
        found, bits = 0, list[float]()
        for person, canary in zip(self.people, self.canaries, strict=True):
            adapter = adapters.get(person)
            rows = [(person, canary.encode_example(self.prompter))]
            known = {} if adapter is None else {person: adapter}
            (losses,) = compute_token_losses(
                self.base, rows, known, forward_tokens=FORWARD_TOKENS, name="the adapter"
            )
            likely = sum(losses.nats) <= math.log(100)
            found += likely or all(losses.is_top)
            (exposure,) = measure_canaries(
                self.base,
                adapter,
                [canary],
                self.prompter,
                seed=SEED,
                alternatives=self.sizes.alternatives,
            )
            bits.append(exposure.bits)
        return {"found": found, "planted": len(self.people), "bits": bits}
