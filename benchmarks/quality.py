"""Quality: personal adapters compared with the task-adapted base and with simple statistics.

    python benchmarks/quality.py --json docs/results/quality.json [--scholarly FOLDER]

Real people: 120 who rate films, 60 who chat, and 30 authors if the folder of an OPPU release of
scholarly titles is given. All files are saved in ``--work``, so that an interrupted run can resume.
``--only`` runs one part; the other parts of the JSON do not change. Parts may run in parallel.
Settings were chosen on other people (purpose "development" of ``evaluation.demo.draw_people``).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from idiolect.adapters.lora import LoraConfig
from idiolect.cli.progress import progress_listener
from idiolect.config import to_plain
from idiolect.evaluation.demo import CHATS, FILMS, DemoTask, draw_people, make_experiment_config
from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.evaluation.experiment import ExperimentConfig, run_experiment
from idiolect.evaluation.reports.report import anonymize_report, build_report
from idiolect.evaluation.results import Comparison
from idiolect.events import Listener
from idiolect.history.history import History
from idiolect.importers.registry import import_histories
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.prompts.render import PromptConfig
from idiolect.storage.files import write_atomic
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig

PEOPLE = 60
TUNING_PEOPLE = 60
"""The number of people that the settings for film ratings were chosen on."""
SEED = 0
MIN_MEDIAN_GAP = 0.055
"""The gain in MAE over a person's own median that a test with 60 people can detect."""


def draw_subject_people(subject: DemoTask, queries: int, last: int, people: int) -> tuple[Any, ...]:
    """Draw the tested people; return them, the other people, and the settings of a study."""
    tested, others = draw_people(subject, people, seed=SEED, last=last)
    config = make_experiment_config(subject, seed=SEED, quick=False)
    return tested, others, replace(config, evaluate=replace(config.evaluate, queries=queries))


