"""The rules of the game: values in, values out; no Django, no clock, no randomness of their own.

What is random comes from a `random.Random` that is passed in, and so does the time. Who plays,
where rounds are kept, and which words there are is not known here.
"""

from __future__ import annotations

from idiolect.game.rules.answers import MAX_CHARS, accepted, normalise, stem
from idiolect.game.rules.choice import (
    LITTLE_PLAYED,
    Played,
    WordStats,
    difficulty,
    is_little_played,
    is_retired,
    next_word,
    skill,
)
from idiolect.game.rules.pairs import (
    PAIRS,
    PAIRS_SECONDS,
    Pair,
    Vote,
    majority,
    next_pairs,
    pair_points,
)
from idiolect.game.rules.relations import (
    GRACE,
    MAX_ANSWERS,
    SECONDS,
    Relation,
    in_time,
    question,
)
from idiolect.game.rules.scoring import (
    LISTED_BONUS,
    ROUND_BONUS,
    Earlier,
    RoundScore,
    WordScore,
    score,
)
from idiolect.game.rules.standings import (
    ACTIVE_DAYS,
    AVERAGE_ROUNDS,
    Board,
    PlayerTotals,
    Standing,
    hardest_words,
    standings,
)

__all__ = [
    "ACTIVE_DAYS",
    "AVERAGE_ROUNDS",
    "GRACE",
    "LISTED_BONUS",
    "LITTLE_PLAYED",
    "MAX_ANSWERS",
    "MAX_CHARS",
    "PAIRS",
    "PAIRS_SECONDS",
    "ROUND_BONUS",
    "SECONDS",
    "Board",
    "Earlier",
    "Pair",
    "Played",
    "PlayerTotals",
    "Relation",
    "RoundScore",
    "Standing",
    "Vote",
    "WordScore",
    "WordStats",
    "accepted",
    "difficulty",
    "hardest_words",
    "in_time",
    "is_little_played",
    "is_retired",
    "majority",
    "next_pairs",
    "next_word",
    "normalise",
    "pair_points",
    "question",
    "score",
    "skill",
    "standings",
    "stem",
]
