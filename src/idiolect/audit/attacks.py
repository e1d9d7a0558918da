"""The audit: all attacks on an artifact, for many people at once, and the decision.

Each attack works item by item and by itself refuses an artifact. A pass means that these attacks
found nothing, not that no attack would. This module depends on adapters and examples, not on pools,
ledgers or files, so it audits whatever reaches other people: pieces, assembled adapters, means.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from idiolect.adapters.protocol import Adapter
from idiolect.audit.canaries import find_exposed_strings
from idiolect.audit.config import LeakageConfig, Verdict
from idiolect.audit.extraction import find_extractable_texts
from idiolect.audit.generation import find_generated_texts
from idiolect.audit.item_losses import find_outlying_texts
from idiolect.audit.leak import Leak
from idiolect.audit.membership import MembershipResult, evaluate
from idiolect.audit.plan import AuditPlan
from idiolect.audit.subject import AuditSubject
from idiolect.audit.traces import Attacked, ItemTrace, TokenLosses, compute_token_losses
from idiolect.errors import UsageError
from idiolect.inference.scoring import PersonExample
from idiolect.models.base import Base
from idiolect.prompts.render import Example

Artifacts = Mapping[str, Mapping[str, Adapter | None]]
"""By name of the artifact and person: the adapter on which the person's items are tested."""

_PEOPLE_PER_STACK = 32
"""People whose adapters are stacked at once: 0.2 GB at rank 8 on the default base."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What all attacks on one artifact found about one person."""

    person: str
    membership: MembershipResult
    leaks: tuple[Leak, ...]
    """What the attacks on single items found."""

    verdict: Verdict
    """``leaks`` if any attack found something. Membership must be significant at the level of one
    attack of several."""
    refused: bool
    """Whether the artifact must not be shared."""


def decide_result(
    person: str, membership: MembershipResult, leaks: Sequence[Leak], config: LeakageConfig
) -> AuditResult:
    """Return the result of all attacks with the decision."""
    verdict = membership.verdict
    measured = membership.calibrated
    # Alone, the membership attack has the whole level; here it shares it with others.
    if verdict == "leaks" and measured is not None and measured.p >= config.attack_level:
        verdict = "passed"
    verdict = "leaks" if leaks else verdict
    return AuditResult(
        person=person,
        membership=membership,
        leaks=tuple(leaks),
        verdict=verdict,
        refused=config.is_refused(verdict),
    )


def audit_artifacts(
    base: Base,
    subjects: Sequence[AuditSubject],
    artifacts: Artifacts,
    config: LeakageConfig | None = None,
    *,
    compared: Collection[str] = (),
    forward_tokens: int = 1024,
) -> dict[str, dict[str, AuditResult]]:
    """Attack each artifact for each person; returns results by artifact name and person.

    An artifact maps people to the adapter on which their items are tested: their own, the shared
    part of it (zeros elsewhere), one that was assembled for another person, or a mean of many. None
    is the bare base; people it does not contain are not tested. The base runs over all items once
    for all artifacts, and each artifact runs for many people at once. The artifacts in ``compared``
    stay where they are: only their membership is measured. Raises UsageError for people without
    items or given twice, IntegrityError if a loss is not finite, and as
    ``Adapter.check_matches_base``.
    """
    config = config or LeakageConfig()
    # Check all input before the first forward.
    known = {subject.person: subject for subject in subjects}
    if len(known) < len(subjects):
        raise UsageError("audit: a person is given twice; give each person's items once")
    strangers = {person for people in artifacts.values() for person in people} - set(known)
    if strangers:
        raise UsageError(f"audit: no items of {min(strangers)!r} to test the adapter on")
    out: dict[str, dict[str, AuditResult]] = {name: {} for name in artifacts}
    for start in range(0, len(subjects), _PEOPLE_PER_STACK):
        group = _Group(base, subjects[start : start + _PEOPLE_PER_STACK], config, forward_tokens)
        for name, people in artifacts.items():
            out[name] |= group.attack_artifact(name, people, everything=name not in compared)
    return out


class _Group:
    """Some people with their plans, and the base's losses of their items."""

    def __init__(
        self,
        base: Base,
        subjects: Sequence[AuditSubject],
        config: LeakageConfig,
        forward_tokens: int,
    ) -> None:
        self.base, self.config, self.forward_tokens = base, config, forward_tokens
        self.plans = [AuditPlan(subject, base.tokenizer) for subject in subjects]
        # Each different item of a person runs once, however often they wrote it.
        self.rows: list[PersonExample] = [
            (plan.subject.person, example)
            for plan in self.plans
            for example in dict.fromkeys((*plan.list_traced(), *plan.subject.non_members))
        ]
        self.plain = self._compute_losses({}, "the base")

    def _compute_losses(
        self, adapters: Mapping[str, Adapter], name: str
    ) -> dict[PersonExample, TokenLosses]:
        losses = compute_token_losses(
            self.base, self.rows, adapters, forward_tokens=self.forward_tokens, name=name
        )
        return dict(zip(self.rows, losses, strict=True))

    def attack_artifact(
        self, name: str, people: Mapping[str, Adapter | None], *, everything: bool
    ) -> dict[str, AuditResult]:
        """Return the results of the people that the artifact names."""
        plans = [plan for plan in self.plans if plan.subject.person in people]
        adapters = {
            plan.subject.person: adapter
            for plan in plans
            if (adapter := people[plan.subject.person]) is not None
        }
        found = self._compute_losses(adapters, name) if adapters else self.plain

        def trace_item(person: str, example: Example) -> ItemTrace:
            row = (person, example)
            return ItemTrace(example=example, base=self.plain[row], found=found[row])

        members: dict[str, MembershipResult] = {}
        leaks: dict[str, list[Leak]] = {}
        attacked: list[Attacked] = []
        # The attacks that need only the losses.
        for plan in plans:
            subject, person = plan.subject, plan.subject.person
            inside, outside = (
                [trace_item(person, example) for example in part]
                for part in subject.split_members()
            )
            losses = [(trace.base.mean, trace.found.mean) for trace in (*inside, *outside)]
            members[person] = evaluate(subject, losses, self.config)
            leaks[person] = []
            if everything:
                trained = subject.trained_items
                traces = {item: trace_item(person, trained[item]) for item in plan.traced_items}
                attacked.append(Attacked(plan=plan, traces=traces, adapter=people[person]))
                leaks[person] += find_extractable_texts(plan, traces, self.config)
                leaks[person] += find_outlying_texts(plan, traces, outside, self.config)
        # The attacks with forwards of their own. The slow one runs only where none found anything.
        for person, more in find_generated_texts(self.base, attacked, self.config).items():
            leaks[person] += more
        undecided = [one for one in attacked if not leaks[one.plan.subject.person]]
        for person, more in find_exposed_strings(
            self.base, undecided, self.config, forward_tokens=self.forward_tokens
        ).items():
            leaks[person] += more
        return {
            person: decide_result(person, found, leaks[person], self.config)
            for person, found in members.items()
        }
