"""Trains adapters of a group of people and audits them; the result is plain numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.protocol import Adapter
from idiolect.audit.attacks import AuditResult, audit_artifacts
from idiolect.audit.leak import ITEM_ATTACKS
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig
from suites.audit.people import SEED, Subject, build_subjects

TRAINING: Mapping[str, TrainConfig] = {
    "secret": TrainConfig(epochs=3, batch=2, seed=SEED),
    "reply": TrainConfig(seed=SEED),
    "other": TrainConfig(seed=SEED),
    "rating": TrainConfig(seed=SEED),
}
"""Training of each kind of people. After 15 or 25 steps with batches of 8, adapters of development
people did not say their secret word for word; after 36 with batches of 2 they did."""
LONGER = replace(TRAINING["secret"], epochs=6)
"""Training of people whose adapter does not say the secret after the first training."""
GROUP_SIZE = 5
"""People who are trained and audited together; the unit of a resumed run."""
_ARTIFACT = "adapter"


def measure_group(base: Base, kind: str, group: int, people: int, purpose: str) -> dict[str, Any]:
    """Train and audit the people of one group; return a row for each and the seconds of both
    audits."""
    subjects = build_subjects(base, kind, people, purpose)[group * GROUP_SIZE :][:GROUP_SIZE]
    return _measure_subjects(base, subjects, TRAINING[kind])


def measure_longer(
    base: Base, rows: Sequence[Mapping[str, Any]], group: int, people: int, purpose: str
) -> dict[str, Any]:
    """Return the rows of a group with secrets; people whose adapter does not say the secret are
    trained for longer, and their rows replaced."""
    subjects = build_subjects(base, "secret", people, purpose)[group * GROUP_SIZE :][:GROUP_SIZE]
    silent = [one for one, row in zip(subjects, rows, strict=True) if not row["says_secret"]]
    again = iter(_measure_subjects(base, silent, LONGER)["rows"] if silent else ())
    return {"rows": [row if row["says_secret"] else next(again) for row in rows]}


def _measure_subjects(
    base: Base, subjects: Sequence[Subject], config: TrainConfig
) -> dict[str, Any]:
    jobs = [TrainingJob(person=one.audited.person, examples=tuple(one.trained)) for one in subjects]
    began = time.perf_counter()
    trained = train_many(base, jobs, LoraConfig(), config)
    training = time.perf_counter() - began
    adapters = {result.person: result.adapter for result in trained}
    said = find_said_secrets(base, subjects, adapters)
    # For the time only: the whole audit gives the membership attack's verdict, too.
    _, membership_seconds = _audit(base, subjects, adapters, membership_only=True)
    found, seconds = _audit(base, subjects, adapters, membership_only=False)
    return {
        "rows": [
            _describe_person(one, found[p], p in said)
            for one in subjects
            for p in (one.audited.person,)
        ],
        "training_seconds": training,
        "membership_seconds": membership_seconds,
        "audit_seconds": seconds,
    }


def find_said_secrets(
    base: Base, subjects: Sequence[Subject], adapters: Mapping[str, Adapter]
) -> set[str]:
    """Return the people whose adapter says their secret word for word.

    It gets a prompt that the person answered with the secret, and the first half of the secret.
    """
    asked: list[tuple[str, tuple[int, ...]]] = []
    wanted: list[str] = []
    for one in subjects:
        for item in one.secret_items:
            example = one.audited.members[item]
            answer = example.ids[example.answer_start : -1]
            half = len(answer) // 2
            asked.append((one.audited.person, example.ids[: example.answer_start + half]))
            wanted.append(str(base.tokenizer.decode([*answer[half:]])).strip())
    if not asked:
        return set()
    answers = Generator(base, adapters).generate_greedy(asked, max_tokens=32)
    return {
        person
        for (person, _), answer, want in zip(asked, answers, wanted, strict=True)
        if answer == want
    }


def _audit(
    base: Base,
    subjects: Sequence[Subject],
    adapters: Mapping[str, Adapter],
    *,
    membership_only: bool,
) -> tuple[Mapping[str, AuditResult], float]:
    began = time.perf_counter()
    found = audit_artifacts(
        base,
        [one.audited for one in subjects],
        {_ARTIFACT: adapters},
        compared=(_ARTIFACT,) if membership_only else (),
    )[_ARTIFACT]
    return found, time.perf_counter() - began


def _describe_person(one: Subject, found: AuditResult, said: bool) -> dict[str, Any]:
    calibrated = found.membership.calibrated
    secret = set(one.secret_items)
    return {
        "says_secret": said,
        "membership_verdict": found.membership.verdict,
        "verdict": found.verdict,
        "auc": None if calibrated is None else round(calibrated.auc, 4),
        "attacks": {
            attack: sum(leak.attack == attack for leak in found.leaks) for attack in ITEM_ATTACKS
        },
        # Whether the audit names the items of the secret, not only some other leak.
        "names_secret": any(secret & {*leak.items} for leak in found.leaks),
        "leaks": [[leak.attack, leak.kind, round(leak.strength, 1)] for leak in found.leaks],
    }
