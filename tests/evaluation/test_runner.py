"""Complete experiments on tiny histories: all methods on the same queries, with cached parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import MismatchError, UsageError
from idiolect.evaluation import runner as running
from idiolect.evaluation.experiment import ExperimentConfig, require_unseen, run_experiment
from idiolect.evaluation.methods import per_person_baselines, select_methods
from idiolect.evaluation.results import Answer, Comparison, MethodRun
from idiolect.evaluation.runner import EvaluateConfig, EvaluationRunner, ensure_queries
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.inference.generator import Generator
from idiolect.inference.profile_writer import ModelProfileWriter
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.tasks.registry import get_task
from idiolect.training import adapt_base as adapting
from idiolect.training.adapt_base import AdaptConfig, read_contributors
from idiolect.training.runs import personalize as personalizing
from idiolect.training.schedule import TrainConfig
from support.tiny_people import ENGINE, GATED, LORA, RATING, UNGATED, make_rater, save_tiny_base

ALL = ("base", "rag", "full-history", "pag", "oppu", "oppu+rag", "oppu+pag")
TESTED = [
    make_rater("ann", 12),
    make_rater("bob", 16),
    make_rater("cy", 9),
    make_rater("few", 6),
    make_rater("short", 3),
]
OTHERS = [make_rater(f"o{n}", 6) for n in range(4)]
CONFIG = ExperimentConfig(
    evaluate=EvaluateConfig(
        methods=ALL, personal=GATED, k=2, queries=2, dtype="float32", device="cpu"
    ),
    adapt=AdaptConfig(
        lora=LORA,
        train=TrainConfig(batch=8, epochs=1, rate=0.02),
        most_items=12,
        dtype="float32",
        device="cpu",
    ),
    context_items=6,
    engine=ENGINE,
)
PLAIN = replace(CONFIG, adapt=None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def base(place: Path) -> Base:
    return save_tiny_base(place / "base")


@pytest.fixture(scope="module")
def comparison(base: Base, place: Path) -> Comparison:
    return run(base, place / "work")


def run(base: Base, work: Path, config: ExperimentConfig = CONFIG) -> Comparison:
    return run_experiment(base, RATING, TESTED, OTHERS, config, work, dataset="tiny")


def group_by_method(comparison: Comparison) -> dict[str, MethodRun]:
    return {run.method: run for run in comparison.runs}


def test_run_experiment_asks_all_methods_the_same_queries(comparison: Comparison) -> None:
    gated = [f"{name} (gated)" for name in ALL if name.startswith("oppu")]
    assert set(group_by_method(comparison)) == {"person-mean", "person-median", *ALL, *gated}
    asked = [(a.person, a.query, a.gold, a.prompt) for a in comparison.runs[0].answers]
    assert len(asked) == 2 + 2 + 2 + 1  # a quarter of "few", none of "short"
    assert [a[2] for a in asked[:2]] == [i.fields["rating"] for i in TESTED[0].items[-2:]]
    for one in comparison.runs:
        assert [(a.person, a.query, a.gold, a.prompt) for a in one.answers] == asked
    assert comparison.seeds == (0,) and comparison.dataset == "tiny" and comparison.task == "rating"
    assert "task-adapted to film rating on 4 other people" in comparison.base


def test_run_experiment_records_choices_and_likelihoods(comparison: Comparison) -> None:
    for one in comparison.runs[2:]:
        for a in one.answers:
            assert a.text in RATING.choices
            assert sum(a.choice_probabilities) == pytest.approx(1)
            assert a.gold_nll is not None and a.gold_nll > 0 and a.gold_tokens == 2
    assert len({tuple(a.gold_nll for a in r.answers) for r in comparison.runs[2:]}) >= len(ALL)


def test_run_experiment_records_training_costs_and_curves(comparison: Comparison) -> None:
    runs = group_by_method(comparison)
    for name in ALL:
        trained = name.startswith("oppu")
        assert (runs[name].train_tokens > 0) == trained
        assert (runs[name].train_seconds > 0) == trained
        assert (runs[name].bytes_per_person > 0) == trained
    assert [c.name for c in comparison.curves] == ["oppu", "oppu+rag", "oppu+pag"]
    assert all(len(c.steps) == len(c.losses) > 0 for c in comparison.curves)


def test_gated_run_uses_base_answers_for_rejected_adapters(comparison: Comparison) -> None:
    runs = group_by_method(comparison)
    for with_adapter, without in (("oppu", "base"), ("oppu+rag", "rag"), ("oppu+pag", "pag")):
        own, gated = runs[with_adapter], runs[f"{with_adapter} (gated)"]
        assert set(own.served_by_base) == {"few"}  # too few items left to train on
        assert set(own.served_by_base) <= set(gated.served_by_base)
        triples = zip(gated.answers, own.answers, runs[without].answers, strict=True)
        for answer, personal, bare in triples:
            assert answer == (bare if answer.person in gated.served_by_base else personal)


def test_run_experiment_adapts_bases_on_other_people_only(
    comparison: Comparison, place: Path
) -> None:
    folders = sorted((place / "work").glob("base-*"))
    assert len(folders) == 3  # plain, with retrieval, with profiles
    for folder in folders:
        people = read_contributors(load_base(folder, dtype="float32", device="cpu"))
        assert people and set(people) <= {h.person for h in OTHERS}


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, answering and writing profiles fail the test."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    for module in (personalizing, adapting):
        monkeypatch.setattr(module, "train_many", fail)
    for name in ("score_choices", "generate_greedy", "compute_likelihoods"):
        monkeypatch.setattr(Generator, name, fail)
    monkeypatch.setattr(ModelProfileWriter, "__call__", fail)


@pytest.mark.usefixtures("no_work")
def test_run_experiment_reuses_all_finished_parts(
    comparison: Comparison, base: Base, place: Path
) -> None:
    assert run(base, place / "work") == comparison


def test_run_experiment_replaces_damaged_cached_answers(base: Base, tmp_path: Path) -> None:
    config = replace(PLAIN, evaluate=replace(PLAIN.evaluate, methods=("base",)))
    first = run(base, tmp_path, config)
    (file,) = (tmp_path / "answers").iterdir()
    file.write_text(file.read_text().replace('"text": "', '"text": "1'))
    again = run(base, tmp_path, config)
    assert again.runs[-1].answers == first.runs[-1].answers


def test_run_experiment_resumes_after_interruption(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comparison: Comparison
) -> None:
    """The run is interrupted while it answers; its trained adapters are used again."""

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    config = replace(CONFIG, evaluate=replace(CONFIG.evaluate, methods=("oppu",)))
    with monkeypatch.context() as patch:
        patch.setattr(running, "answer_questions", stop)
        with pytest.raises(KeyboardInterrupt):
            run(base, tmp_path, config)
    monkeypatch.setattr(personalizing, "train_many", stop)
    assert (
        group_by_method(run(base, tmp_path, config))["oppu"].answers
        == group_by_method(comparison)["oppu"].answers
    )


def test_run_experiment_answers_do_not_depend_on_other_people(
    base: Base, tmp_path: Path, comparison: Comparison
) -> None:
    """Invariant 2: results for a person do not depend on the other people of the run."""
    config = replace(CONFIG, evaluate=replace(CONFIG.evaluate, methods=("oppu",)))
    alone = run_experiment(base, RATING, TESTED[1:2], OTHERS, config, tmp_path, dataset="tiny")
    together = [a for a in group_by_method(comparison)["oppu"].answers if a.person == "bob"]
    for one, other in zip(group_by_method(alone)["oppu"].answers, together, strict=True):
        assert one.query == other.query
        assert one.gold_nll == pytest.approx(other.gold_nll, abs=1e-3)


def test_compare_methods_handles_free_text_without_gate(base: Base, tmp_path: Path) -> None:
    titles = get_task("lamp-5")
    papers = [
        Interaction(
            id=f"{n}", position=n, fields={"abstract": f"We count {n} ants.", "title": f"{n} ants"}
        )
        for n in range(9)
    ]
    config = EvaluateConfig(methods=("base", "oppu"), personal=UNGATED, queries=2)
    runner = EvaluationRunner({"plain": base}, titles, config, tmp_path, engine=ENGINE)
    comparison = runner.compare_methods(
        [History.from_interactions("ann", papers)], dataset="d", base="b"
    )
    assert [run.method for run in comparison.runs] == ["base", "oppu"]
    for one in comparison.runs:
        assert [(a.query, a.gold) for a in one.answers] == [("7", "7 ants"), ("8", "8 ants")]
        assert all(a.gold_nll and a.choice_probabilities == () for a in one.answers)
    one, other = ([a.gold_nll for a in run.answers] for run in comparison.runs)
    assert one != other


def test_compare_methods_without_queries_raises(base: Base, tmp_path: Path) -> None:
    runner = EvaluationRunner({"plain": base}, RATING, CONFIG.evaluate, tmp_path)
    with pytest.raises(UsageError, match="tiny: no person has a query with a known answer"):
        runner.compare_methods(TESTED[-1:], dataset="tiny", base="b")
    with pytest.raises(UsageError, match="queries: must be at least 1"):
        EvaluateConfig(queries=0)


def test_require_unseen_rejects_people_the_base_was_adapted_on(
    base: Base, place: Path, comparison: Comparison
) -> None:
    adapted = load_base(sorted((place / "work").glob("base-*"))[0], dtype="float32", device="cpu")
    require_unseen(adapted, [h.person for h in TESTED])
    require_unseen(base, ["o0"])
    seen = read_contributors(adapted)[0]
    with pytest.raises(MismatchError, match=f"adapted on 1 of the people .* {seen!r}"):
        require_unseen(adapted, ["ann", seen])


def test_select_methods_returns_named_methods_once() -> None:
    assert [m.name for m in select_methods(("oppu", "base", "oppu"), k=3)] == ["oppu", "base"]
    table = {m.name: m for m in select_methods(ALL, k=3)}
    for name, method in table.items():
        assert method.adapter == name.startswith("oppu")
        assert method.context.profile == name.endswith("pag")
        assert method.context.k == (10_000 if name == "full-history" else 3 if "ag" in name else 4)
    with pytest.raises(UsageError, match="unknown method 'opu'; known: base, rag"):
        select_methods(("opu",), k=1)


def list_texts(run: MethodRun) -> Sequence[str]:
    return [a.text for a in run.answers]


def test_per_person_baselines_answer_with_mean_and_median() -> None:
    history = make_rater("ann", 7, rated=lambda n: (1, 1, 2, 5, 5, 3, 4)[n]).hold_out(2)
    unknown = History("new", (), history.queries[:1])
    mean, median = per_person_baselines(RATING, [history, unknown])
    assert (mean.method, median.method) == ("person-mean", "person-median")
    assert list_texts(mean) == ["2.8", "2.8", "3"] and list_texts(median) == ["2", "2", "3"]
    assert [a.gold for a in mean.answers] == ["3", "4", "3"]
    assert isinstance(mean.answers[0], Answer)
    assert per_person_baselines(get_task("lamp-5"), [history]) == ()


def test_ensure_queries_takes_own_queries_or_holds_out_last_items() -> None:
    history = make_rater("ann", 12)
    held = ensure_queries(history, RATING, EvaluateConfig(queries=10))
    assert (len(held.items), held.queries) == (9, history.items[-3:])
    held = ensure_queries(history, RATING, EvaluateConfig(queries=2, most_queries=1))
    assert (held.items, held.queries) == (history.items[:-2], history.items[-2:-1])
    unknown = replace(history.items[0], fields={"title": "Heat"})
    own = replace(history, queries=(unknown, history.items[1]))
    assert ensure_queries(own, RATING, EvaluateConfig(queries=2)) == replace(
        own, queries=history.items[1:2]
    )
    assert ensure_queries(make_rater("b", 3), RATING, EvaluateConfig()).queries == ()
