"""Random evaluation results without a model, for the tests of reports."""

from __future__ import annotations

import math
import random

from idiolect.evaluation.results import Answer, Comparison, LossCurve, MethodRun

METHOD_ERRORS = {
    "base": 1.1,
    "rag": 1.0,
    "full-history": 1.05,
    "pag": 1.12,
    "person-mean": 0.95,
    "person-median": 0.93,
    "oppu": 0.8,
    "oppu+rag": 0.75,
    "oppu+pag": 0.85,
    "oppu (gated)": 0.78,
}
"""Standard deviation of the rating error of each fake method."""


def make_rating_comparison(
    people: int = 12,
    queries: int = 8,
    methods: tuple[str, ...] = tuple(METHOD_ERRORS),
    seed: int = 0,
) -> Comparison:
    """Return a comparison on ratings; about 1% of the models' answers are not numbers."""
    draw = random.Random(seed)
    # Each person is harder or easier to predict, for all methods alike.
    difficulty = {f"person-{p:03d}": draw.uniform(-0.7, 1.0) for p in range(people)}
    golds = {(p, f"q{q}"): draw.randint(1, 5) for p in difficulty for q in range(queries)}
    runs = [
        MethodRun(
            method=method,
            answers=tuple(
                _make_rating_answer(
                    draw,
                    person,
                    query,
                    gold,
                    METHOD_ERRORS[method] * (1 + difficulty[person] / 3),
                    method,
                )
                for (person, query), gold in golds.items()
            ),
            train_seconds=31.5 * people if method.startswith("oppu") else 0.0,
            predict_seconds=0.21 * len(golds),
            train_tokens=21_000 * people if method.startswith("oppu") else 0,
            bytes_per_person=921_600 if method.startswith("oppu") else 0,
            served_by_base=("person-001",) if method.endswith("(gated)") else (),
        )
        for method in methods
    ]
    return Comparison(
        task="rating",
        dataset="made-up films",
        base="A made-up base, not task-adapted.",
        runs=tuple(runs),
        curves=tuple(_make_curve(draw, name) for name in methods if name.startswith("oppu")),
        seeds=(seed,),
        settings={"adapter": {"rank": 8, "modules": ["q", "v"]}, "epochs": 2},
    )


def _make_rating_answer(
    draw: random.Random, person: str, query: str, gold: int, error: float, method: str
) -> Answer:
    value = min(5, max(1, round(gold + draw.gauss(0, error))))
    fails = not method.startswith("person") and draw.random() < 0.01
    return Answer(
        person=person,
        query=query,
        prompt=f"What would you give the film number {query[1:]} (1996), a Comedy?\nRating:",
        gold=str(gold),
        text="a fine film" if fails else str(value),
        raw=f" {value}\n\nRating" if query == "q1" else "",
    )


def make_reply_comparison(people: int = 12, queries: int = 6, seed: int = 1) -> Comparison:
    """Return a comparison on chat replies, with likelihoods."""
    draw = random.Random(seed)
    golds = {
        (f"chatter-{p:02d}", f"q{q}"): " ".join(draw.choices(WORDS, k=draw.randint(3, 24)))
        for p in range(people)
        for q in range(queries)
    }
    runs = [
        MethodRun(
            method=method,
            answers=tuple(
                _make_reply_answer(draw, *key, gold, level) for key, gold in golds.items()
            ),
            predict_seconds=44.0,
            train_seconds=400.0 if method.startswith("oppu") else 0.0,
        )
        for method, level in (("base", 3.9), ("rag", 3.85), ("oppu", 3.6), ("oppu+rag", 3.55))
    ]
    return Comparison(
        task="reply",
        dataset="made-up chats",
        base="The made-up base, not adapted.",
        runs=tuple(runs),
        curves=(_make_curve(draw, "oppu"),),
        seeds=(seed,),
    )


WORDS = (
    "oh",
    "well",
    "i",
    "see",
    "you",
    "really",
    "like",
    "that",
    "lol",
    "what",
    "about",
    "tomorrow",
)


def _make_reply_answer(
    draw: random.Random, person: str, query: str, gold: str, level: float
) -> Answer:
    tokens = len(gold.split()) + 1
    return Answer(
        person=person,
        query=query,
        prompt="Chat so far:\nthem: how was the weekend?\nyou: it was ok\nthem: just ok?\nyou:",
        gold=gold,
        text=" ".join(draw.choices(WORDS, k=draw.randint(2, 20))),
        gold_nll=tokens * (level + draw.gauss(0, 0.2)),
        gold_tokens=tokens,
    )


def _make_curve(draw: random.Random, name: str) -> LossCurve:
    steps = tuple(range(0, 60, 2))
    losses = tuple(1.4 * math.exp(-step / 18) + 0.7 + draw.gauss(0, 0.03) for step in steps)
    return LossCurve(name=name, steps=steps, losses=losses)
