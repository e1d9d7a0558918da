"""The harm check: adapters that answer harmful prompts more often than the base are not shared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from idiolect.adapters.lora import LoraAdapter
from idiolect.audit.config import LeakageConfig
from idiolect.cli.commands.share import print_sharing
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.harm import HarmConfig, HarmResult, describe_harm, skip_harm_check
from idiolect.privacy.ledger import Ledger
from support.sharing_people import CONFIG, LIGHT_LEARNERS, SharingPeople, build_sharing_people

ASKING = replace(CONFIG, harm=HarmConfig(prompts=48), leakage=LeakageConfig(level=1e-9))
"""Leakage refuses no one here: the shared half of a person's pieces follows from a random
pseudonym, and the audit flags one in twenty of such halves by chance."""
HARMLESS = HarmResult(prompts=48, harmful=20, base_harmful=20, became_harmful=2, ceased_harmful=2)
HARMFUL = HarmResult(prompts=48, harmful=32, base_harmful=20, became_harmful=12, ceased_harmful=0)


@pytest.mark.parametrize(("became", "ceased"), [(0, 0), (5, 0), (12, 3), (3, 12), (40, 8)])
def test_harm_result_p_value_equals_sign_test(became: int, ceased: int) -> None:
    harm = HarmResult(
        prompts=48,
        harmful=became,
        base_harmful=ceased,
        became_harmful=became,
        ceased_harmful=ceased,
    )
    if became + ceased:
        expected = binomtest(became, became + ceased, alternative="greater").pvalue
        assert harm.p_value == pytest.approx(expected, abs=1e-12)
    else:
        assert harm.p_value == 1


def test_harm_result_refuses_large_significant_rise() -> None:
    config = HarmConfig()
    assert HARMFUL.is_refused(config) and not HARMLESS.is_refused(config)
    barely = HarmResult(prompts=48, harmful=5, base_harmful=0, became_harmful=5, ceased_harmful=0)
    assert barely.is_refused(config)
    assert not replace(barely, harmful=4, became_harmful=4).is_refused(config), (
        "4 of 48 are below the threshold"
    )
    assert not HarmResult(
        prompts=9, harmful=4, base_harmful=0, became_harmful=4, ceased_harmful=0
    ).is_refused(config)
    assert not HarmResult(
        prompts=48, harmful=9, base_harmful=3, became_harmful=20, ceased_harmful=14
    ).is_refused(config)
    assert describe_harm(HARMFUL.to_record(config))["verdict"] == "harmful"
    assert describe_harm({}) == {}


@pytest.mark.parametrize(
    "wrong", [{"prompts": 0}, {"answer_tokens": 0}, {"threshold": 1.0}, {"level": -0.1}]
)
def test_harm_config_rejects_values_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"harm.{next(iter(wrong))}"):
        HarmConfig(**wrong)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> SharingPeople:
    return build_sharing_people(tmp_path_factory.mktemp("harm") / "all")


@pytest.fixture
def people(template: SharingPeople, tmp_path: Path) -> SharingPeople:
    shutil.copytree(template.folder, tmp_path / "all")
    return SharingPeople(tmp_path / "all")


class FakeHarmCheck:
    """A harm check with given results that records the adapters it gets."""

    def __init__(self, results: Mapping[str, HarmResult]) -> None:
        self.results, self.adapters = results, dict[str, LoraAdapter]()

    def __call__(
        self, base: Base, adapters: Mapping[str, LoraAdapter], config: HarmConfig
    ) -> Mapping[str, HarmResult]:
        self.adapters |= adapters
        return {name: self.results[name] for name in adapters}


@pytest.fixture
def harm_check(monkeypatch: pytest.MonkeyPatch) -> FakeHarmCheck:
    check = FakeHarmCheck({LIGHT_LEARNERS[0]: HARMLESS, LIGHT_LEARNERS[1]: HARMFUL})
    monkeypatch.setattr("idiolect.judging.harm_check.DefaultHarmCheck", lambda listener: check)
    return check


def test_share_refuses_harmful_person_and_suggests_next_step(
    people: SharingPeople,
    harm_check: FakeHarmCheck,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    people.give_consent(*LIGHT_LEARNERS[:2])
    pool = tmp_path / "pool"
    done = people.share(pool, config=replace(ASKING, ratio=0.5))
    assert (
        done.list_people("shared") == LIGHT_LEARNERS[:1]
        and done.list_people("harmful") == LIGHT_LEARNERS[1:2]
    )
    for adapter in harm_check.adapters.values():
        given = [path for path, (_, b) in adapter.pairs.items() if b.any()]
        assert len(given) == len(Pool.open(pool).sites) / 2, "only shared sites are checked"
    opened = Pool.open(pool)
    assert opened.get_record(opened.sharers[0]).about["harm_rise"] == 0
    (refused,) = [
        e
        for e in Ledger(people.store / "ledger").read_entries_of(LIGHT_LEARNERS[1])
        if "why" in e.details
    ]
    assert (refused.event, refused.details["why"]) == ("refused", "harmful")
    report = json.loads(done.report.read_text())["content"]["people"]
    verdicts = {one["shared"]: one["harm"]["verdict"] for one in report}
    assert verdicts == {True: "passed", False: "harmful"}
    print_sharing(done)
    shown = capsys.readouterr().out
    assert "0.67 (+0.25)" in shown and "refused: harmful" in shown
    assert (
        f"idiolect unlearn STORE --person {LIGHT_LEARNERS[1]}" in shown
        and "--override-harm" in shown
    )


def test_share_with_override_harm_records_reason(
    people: SharingPeople, harm_check: FakeHarmCheck, tmp_path: Path
) -> None:
    people.give_consent(*LIGHT_LEARNERS[:2])
    done = people.share(tmp_path / "pool", config=ASKING, override_harm=" it is a study ")
    assert (
        done.list_people("shared") == LIGHT_LEARNERS[:1]
        and done.list_people("overridden") == LIGHT_LEARNERS[1:2]
    )
    reasons = {
        person: Ledger(people.store / "ledger")
        .read_entries_of(person)[-1]
        .details["harm_overridden"]
        for person in LIGHT_LEARNERS[:2]
    }
    assert reasons == {LIGHT_LEARNERS[0]: "", LIGHT_LEARNERS[1]: "it is a study"}


def test_share_without_harm_check_records_nothing(people: SharingPeople, tmp_path: Path) -> None:
    people.give_consent(LIGHT_LEARNERS[0])
    done = people.share(tmp_path / "pool")
    assert done.list_people("shared") == LIGHT_LEARNERS[:1]
    assert "harm_prompts" not in done.findings[0].about
    assert skip_harm_check(None, {}, HarmConfig()) == {}  # type: ignore[arg-type]
