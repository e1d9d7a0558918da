"""Whose pieces answer harmful prompts more often than the base is not shared, but for a reason."""

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
from idiolect.audit.membership import LeakageConfig
from idiolect.cli.commands.share import show
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.harm import Harm, HarmConfig, not_checked, readable_harm
from idiolect.privacy.ledger import Ledger
from support.sharing_people import CONFIG, LITTLE, Sharers, made

ASKING = replace(CONFIG, harm=HarmConfig(prompts=48), leakage=LeakageConfig(level=1e-9))
"""Leakage refuses nobody: which half of their pieces somebody shares follows from a random
pseudonym, and of so many halves one in twenty is found out by chance."""
HARMLESS = Harm(prompts=48, harmful=20, base_harmful=20, became=2, ceased=2)
HARMFUL = Harm(prompts=48, harmful=32, base_harmful=20, became=12, ceased=0)


@pytest.mark.parametrize(("became", "ceased"), [(0, 0), (5, 0), (12, 3), (3, 12), (40, 8)])
def test_p_is_that_of_the_sign_test(became: int, ceased: int) -> None:
    harm = Harm(prompts=48, harmful=became, base_harmful=ceased, became=became, ceased=ceased)
    if became + ceased:
        told = binomtest(became, became + ceased, alternative="greater").pvalue
        assert harm.p == pytest.approx(told, abs=1e-12)
    else:
        assert harm.p == 1


def test_it_refuses_what_is_both_large_and_no_accident() -> None:
    config = HarmConfig()
    assert HARMFUL.refused(config) and not HARMLESS.refused(config)
    barely = Harm(prompts=48, harmful=5, base_harmful=0, became=5, ceased=0)
    assert barely.refused(config)
    assert not replace(barely, harmful=4, became=4).refused(config), "4 of 48 are not large"
    assert not Harm(prompts=9, harmful=4, base_harmful=0, became=4, ceased=0).refused(config)
    assert not Harm(prompts=48, harmful=9, base_harmful=3, became=20, ceased=14).refused(config)
    assert readable_harm(HARMFUL.figures(config))["verdict"] == "harmful"
    assert readable_harm({}) == {}


@pytest.mark.parametrize(
    "wrong", [{"prompts": 0}, {"answer_tokens": 0}, {"threshold": 1.0}, {"level": -0.1}]
)
def test_a_setting_out_of_range_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"harm.{next(iter(wrong))}"):
        HarmConfig(**wrong)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Sharers:
    return made(tmp_path_factory.mktemp("harm") / "all")


@pytest.fixture
def people(template: Sharers, tmp_path: Path) -> Sharers:
    shutil.copytree(template.folder, tmp_path / "all")
    return Sharers(tmp_path / "all")


class Told:
    """A check that finds what it is told to, and keeps what it was asked."""

    def __init__(self, found: Mapping[str, Harm]) -> None:
        self.found, self.asked = found, dict[str, LoraAdapter]()

    def __call__(
        self, base: Base, adapters: Mapping[str, LoraAdapter], config: HarmConfig
    ) -> Mapping[str, Harm]:
        self.asked |= adapters
        return {name: self.found[name] for name in adapters}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    check = Told({LITTLE[0]: HARMLESS, LITTLE[1]: HARMFUL})
    monkeypatch.setattr("idiolect.judging.harm_check.DefaultHarmCheck", lambda listener: check)
    return check


def test_who_is_harmful_is_left_out_and_told_what_to_do(
    people: Sharers, told: Told, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people.agree(*LITTLE[:2])
    pool = tmp_path / "pool"
    done = people.share(pool, config=replace(ASKING, ratio=0.5))
    assert done.who("shared") == LITTLE[:1] and done.who("harmful") == LITTLE[1:2]
    for asked in told.asked.values():
        given = [path for path, (_, b) in asked.pairs.items() if b.any()]
        assert len(given) == len(Pool.open(pool).sites) / 2, "what is not shared is not asked"
    opened = Pool.open(pool)
    assert opened.record(opened.sharers[0]).about["harm_rise"] == 0
    (refused,) = [e for e in Ledger(people.store / "ledger").of(LITTLE[1]) if "why" in e.details]
    assert (refused.event, refused.details["why"]) == ("refused", "harmful")
    report = json.loads(done.report.read_text())["content"]["people"]
    verdicts = {one["shared"]: one["harm"]["verdict"] for one in report}
    assert verdicts == {True: "passed", False: "harmful"}
    show(done)
    shown = capsys.readouterr().out
    assert "0.67 (+0.25)" in shown and "refused: harmful" in shown
    assert f"idiolect unlearn STORE --person {LITTLE[1]}" in shown and "--override-harm" in shown


def test_an_override_is_kept_with_its_reason(people: Sharers, told: Told, tmp_path: Path) -> None:
    people.agree(*LITTLE[:2])
    done = people.share(tmp_path / "pool", config=ASKING, override_harm=" it is a study ")
    assert done.who("shared") == LITTLE[:1] and done.who("overridden") == LITTLE[1:2]
    reasons = {
        person: Ledger(people.store / "ledger").of(person)[-1].details["harm_overridden"]
        for person in LITTLE[:2]
    }
    assert reasons == {LITTLE[0]: "", LITTLE[1]: "it is a study"}


def test_nothing_is_found_where_nothing_is_checked(people: Sharers, tmp_path: Path) -> None:
    people.agree(LITTLE[0])
    done = people.share(tmp_path / "pool")
    assert done.who("shared") == LITTLE[:1]
    assert "harm_prompts" not in done.findings[0].about
    assert not_checked(None, {}, HarmConfig()) == {}  # type: ignore[arg-type]
