"""A test of the game's loop on real answers: trains a model on some words of the original game and
asks it about other words.

The table has no individual players, so the model is trained on the answers of the crowd, each given
by at least five players. This shows what the loop can learn at all, not how players differ.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idiolect.config import derive_seed
from idiolect.events import Listener
from idiolect.game.export.pairs import PairRow
from idiolect.game.rules.answers import stem
from idiolect.game.rules.relations import Relation, format_question
from idiolect.game.words import load_table
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.stats.significance import run_paired_test
from idiolect.web.my_model import engine

LEARNED_WORDS, ASKED_WORDS = 40, 20
"""Number of base words to train on, and of other base words to ask about. 40 rounds are what an
active player plays in a few days."""


def measure_crowd(
    rows: Sequence[PairRow], base: str, folder: Path, *, seed: int, listener: Listener
) -> dict[str, Any]:
    """Train on `LEARNED_WORDS` base words and ask about `ASKED_WORDS` others.

    Returns per word the answers of the trained and of the plain model, the mean shares of answers
    found, and their difference with interval and p-value.
    """
    # Draw disjoint words for training and evaluation.
    words = sorted({row.base_word for row in rows})
    drawn = random.Random(derive_seed(seed, "crowd")).sample(words, LEARNED_WORDS + ASKED_WORDS)
    asked = drawn[LEARNED_WORDS:]
    answers = {word: [r.answer for r in rows if r.base_word == word] for word in words}
    pairs = [(word, answer) for word in drawn[:LEARNED_WORDS] for answer in answers[word]]
    items = [
        Interaction(
            id=f"answer-{place}",
            position=place,
            fields={"question": _make_question(word), "answer": answer},
        )
        for place, (word, answer) in enumerate(pairs)
    ]
    # Train as the site trains a player's model.
    engine.train_player_model(
        folder, History.from_interactions(engine.PLAYER_ID, items), base=base, listener=listener
    )
    predictor = engine.AnswerPredictor(folder, base=base)
    # Ask both models, and count the answers of the crowd that they find.
    found: list[dict[str, Any]] = []
    for word in asked:
        own, plain = predictor.predict_answers(_make_question(word), word)
        given = set(map(stem, answers[word]))
        found.append(
            {
                "word": word,
                "answers": len(given),
                "own": own,
                "plain": plain,
                "own_found": len(given & set(map(stem, own))),
                "plain_found": len(given & set(map(stem, plain))),
            }
        )
    # Compare the shares of answers found, paired by word.
    shares = [[f[name] / f["answers"] for f in found] for name in ("own_found", "plain_found")]
    test = run_paired_test(*shares, direction="higher", seed=seed)
    return {
        "items": len(items),
        "words": found,
        "own": sum(shares[0]) / ASKED_WORDS,
        "plain": sum(shares[1]) / ASKED_WORDS,
        "gain": test.gain,
        "interval": list(test.interval),
        "p": test.p,
    }


def _make_question(word: str) -> str:
    # Our table lacks some words of the original game.
    known = load_table().get_determiner(word) or ("an" if word[0] in "aeio" else "a")
    return format_question(Relation.MERONYMS, word, known)
