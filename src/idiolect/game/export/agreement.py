"""Agreement between players, and precision of answers by the number of players who gave them.

Agreement is Krippendorff's alpha: 1 if all players agree, 0 if they agree as often as if they drew
their answers at random regardless of the base word. For answers, a unit is a base word together
with any answer that was given in the relation, to this word or to another. Its raters are the
players who were asked the word, and the rating is whether they gave the answer. Answers that no
player gave to a word must be included: not giving them is agreement too. For votes in Nym or Not,
a unit is a pair and the rating is the vote.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from idiolect.config import derive_seed
from idiolect.game.export.pairs import PairRow
from idiolect.game.plays import Plays
from idiolect.stats.significance import compute_wilson_interval

NUM_RESAMPLES = 300
"""Bootstrap samples per interval of alpha; the ends then vary by about a tenth of its width."""
PLAYER_BUCKETS = ((1, 1), (2, 2), (3, 4), (5, 9), (10, 19), (20, None))
"""Ranges (from, to) of the number of players who gave an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Krippendorff's alpha over a set of units."""

    words: int
    """Number of base words with at least two raters."""
    players: int
    alpha: float | None
    """``None`` if undefined: no unit has two raters, or all ratings are equal."""
    interval: tuple[float, float] | None
    """95% bootstrap interval over base words; ``None`` with fewer than two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """How many of the pairs that ``least`` to ``most`` players gave are correct."""

    least: int
    most: int | None
    pairs: int
    in_wordnet: int
    in_wordnet_interval: tuple[float, float]
    voted: int
    """Number of pairs with a majority in Nym or Not."""
    confirmed: int
    """Number of these whose majority is yes."""
    confirmed_interval: tuple[float, float]


def compute_agreement(plays: Plays, *, seed: int = 0) -> Mapping[str, Agreement]:
    """Alpha by name: each relation, all answers together ("answers"), and "votes"."""
    # The answers of each relation, and of all relations together.
    units = _build_answer_units(plays)
    relations = sorted({key[0] for key in units})
    parts: dict[str, _Units] = {
        name: {k: v for k, v in units.items() if k[0] == name} for name in relations
    }
    parts["answers"] = units
    found = {
        name: _measure_agreement(
            part, _count_players(plays, name), seed=derive_seed(seed, "alpha", name)
        )
        for name, part in parts.items()
    }
    voters = len({vote.player for vote in plays.votes})
    found["votes"] = _measure_agreement(
        _build_vote_units(plays), voters, seed=derive_seed(seed, "alpha", "votes")
    )
    return found


def compute_precision_by_count(rows: Sequence[PairRow]) -> list[Precision]:
    """Precision of answers in each of `PLAYER_BUCKETS`; pairs that no player gave do not count."""
    found: list[Precision] = []
    for least, most in PLAYER_BUCKETS:
        chosen = [r for r in rows if r.players >= least and (most is None or r.players <= most)]
        # Votes decide only if they have a majority.
        voted = [r for r in chosen if r.confirmed != r.rejected]
        listed = sum(r.in_wordnet for r in chosen)
        confirmed = sum(r.confirmed > r.rejected for r in voted)
        found.append(
            Precision(
                least=least,
                most=most,
                pairs=len(chosen),
                in_wordnet=listed,
                in_wordnet_interval=compute_wilson_interval(listed, len(chosen)),
                voted=len(voted),
                confirmed=confirmed,
                confirmed_interval=compute_wilson_interval(confirmed, len(voted)),
            )
        )
    return found


VoteCounts = tuple[int, int]
"""Number of raters who said no, and who said yes."""
_Units = Mapping[tuple[str, str], Sequence[VoteCounts]]
"""The units of each (relation, base word)."""


def _count_players(plays: Plays, relation: str) -> int:
    wanted = (r for r in plays.rounds if relation in ("answers", r.relation))
    return len({r.player for r in wanted})


def _build_answer_units(plays: Plays) -> _Units:
    # Who was asked each word, who gave which answer, and all answers of each relation.
    asked: dict[tuple[str, str], set[str]] = defaultdict(set)
    gave: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    stems: dict[str, set[str]] = defaultdict(set)
    for row in plays.rounds:
        word = row.relation, row.base_word
        asked[word].add(row.player)
        for answer in row.answers:
            gave[word][answer.stem].add(row.player)
            stems[row.relation].add(answer.stem)
    units: dict[tuple[str, str], list[VoteCounts]] = {}
    for word, players in asked.items():
        units[word] = [(len(players) - len(who), len(who)) for who in gave[word].values()]
        # Answers that no player gave to this word: k units, each with m "no" ratings. Such units
        # enter alpha only by their total number of ratings, so one unit with k x m "no" ratings is
        # equivalent and much smaller.
        not_given = (len(stems[word[0]]) - len(gave[word])) * len(players)
        if not_given and len(players) > 1:
            units[word].append((not_given, 0))
    return units


def _build_vote_units(plays: Plays) -> _Units:
    # Only a player's last vote on a pair counts.
    last = {
        (v.relation, v.base_word, v.stem, v.player): v.yes
        for v in sorted(plays.votes, key=lambda v: v.given)
    }
    yes = Counter(key[:3] for key, said in last.items() if said)
    no = Counter(key[:3] for key, said in last.items() if not said)
    units: dict[tuple[str, str], list[VoteCounts]] = defaultdict(list)
    for key in sorted({*yes, *no}):
        units[key[:2]].append((no[key], yes[key]))
    return units


def _measure_agreement(units: _Units, players: int, *, seed: int) -> Agreement:
    # A unit with a single rating says nothing about agreement.
    rated = [[counts for counts in units[word] if sum(counts) >= 2] for word in sorted(units)]
    words = [np.asarray(counts) for counts in rated if counts]
    return Agreement(
        words=len(words),
        players=players,
        alpha=_compute_alpha(words),
        interval=_bootstrap_interval(words, seed),
    )


def _compute_alpha(words: Iterable[NDArray[np.int64]]) -> float | None:
    # Imported lazily: part of the extra "web".
    import krippendorff

    # Alpha is undefined without units, or if all ratings are equal.
    counts = [word for word in words if len(word)]
    if not counts or (np.concatenate(counts).sum(axis=0) == 0).any():
        return None
    table = np.concatenate(counts)
    return float(krippendorff.alpha(value_counts=table, level_of_measurement="nominal"))


def _bootstrap_interval(
    words: Sequence[NDArray[np.int64]], seed: int
) -> tuple[float, float] | None:
    if len(words) < 2:
        return None
    draw = np.random.default_rng(seed)
    drawn = (
        _compute_alpha(words[n] for n in draw.integers(0, len(words), len(words)))
        for _ in range(NUM_RESAMPLES)
    )
    # Skip samples in which alpha is undefined.
    values = [value for value in drawn if value is not None]
    if not values:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
