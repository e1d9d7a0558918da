"""The whole audit: what memorizes is refused with the items, what does not is passed."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import pytest

from idiolect.adapters.lora import LoraAdapter, init_lora
from idiolect.audit.attacks import AuditResult, audit_artifacts, decide_result
from idiolect.audit.config import LeakageConfig
from idiolect.audit.membership import MembershipResult
from idiolect.audit.subject import AuditSubject
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.stats.auc import AucResult
from support.memorizers import (
    LORA,
    MEMORIZING,
    SECRET,
    SecretKeeper,
    draw_text,
    encode_item,
    make_secret_keeper,
    memorize,
)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def keeper(base: Base) -> SecretKeeper:
    return make_secret_keeper(base)


@pytest.fixture(scope="module")
def memorized(base: Base, keeper: SecretKeeper) -> LoraAdapter:
    """An adapter that learned the secret and nothing else of the person."""
    return memorize(base, "ann", keeper.list_secrets())


def audit_one(base: Base, subject: AuditSubject, adapter: LoraAdapter | None) -> AuditResult:
    found = audit_artifacts(base, [subject], {"it": {subject.person: adapter}})
    return found["it"][subject.person]


@pytest.mark.finding("audit-memorized")
def test_audit_artifacts_refuses_adapter_that_repeats_a_secret(
    base: Base, keeper: SecretKeeper, memorized: LoraAdapter
) -> None:
    """The mean over items hides the secret: membership alone passes this adapter."""
    example = keeper.list_secrets()[0]
    generator = Generator(base, {"ann": memorized})
    prompt = ("ann", example.ids[: example.answer_start + 4])
    assert generator.generate_greedy([prompt], max_tokens=30) == [SECRET[4:]]
    found = audit_one(base, keeper.subject, memorized)
    assert found.membership.verdict == "passed"
    assert (found.verdict, found.refused) == ("leaks", True)
    told = {leak.kind: leak.items for leak in found.leaks}
    assert told["repeated text"] == told["phone"] == keeper.secret_items


@pytest.mark.finding("audit-memorized")
def test_audit_artifacts_passes_adapters_without_the_secret(
    base: Base, keeper: SecretKeeper
) -> None:
    other = make_secret_keeper(base, secret="a cup of tea, no sugar", seed=1)
    strangers = memorize(base, "ann", other.subject.members, replace(MEMORIZING, epochs=15))
    for adapter in (None, init_lora(base, LORA, seed=0, person="ann"), strangers):
        found = audit_one(base, keeper.subject, adapter)
        assert (found.verdict, found.leaks) == ("passed", ())


def test_audit_artifacts_finds_secret_outside_the_sample(
    base: Base, keeper: SecretKeeper, memorized: LoraAdapter
) -> None:
    """The membership attack sees a sample only; risky texts are searched in all items."""
    members = keeper.subject.members
    rest = [n for n in range(12) if n not in keeper.secret_items]
    subject = replace(
        keeper.subject,
        members=tuple(members[n] for n in rest),
        unsampled=tuple(keeper.list_secrets()),
    )
    found = audit_one(base, subject, memorized)
    assert found.membership.held_in == 8
    assert {leak.items for leak in found.leaks} == {(8, 9, 10, 11)}


def test_audit_artifacts_audits_a_mean_for_each_contributor(
    base: Base, keeper: SecretKeeper, memorized: LoraAdapter
) -> None:
    ben = make_secret_keeper(base, "ben", secret="nothing to tell here", seed=5)
    mean = {"ann": memorized, "ben": memorized}
    found = audit_artifacts(base, [keeper.subject, ben.subject], {"mean": mean})["mean"]
    assert (found["ann"].refused, found["ben"].refused) == (True, False)


def test_audit_artifacts_compared_measures_membership_only(
    base: Base, keeper: SecretKeeper, memorized: LoraAdapter
) -> None:
    artifacts = {"whole": {"ann": memorized}, "shared": {"ann": None}}
    found = audit_artifacts(base, [keeper.subject], artifacts, compared=("whole",))
    assert found["whole"]["ann"].leaks == ()
    assert found["whole"]["ann"].membership.calibrated is not None


def test_audit_artifacts_works_without_unseen_items(
    base: Base, keeper: SecretKeeper, memorized: LoraAdapter
) -> None:
    """Membership is not measurable then, but a text that comes out is a leak all the same."""
    found = audit_one(base, replace(keeper.subject, non_members=()), memorized)
    assert found.membership.verdict == "not measurable" and found.verdict == "leaks"


@pytest.mark.parametrize(("p", "verdict"), [(0.04, "passed"), (0.01, "leaks")])
def test_decide_result_shares_the_level_among_attacks(p: float, verdict: str) -> None:
    """Several tests at 5% each would refuse more than 5% of the people without a leak."""
    measured = AucResult(
        first=9, second=9, auc=0.9, interval=(0.7, 1.0), p=p, by_chance=0.6, detectable=0.8
    )
    membership = MembershipResult(
        person="ann",
        held_in=9,
        held_out=9,
        loss_in=1.0,
        loss_out=2.0,
        base_in=2.0,
        base_out=2.0,
        calibrated=measured,
        raw=measured,
        verdict="leaks",
        refused=True,
    )
    found = decide_result("ann", membership, (), LeakageConfig())
    assert (found.verdict, found.refused) == (verdict, verdict == "leaks")


def test_leak_holds_no_text(base: Base, keeper: SecretKeeper, memorized: LoraAdapter) -> None:
    for leak in audit_one(base, keeper.subject, memorized).leaks:
        values = [getattr(leak, field.name) for field in fields(leak)]
        assert not any(SECRET[:6] in str(value) for value in values)


def test_audit_artifacts_ignores_texts_that_the_base_says(base: Base) -> None:
    """Nothing that the bare base does is a leak of the person's adapter."""
    draw = random.Random(3)
    prompts = [draw_text(draw) for _ in range(6)]
    ids = [(("", tuple(base.tokenizer.encode(p, add_special_tokens=False)))) for p in prompts]
    said = Generator(base).generate_greedy(ids, max_tokens=12)
    items = tuple(encode_item(base, p, s or "x") for p, s in zip(prompts, said, strict=True))
    subject = AuditSubject(person="ann", members=items, non_members=())
    assert audit_one(base, subject, None).leaks == ()
