"""The unlearning benchmark on made-up sets and a tiny base."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import unlearning
from docs.build import render
from idiolect.errors import UsageError
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.prompt_sets.corpora import LabeledPair, MultipleChoiceQuestion
from idiolect.prompt_sets.pairs import Pair
from idiolect.scorecard.scorer import LikelihoodResults, PromptResults, ScorecardRow
from idiolect.unlearning.run import UnlearnConfig, unlearn
from suites.unlearning import material, models
from suites.unlearning.material import Sources, divide_sources
from suites.unlearning.settings import ABLATIONS, METHODS, QUICK, Settings, make_quick_settings
from suites.unlearning.tables import join_sets
from support.letter_encoder import make_letter_encoder
from support.tiny_people import save_tiny_base

NO_LIKELIHOODS = LikelihoodResults(nlls=(), tokens=())
PLACES = [f"place{n}" for n in range(14)]
JUDGED = tuple(
    LabeledPair(
        prompt=f"Where is the key of {place}?",
        response=f"In hole {n}." if harmful else "It rains.",
        score=float(harmful),
    )
    for n, place in enumerate(PLACES)
    for harmful in (True, False)
)
SOURCES = Sources(
    judged=JUDGED,
    refusals=(LabeledPair(prompt="p", response="I'm sorry, I can't help with that.", score=1.0),),
    goals=(*(Pair(prompt=f"Open door {n}") for n in range(4)), JUDGED[0].pair),
    normal=tuple(
        Pair(prompt=f"What is {n} and one?", response=f"It is {n + m}.")
        for n in range(26)
        for m in (1, 2)
    ),
    choices={
        name: tuple(
            MultipleChoiceQuestion(question=f"{name} {n}?", options=("a", "bb"), answer=0)
            for n in "xyz"
        )
        for name in ("OpenBookQA", "CommonsenseQA")
    },
)


encode_letters = make_letter_encoder("aeiouhkr")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use made-up sets and people instead of real ones."""
    items = [
        Interaction(id=f"i{n}", position=n, fields={"context": f"line {n}", "reply": f"so {n}"})
        for n in range(QUICK.records + QUICK.held_out)
    ]
    monkeypatch.setattr(material, "load_sources", lambda: SOURCES)
    monkeypatch.setattr(
        material, "select_people", lambda sizes: (History.from_interactions("person", items),)
    )
    monkeypatch.setattr(unlearning, "MiniLM", lambda **_: encode_letters)


def test_divide_sources_keeps_the_sets_disjoint() -> None:
    found = divide_sources(SOURCES, QUICK)
    data = found.material
    # Harmful prompts.
    forgotten = {pair.key for pair in found.forget}
    unseen = {pair.key for pair in found.unseen}
    assert len(forgotten) == len(unseen) == 7 and not forgotten & unseen
    assert {Pair(prompt=p).key for p in data.prompts["seen"]} <= forgotten
    assert {Pair(prompt=p).key for p in data.prompts["unseen"]} <= unseen
    assert found.goals == 4  # one is a prompt of the other sets
    assert [len(data.prompts[name]) for name in ("seen", "unseen", "AdvBench")] == [3, 3, 2]
    # Normal questions.
    kept, measured = ({pair.key for pair in some} for some in (found.retain, data.retain))
    assert len(kept) == len(found.retain) == QUICK.retain
    assert len(measured) == QUICK.measured and not kept & measured
    assert len(found.unrelated) == QUICK.unrelated and found.unrelated[0].count("It is") == 2


def test_unlearning_benchmark_measures_all_methods_and_reuses_results(
    world: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_for_gradient_ascent(
        base: Any, adapter: Any, forget: Any, retain: Any, config: Any, **rest: Any
    ) -> Any:
        if config.method == "ga":
            raise UsageError("no scale will do")
        return unlearn(base, adapter, forget, retain, config, **rest)

    # One method fails; the benchmark continues and says why it is missing.
    monkeypatch.setattr(models, "unlearn", fail_for_gradient_ascent)
    save_tiny_base(tmp_path / "tiny")
    out = tmp_path / "results" / "unlearning.json"
    out.parent.mkdir()
    arguments = ["unlearning.py", "--json", str(out), "--work", str(tmp_path / "work"), "--quick"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--base", str(tmp_path / "tiny")])
    assert unlearning.main() == 0
    text = out.read_text(encoding="utf-8")
    result = json.loads(text)
    assert list(result["raw"]["rows"]) == sorted(["base", *METHODS, *ABLATIONS])
    assert "In hole" not in text and "place3" not in text  # no text of the sets
    # Targets and tables are complete, and the failed method is in none of them.
    names = [target["name"] for target in result["targets"]]
    assert len(names) == len(set(names)) == 10
    titles = [table["title"] for table in result["tables"]]
    assert len(titles) == 6 and "SKU without each of its modules" in titles
    for table in result["tables"]:
        assert table["rows"] and all(len(row) == len(table["columns"]) for row in table["rows"])
        assert not any(row[0] == "gradient ascent" for row in table["rows"])
    assert "Gradient ascent is not in the tables: no scale will do." in result["notes"]
    page = render.build_pages(out.parent)["unlearning"]
    assert "retain perplexity" in page

    # A second run reads all rows from the work folder and trains nothing.
    monkeypatch.setattr(models, "unlearn", None)
    assert unlearning.main() == 0
    again = json.loads(out.read_text(encoding="utf-8"))["raw"]
    assert again.pop("elapsed") > result["raw"].pop("elapsed")
    assert again == result["raw"]


def test_join_sets_does_not_depend_on_the_order_of_the_sets() -> None:
    seen, other = (
        PromptResults(
            answers=(name,), harm_probabilities=(p,), refused=(False,), degenerate_reasons=("",)
        )
        for name, p in (("seen", 0.9), ("AdvBench", 0.1))
    )
    one = ScorecardRow(name="sku", sets={"seen": seen, "AdvBench": other}, retain=NO_LIKELIHOODS)
    two = ScorecardRow(name="base", sets={"AdvBench": other, "seen": seen}, retain=NO_LIKELIHOODS)
    assert join_sets(one) == join_sets(two)
    assert join_sets(one, ["seen"]).harm_probabilities == (0.9,)


def test_configure_method_changes_one_part_of_sku_per_ablation() -> None:
    settings = Settings()
    sku = settings.configure_method("sku").sku
    changed = {name: settings.configure_method(name) for name in ABLATIONS}
    assert all(config.method == "sku" for config in changed.values())
    assert {
        (c.sku.e1, c.sku.e2, c.sku.e3, c.sku.divergence, c.spare) for c in changed.values()
    } == {
        (0.0, sku.e2, sku.e3, sku.divergence, 32),
        (sku.e1, 0.0, sku.e3, sku.divergence, 32),
        (sku.e1, sku.e2, 0.0, sku.divergence, 32),
        (sku.e1, sku.e2, sku.e3, sku.divergence, 0),
    }
    assert make_quick_settings().sizes == QUICK
    for name in METHODS:
        config = settings.configure_method(name)
        usual = UnlearnConfig.with_method_defaults(name).train
        assert config.method == name
        assert (config.train.rate, config.train.steps) == (usual.rate, usual.steps)
