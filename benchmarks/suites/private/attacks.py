"""Attacks on trained adapters: membership of single records, and planted canaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from idiolect.adapters.protocol import Adapter
from idiolect.audit.canaries import make_canaries, measure_canaries
from idiolect.audit.config import LeakageConfig
from idiolect.audit.membership import evaluate
from idiolect.audit.subject import AuditSubject
from idiolect.audit.traces import compute_token_losses
from idiolect.inference.scoring import compute_item_losses
from idiolect.models.base import Base
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.training.jobs import TrainingJob
from suites.private.settings import SEED, Sizes

FORWARD_TOKENS = 1024


def measure_membership(
    base: Base,
    examples: Mapping[str, Sequence[Sequence[Example]]],
    adapters: Mapping[str, Adapter],
    reference: Mapping[str, Adapter],
) -> list[float]:
    """Return the AUC of each person: how well the loss, calibrated by a reference, separates the
    records that were trained on from items of the same time that were left out."""
    out: list[float] = []
    for person in adapters:
        inside, outside, _ = examples[person]
        subject = AuditSubject(person=person, members=inside, non_members=outside)
        rows = [(person, e) for part in subject.split_members() for e in part]
        known = {person: reference[person]} if person in reference else {}
        plain = compute_item_losses(base, rows, known, forward_tokens=FORWARD_TOKENS)
        found = compute_item_losses(
            base, rows, {person: adapters[person]}, forward_tokens=FORWARD_TOKENS
        )
        result = evaluate(subject, list(zip(plain, found, strict=True)), LeakageConfig())
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
