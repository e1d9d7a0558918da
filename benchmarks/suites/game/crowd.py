"""The loop on real answers: a model that learns from some of the original game's words is asked
about the others.

The table has no players in it, so the one who is learnt from is the crowd: what five of them said
is what it says. It shows what the loop can learn at all, not how unlike one player is to another.
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
"""Base words that are learnt from, and others that are asked about. 40 rounds are what an eager
player has played after some days."""


def measure_crowd(
    rows: Sequence[PairRow], base: str, folder: Path, *, seed: int, listener: Listener
) -> dict[str, Any]:
    """Train on ``LEARNT`` base words and ask about ``ASKED`` others; per word what was found."""
    words = sorted({row.base_word for row in rows})
    drawn = random.Random(derive_seed(seed, "crowd")).sample(words, LEARNED_WORDS + ASKED_WORDS)
    asked = drawn[LEARNED_WORDS:]
    answers = {word: [r.answer for r in rows if r.base_word == word] for word in words}
    learnt = [(word, answer) for word in drawn[:LEARNED_WORDS] for answer in answers[word]]
    items = [
        Interaction(
            id=f"answer-{place}",
            position=place,
            fields={"question": _make_question(word), "answer": answer},
        )
        for place, (word, answer) in enumerate(learnt)
    ]
    engine.train_player_model(
        folder, History.from_interactions(engine.PLAYER_ID, items), base=base, listener=listener
    )
    guesser = engine.AnswerPredictor(folder, base=base)
    found: list[dict[str, Any]] = []
    for word in asked:
        own, plain = guesser.predict_answers(_make_question(word), word)
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
    # The original asked some words that our table has not.
    known = load_table().get_determiner(word) or ("an" if word[0] in "aeio" else "a")
    return format_question(Relation.MERONYMS, word, known)