def prepare_rating(people: int) -> tuple[Sequence[History], Sequence[History], ExperimentConfig]:
    """Return 120 people with 60 to 250 ratings: the last 80 ratings, of which 20 are queries.

    People that the settings were chosen on are excluded. The base is adapted for ten epochs on the
    other people's ratings: it learns what is known of each film, and adapters learn only taste.
    """
    subject = replace(FILMS, max_items=250)
    tested, others, config = draw_subject_people(subject, 20, 80, 2 * people)
    tuned_on, _ = draw_people(subject, TUNING_PEOPLE, seed=SEED, purpose="development")
    # Exclude the people that settings were chosen on.
    left = {h.person for h in tuned_on}
    assert config.adapt is not None
    evaluate = replace(
        config.evaluate,
        methods=("base", "oppu"),
        personal=limit_to_answers(config.evaluate.personal),
    )
    # A large adapter for the base: rank 32 on attention and MLP.
    adapt = replace(
        config.adapt,
        lora=LoraConfig(
            rank=32,
            alpha=64.0,
            targets=("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        ),
        train=replace(config.adapt.train, epochs=10),
    )
    others = [h for h in others if h.person not in left]
    return tested, others, replace(config, adapt=adapt, evaluate=evaluate)


def limit_to_answers(personal: PersonalConfig) -> PersonalConfig:
    """Return settings for adapters that act on answers only, which overfit less on other people."""
    return replace(personal, lora=replace(personal.lora, active="answer"))


def prepare_reply(people: int) -> tuple[Sequence[History], Sequence[History], ExperimentConfig]:
    """Return 60 people with their last 36 replies; 6 are queries. Without retrieval, for time."""
    tested, others, config = draw_subject_people(CHATS, 6, 36, people)
    return (
        tested,
        others,
        replace(config, evaluate=replace(config.evaluate, methods=("base", "oppu"))),
    )


def prepare_scholarly(
    folder: Path, people: int
) -> tuple[Sequence[History], Sequence[History], ExperimentConfig]:
    """Return 30 authors with all their papers and up to 8 queries, and 130 others for the base.

    The last 20 of the others are excluded, since the settings were chosen on them.
    """
    # The release says who is tested.
    imported = import_histories(folder, format="oppu")
    by_split: dict[str, list[History]] = {"test": [], "other": []}
    for history in imported.histories:
        by_split[imported.splits[history.person]].append(history)
    # Titles need longer prompts than ratings.
    config = make_experiment_config(FILMS, seed=SEED, quick=False)
    prompt = PromptConfig(field_words=96, memory_words=36)
    assert config.adapt is not None
    train = replace(config.adapt.train, epochs=1)
    return (
        by_split["test"][:people],
        by_split["other"][:-20],
        replace(
            config,
            adapt=replace(config.adapt, train=train, prompt=prompt, most_items=1000),
            evaluate=replace(
                config.evaluate,
                methods=("base", "oppu", "rag", "pag"),
                personal=replace(config.evaluate.personal, prompt=prompt),
                k=3,
            ),
        ),
    )


def build_targets(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each target with the value reached, and whether that meets it."""
    out: list[dict[str, Any]] = []
    for task in report["tasks"]:
        for test in task["paired"]:
            if test["method"] != "oppu":
                continue
            # Only comparisons with the base and with the person's own statistics are targets.
            reached = f"{test['gain']:+.3f} {test['metric']}, p = {test['p']:.2g}"
            if test["against"] == "base":
                met = test["gain"] > 0 and test["p"] < 0.05
                name = f"OPPU better than the task-adapted base on {task['title']}"
                goal = "better, paired p < 0.05"
            elif test["against"] in ("person-mean", "person-median"):
                met = test["gain"] >= MIN_MEDIAN_GAP
                own = test["against"].removeprefix("person-")
                name = f"OPPU better than the person's own {own} on {task['title']}"
                goal = f"better by {MIN_MEDIAN_GAP} MAE"
            else:
                continue
            also = test["metric"] == "perplexity" and test["against"] == "base"
            if also and test["metric"] != task["metric"]:
                name += ", perplexity"
            if also or test["metric"] == task["metric"]:
                out.append({"name": name, "target": goal, "reached": reached, "met": bool(met)})
    return out


def main() -> None:
    """Run the parts and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file of the result")
    parser.add_argument("--work", type=Path, default=Path("runs/quality"))
    parser.add_argument("--scholarly", type=Path, help="folder of an OPPU release of LaMP-5")
    parser.add_argument("--only", choices=("rating", "reply", "lamp-5"), action="append")
    parser.add_argument("--people", type=int, default=PEOPLE)
    options = parser.parse_args()
    # Each part is prepared when it runs.
    parts: dict[str, tuple[str, Callable[[], tuple[Any, ...]]]] = {
        "rating": (FILMS.dataset, lambda: prepare_rating(options.people)),
        "reply": (CHATS.dataset, lambda: prepare_reply(options.people)),
    }
    if options.scholarly:
        parts["lamp-5"] = (
            "scholarly titles, OPPU release layout",
            lambda: prepare_scholarly(options.scholarly, min(30, options.people)),
        )
    base = load_base()
    done: list[Comparison] = []
    with progress_listener() as listener:
        for name, (dataset, make) in parts.items():
            if not options.only or name in options.only:
                done.append(run_study_part(base, name, dataset, make, options.work, listener))
    if options.json:
        write_result(options.json, done)


def run_study_part(
    base: Base,
    name: str,
    dataset: str,
    make: Callable[[], tuple[Any, ...]],
    work: Path,
    listener: Listener,
) -> Comparison:
    """Run the study of one task."""
    tested, others, config = make()
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(to_plain(config), indent=1))
    return run_experiment(
        base, get_task(name), tested, others, config, folder, dataset=dataset, listener=listener
    )


def write_result(path: Path, done: Sequence[Comparison]) -> None:
    """Write targets and report, without names and samples, as JSON."""
    report = anonymize_report(
        build_report(done, hardware=describe_hardware(), versions=list_versions(), seed=SEED)
    )
    # Keep the tasks of the file that did not run now.
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))["report"]["tasks"]
        now = {task["task"]: task for task in report["tasks"]}
        kept = {task["task"]: task for task in before}
        report["tasks"] = list((kept | now).values())
    result = {
        "name": "quality",
        "what": "Comparison of methods on the same real people and queries",
        "command": "python benchmarks/quality.py --json docs/results/quality.json "
        "--scholarly FOLDER",
        "seeds": [SEED],
        "targets": build_targets(report),
        "report": report,
    }
    write_atomic(path, json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
