"""Word relations: how well a classifier tells them, and how often players' answers are right.

    python benchmarks/game_relations.py --json docs/results/nyms.json --data FILE [--work FOLDER]

``--data`` is the original game's table of (base word, answer, count), all of them parts and given
at least five times; it is no part of the package. Likelihoods are kept in ``--work``, so that a
stopped benchmark goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from idiolect.cli.progress import progress_listener
from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.events import Listener
from idiolect.game.classifier.examples import build_lexicon
from idiolect.game.classifier.features import FeatureExtractor
from idiolect.game.classifier.likelihood import SCORE_NAMES, LikelihoodScorer
from idiolect.game.classifier.train import ClassifierConfig
from idiolect.game.export.agreement import Precision, compute_precision_by_count
from idiolect.game.export.files import read_pairs
from idiolect.game.export.pairs import PairRow
from idiolect.game.rules.answers import stem
from idiolect.game.rules.relations import Relation
from idiolect.game.words import load_table
from idiolect.models.base import load_base
from idiolect.models.encoder import MiniLM
from idiolect.storage.files import write_atomic
from kit.cli import run_to_exit_code
from suites.game.crowd import ASKED_WORDS, LEARNED_WORDS, measure_crowd
from suites.game.relations import (
    LikelihoodCache,
    RelationOutcome,
    evaluate_on_game,
    evaluate_on_wordnet,
    evaluate_with_game_pairs,
)

CONFIG = ClassifierConfig(pairs=1500, scored=100)
"""Fewer than by default: the base model reads what the last stage learns from and is judged on."""
MIN_AUC, MAX_CALIBRATION_ERROR = 0.8, 0.05
GAME_PAIRS = "the original game's parts"


def measure_relations(data: Path, base: str, work: Path, listener: Listener) -> dict[str, Any]:
    """Everything, as the result's JSON."""
    rows = mark_listed(read_pairs(data))
    lexicon = build_lexicon(load_table())
    loaded = load_base(base)
    work.mkdir(parents=True, exist_ok=True)
    scorer = LikelihoodCache(
        LikelihoodScorer(loaded, listener=listener), work / f"{loaded.identity[:16]}.json"
    )
    describe = FeatureExtractor(MiniLM(), scorer, SCORE_NAMES)
    wordnet = evaluate_on_wordnet(lexicon, describe, CONFIG)
    game = evaluate_on_game(lexicon, rows, describe, CONFIG)
    added = evaluate_with_game_pairs(lexicon, rows, describe, CONFIG)
    loop = measure_crowd(rows, base, work / "crowd", seed=CONFIG.seed, listener=listener)
    return {
        "what": "Word relations: a classifier of them; the game's answers by how many gave them",
        "environment": {"hardware": describe_hardware(), "versions": list_versions()},
        "seeds": [CONFIG.seed],
        "targets": [*build_targets(wordnet, game), build_loop_target(loop)],
        "notes": build_notes(rows),
        "tables": [
            build_outcome_table(
                "Parts that players of the original game gave, against sampled pairs", game
            ),
            *(
                build_outcome_table(f"WordNet's {relation}, against sampled pairs", found)
                for relation, found in wordnet.items()
            ),
            build_outcome_table("WordNet's meronyms, the game's parts learnt from too", added),
            build_auc_table({GAME_PAIRS: game[len(game) // 2 :], **wordnet}),
            build_precision_table(compute_precision_by_count([r for r in rows if r.rounds])),
            build_loop_table(loop),
        ],
    }


def mark_listed(rows: Sequence[PairRow]) -> list[PairRow]:
    """The rows with what WordNet lists; ``rounds`` says whether it has the base word at all."""
    words = load_table()
    bases = set(words.base_words(Relation.MERONYMS))
    return [
        replace(
            row,
            in_wordnet=stem(row.answer) in words.get_stems(Relation.MERONYMS, row.base_word),
            rounds=int(row.base_word in bases),
        )
        for row in rows
    ]


def find_outcome(found: Sequence[RelationOutcome], way: str, learnt: str) -> RelationOutcome:
    """One way's outcome."""
    return next(o for o in found if (o.way, o.learnt) == (way, learnt))


def build_targets(
    wordnet: Mapping[str, Sequence[RelationOutcome]], game: Sequence[RelationOutcome]
) -> list[dict[str, Any]]:
    """What was wanted of the MLP, which is the default's richest kind, and what it reached."""
    plain, joined = (
        find_outcome(game, "mlp", learnt) for learnt in ("WordNet", "WordNet and the game")
    )
    singles = [o.figures.auc.value for o in game if o.way.endswith("alone")]
    found = [
        (
            "AUC on the original game's parts, nothing of it learnt",
            f"at least {MIN_AUC}",
            str(plain.figures.auc),
            plain.figures.auc.value >= MIN_AUC,
        ),
        (
            "The same, above every single feature",
            f"above {max(singles):.3f}",
            str(plain.figures.auc),
            plain.figures.auc.value > max(singles),
        ),
        (
            "AUC with the game's other words learnt from, too",
            f"above {plain.figures.auc.value:.3f}",
            str(joined.figures.auc),
            joined.figures.auc.value > plain.figures.auc.value,
        ),
        (
            "Calibration error on the game's parts, its other words learnt from",
            f"at most {MAX_CALIBRATION_ERROR}",
            str(joined.figures.calibration_error),
            joined.figures.calibration_error.value <= MAX_CALIBRATION_ERROR,
        ),
    ]
    for relation, outcomes_ in wordnet.items():
        best = find_outcome(outcomes_, "mlp", "WordNet").figures.auc
        alone = max(o.figures.auc.value for o in outcomes_ if o.way.endswith("alone"))
        found.append(
            (
                f"AUC on WordNet's {relation}, above every single feature",
                f"above {alone:.3f}",
                str(best),
                best.value > alone,
            )
        )
    names = ("name", "target", "reached", "met")
    return [dict(zip(names, one, strict=True)) for one in found]


def build_loop_target(loop: Mapping[str, Any]) -> dict[str, Any]:
    """What was wanted of the loop, and what it reached."""
    low, high = (100 * end for end in loop["interval"])
    return {
        "name": "Answers among a model's ten likeliest, points more than the non-personal model",
        "target": "more, with 95%",
        "reached": f"{100 * loop['gain']:+.0f} ({low:+.0f} to {high:+.0f})",
        "met": low > 0,
    }


def build_notes(rows: Sequence[PairRow]) -> list[str]:
    """How to read it."""
    return [
        f"The original game's table: {len(rows)} pairs of {len({r.base_word for r in rows})} base "
        "words, each given by at least five players. Each true pair stands beside a false one, "
        "made of the very words that true ones have: another base word's answer, the same word's "
        "answer in another relation, or the pair the wrong way round. A sampled pair may hold all "
        "the same (a monkey has skin): nobody reaches 1.",
        "No base word is both learnt from and judged; the game's own words are left out of what "
        "is learnt from WordNet, too. With the game's data: five folds over its base words.",
        "Intervals are 95%, base words resampled: pairs of one word are not independent. Two "
        "values inside each other's interval are not told apart by this, met or missed.",
        "majority: always the commoner label; cosine: of the two words' vectors; likelihoods: how "
        "much likelier the base model finds one word beside the other, both ways; scores: logistic "
        "regression over all of these; vectors: over difference and product of the vectors; "
        "logistic and mlp: the scores together with what logistic regression or a small network "
        "makes of the vectors.",
        f"Learnt from {CONFIG.pairs} true pairs of a relation for the vectors and {CONFIG.scored} "
        "for the scores, as many false ones beside them.",
        f"The loop: a model that learnt what the crowd said of {LEARNED_WORDS} words is asked "
        "about "
        f"{ASKED_WORDS} others, beside the same model without that, which is shown four examples "
        "of the "
        "game. The table has no players, so this is how a player fares who thinks as the crowd "
        "does; words are resampled for the interval.",
        "Precision by count: WordNet lists fewer parts than there are, so that these shares are "
        "lower bounds; base words that its table lacks are left out.",
    ]


def build_outcome_table(title: str, found: Sequence[RelationOutcome]) -> dict[str, Any]:
    """A table of ways."""
    first = found[0].figures
    return {
        "title": f"{title} ({first.pairs} pairs, {first.words} base words)",
        "columns": ["learnt from", "by", "accuracy", "F1", "AUC", "Brier", "calibration error"],
        "rows": [
            [
                o.learnt,
                o.way,
                str(o.figures.accuracy),
                str(o.figures.f1),
                str(o.figures.auc),
                f"{o.figures.brier.value:.3f}",
                f"{o.figures.calibration_error.value:.3f}",
            ]
            for o in found
        ],
    }


def build_auc_table(found: Mapping[str, Sequence[RelationOutcome]]) -> dict[str, Any]:
    """AUC against each kind of false pair."""
    kinds = ("other word", "other relation", "reversed")
    rows: list[list[str]] = []
    for name, outcomes_ in found.items():
        for o in outcomes_:
            if o.way in ("cosine alone", "scores", "mlp"):
                cells = [o.by_how.get(kind) for kind in kinds]
                rows.append([name, o.way, *(f"{c[1]:.2f} ({c[0]})" if c else "–" for c in cells)])
    return {
        "title": "AUC by kind of false pair (how many there are)",
        "columns": ["pairs", "by", *kinds],
        "rows": rows,
    }


def build_precision_table(found: Sequence[Precision]) -> dict[str, Any]:
    """How often WordNet lists what players gave."""
    return {
        "title": "Precision of the game's data by count",
        "columns": ["players who gave it", "pairs", "listed by WordNet", "95% interval"],
        "rows": [
            [
                f"{p.least} and more" if p.most is None else f"{p.least} to {p.most}",
                p.pairs,
                f"{100 * p.in_wordnet / p.pairs:.0f}%",
                f"{100 * p.in_wordnet_interval[0]:.0f}–{100 * p.in_wordnet_interval[1]:.0f}%",
            ]
            for p in found
            if p.pairs
        ],
    }


def build_loop_table(loop: Mapping[str, Any]) -> dict[str, Any]:
    """How many answers each model has, word by word."""
    rows = [
        [one["word"], one["answers"], one["own_found"], one["plain_found"]] for one in loop["words"]
    ]
    means = [f"{100 * loop[name]:.0f}%" for name in ("own", "plain")]
    return {
        "title": f"The loop: parts among the ten likeliest answers, {loop['items']} answers learnt",
        "columns": ["word", "answers given", "of the model that learnt", "of the plain model"],
        "rows": [*rows, ["mean share", None, *means]],
    }


def main() -> int:
    """Measure and write the result; 1 or 2 where that cannot be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the result goes")
    parser.add_argument("--data", type=Path, required=True, help="the original game's table")
    parser.add_argument("--base", default="default", help="the model whose likelihoods count")
    parser.add_argument("--work", type=Path, help="where likelihoods are kept")
    options = parser.parse_args()
    return run_to_exit_code(lambda: write_result(options))


def write_result(options: argparse.Namespace) -> int:
    """Everything, written as JSON."""
    with tempfile.TemporaryDirectory() as fresh, progress_listener() as listener:
        result = measure_relations(
            options.data, options.base, options.work or Path(fresh), listener
        )
    command = (
        f"python benchmarks/game_relations.py --json docs/results/{options.json.name} --data FILE"
    )
    result |= {"name": options.json.stem, "command": command, "page": "nyms"}
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
