"""A benchmark of the word relation classifier, and of the precision of players' answers.

    python benchmarks/game_relations.py --json docs/results/nyms.json --data FILE [--work FOLDER]

``--data`` is the table of the original game (base word, answer, count). All of its rows are
meronyms that at least five players gave. It is not part of the package. ``--work`` caches
likelihoods, so that an interrupted benchmark can resume.
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
from idiolect.models.encoder import MiniLM
from idiolect.models.load import load_base
from idiolect.storage.files import write_atomic
from kit.cli import run_to_exit_code
from kit.resumable import LikelihoodCache
from suites.game.crowd import ASKED_WORDS, LEARNED_WORDS, measure_crowd
from suites.game.relations import (
    RelationOutcome,
    evaluate_on_game,
    evaluate_on_wordnet,
    evaluate_with_game_pairs,
)

CONFIG = ClassifierConfig(pairs=1500, scored=100)
"""Fewer pairs than by default, since the base model has to score those of the last stage and of the
evaluation."""
MIN_AUC, MAX_CALIBRATION_ERROR = 0.8, 0.05
GAME_PAIRS = "the original game's parts"


def measure_relations(data: Path, base: str, work: Path, listener: Listener) -> dict[str, Any]:
    """Run all parts of the benchmark; returns the result as JSON data."""
    # Load the data and the models; likelihoods come from the cache if possible.
    rows = mark_listed(read_pairs(data))
    lexicon = build_lexicon(load_table())
    loaded = load_base(base)
    work.mkdir(parents=True, exist_ok=True)
    scorer = LikelihoodCache(
        LikelihoodScorer(loaded, listener=listener), work / f"{loaded.identity[:16]}.json"
    )
    extractor = FeatureExtractor(MiniLM(), scorer, SCORE_NAMES)
    wordnet = evaluate_on_wordnet(lexicon, extractor, CONFIG)
    game = evaluate_on_game(lexicon, rows, extractor, CONFIG)
    added = evaluate_with_game_pairs(lexicon, rows, extractor, CONFIG)
    loop = measure_crowd(rows, base, work / "crowd", seed=CONFIG.seed, listener=listener)
    return {
        "what": "Word relations: a classifier, and the precision of the game's answers by the "
        "number of players who gave them",
        "environment": {"hardware": describe_hardware(), "versions": list_versions()},
        "seeds": [CONFIG.seed],
        "targets": [*build_targets(wordnet, game), build_loop_target(loop)],
        "notes": build_notes(rows),
        "tables": [
            build_outcome_table(
                "Meronyms that players of the original game gave, against sampled pairs", game
            ),
            *(
                build_outcome_table(f"WordNet's {relation}, against sampled pairs", found)
                for relation, found in wordnet.items()
            ),
            build_outcome_table("WordNet's meronyms, trained also on the game's pairs", added),
            build_auc_table({GAME_PAIRS: game[len(game) // 2 :], **wordnet}),
            build_precision_table(compute_precision_by_count([r for r in rows if r.rounds])),
            build_loop_table(loop),
        ],
    }


def mark_listed(rows: Sequence[PairRow]) -> list[PairRow]:
    """The rows with `in_wordnet` set; ``rounds`` is 1 if our table has the base word, else 0."""
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


def find_outcome(
    found: Sequence[RelationOutcome], variant: str, trained_on: str
) -> RelationOutcome:
    """The outcome of one variant and training set."""
    return next(o for o in found if (o.variant, o.trained_on) == (variant, trained_on))


def build_targets(
    wordnet: Mapping[str, Sequence[RelationOutcome]], game: Sequence[RelationOutcome]
) -> list[dict[str, Any]]:
    """Targets of the MLP, the largest kind of model, with the values that it reached."""
    plain, joined = (
        find_outcome(game, "mlp", trained_on) for trained_on in ("WordNet", "WordNet and the game")
    )
    singles = [o.figures.auc.value for o in game if o.variant.endswith("alone")]
    # The MLP on the game's pairs: trained on WordNet only, and also on the game.
    found = [
        (
            "AUC on the original game's pairs, trained on WordNet only",
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
            "AUC, trained also on the game's pairs of other words",
            f"above {plain.figures.auc.value:.3f}",
            str(joined.figures.auc),
            joined.figures.auc.value > plain.figures.auc.value,
        ),
        (
            "Calibration error on the game's pairs, trained also on its other words",
            f"at most {MAX_CALIBRATION_ERROR}",
            str(joined.figures.calibration_error),
            joined.figures.calibration_error.value <= MAX_CALIBRATION_ERROR,
        ),
    ]
    # For each relation, the MLP must beat the best single score.
    for relation, outcomes_ in wordnet.items():
        best = find_outcome(outcomes_, "mlp", "WordNet").figures.auc
        alone = max(o.figures.auc.value for o in outcomes_ if o.variant.endswith("alone"))
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
    """The target of the loop (a model trained on answers), with the value that it reached."""
    low, high = (100 * end for end in loop["interval"])
    return {
        "name": "Answers among the model's ten likeliest, in points above the non-personal model",
        "target": "above 0 with 95% confidence",
        "reached": f"{100 * loop['gain']:+.0f} ({low:+.0f} to {high:+.0f})",
        "met": low > 0,
    }


def build_notes(rows: Sequence[PairRow]) -> list[str]:
    """Notes on how to read the result."""
    return [
        f"The original game's table: {len(rows)} pairs of {len({r.base_word for r in rows})} base "
        "words, each given by at least five players. For each true pair there is a false one made "
        "of the same words: another base word's answer, the same word's answer in another "
        "relation, or the pair reversed. A sampled pair may hold by chance (a monkey has skin), so "
        "an AUC of 1 cannot be reached.",
        "No base word is used for both training and evaluation; training on WordNet omits the "
        "base words of the game, too. With the game's data: five folds over its base words.",
        "Intervals are 95% bootstrap intervals over base words, since pairs of one word are not "
        "independent. If two values are inside each other's interval, this benchmark cannot tell "
        "which is higher, whether the target is met or missed.",
        "majority: always the more frequent label; cosine: of the two words' vectors; likelihoods: "
        "how much likelier one word makes the other in the base model, in both directions; scores: "
        "logistic regression on all of these; vectors: on difference and product of the vectors; "
        "logistic and mlp: the scores together with the output of logistic regression or a small "
        "network on the vectors.",
        f"Trained on {CONFIG.pairs} true pairs per relation for the vectors and {CONFIG.scored} "
        "for the scores, and on the same number of false pairs.",
        f"The loop: a model trained on the crowd's answers to {LEARNED_WORDS} words is asked about "
        f"{ASKED_WORDS} others. It is compared with the untrained model, whose prompt has four "
        "examples from the game. The table has no individual players, so this shows the result for "
        "a player who answers like the crowd. The interval is a bootstrap over words.",
        "Precision by count: WordNet does not list all parts, so these shares are lower bounds; "
        "base words that are not in our table are left out.",
    ]


def build_outcome_table(title: str, found: Sequence[RelationOutcome]) -> dict[str, Any]:
    """A table with one row per variant and training set."""
    first = found[0].figures
    return {
        "title": f"{title} ({first.pairs} pairs, {first.words} base words)",
        "columns": ["trained on", "variant", "accuracy", "F1", "AUC", "Brier", "calibration error"],
        "rows": [
            [
                o.trained_on,
                o.variant,
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
    """A table of the AUC against each kind of false pair."""
    kinds = ("other word", "other relation", "reversed")
    # Three variants are enough to compare: a single score, all scores, and the MLP.
    rows: list[list[str]] = []
    for name, outcomes_ in found.items():
        for o in outcomes_:
            if o.variant in ("cosine alone", "scores", "mlp"):
                cells = [o.auc_by_origin.get(kind) for kind in kinds]
                rows.append(
                    [name, o.variant, *(f"{c[1]:.2f} ({c[0]})" if c else "–" for c in cells)]
                )
    return {
        "title": "AUC by kind of false pair (number of pairs)",
        "columns": ["pairs", "variant", *kinds],
        "rows": rows,
    }


def build_precision_table(found: Sequence[Precision]) -> dict[str, Any]:
    """A table of the share of players' answers that WordNet lists, by number of players."""
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
    """A table of the number of answers that each model finds, per word."""
    rows = [
        [one["word"], one["answers"], one["own_found"], one["plain_found"]] for one in loop["words"]
    ]
    means = [f"{100 * loop[name]:.0f}%" for name in ("own", "plain")]
    return {
        "title": f"The loop: meronyms among the ten likeliest answers, trained on {loop['items']} "
        "answers",
        "columns": ["word", "answers given", "found by trained model", "found by plain model"],
        "rows": [*rows, ["mean share", None, *means]],
    }


def main() -> int:
    """Run the benchmark and write the result; returns 1 or 2 on failure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="output file of the result")
    parser.add_argument("--data", type=Path, required=True, help="table of the original game")
    parser.add_argument("--base", default="default", help="base model for the likelihoods")
    parser.add_argument("--work", type=Path, help="folder that caches likelihoods")
    options = parser.parse_args()
    return run_to_exit_code(lambda: write_result(options))


def write_result(options: argparse.Namespace) -> int:
    """Run the benchmark and write the result as JSON."""
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
