"""How far players agree with each other, and how often an answer is right by how many gave it.

Agreement is Krippendorff's alpha: 1 where all agree, 0 where they do as if everyone drew their
answers from one pot, whatever the base word. A unit is a base word with any answer that was given
in the relation, to this word or another; its raters are the players who were asked the word, and
each says whether that came to their mind. Were the answers that nobody gave to a word left out, all
players' not saying them, their plainest agreement, would be. In Nym or Not each says what they
think of a pair.
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
from idiolect.stats.significance import share_interval

NUM_RESAMPLES = 300
"""Of base words, for an interval of alpha: its ends then move by about a tenth of its width."""
PLAYER_BUCKETS = ((1, 1), (2, 2), (3, 4), (5, 9), (10, 19), (20, None))
"""Players who gave an answer, from and to, for precision by count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Krippendorff's alpha over some pairs."""

    words: int
    """Base words with at least two players."""
    players: int
    alpha: float | None
    """``None`` where it is not defined: fewer than two opinions on every pair, or all the same."""
    interval: tuple[float, float] | None
    """95% bootstrap over base words; ``None`` with fewer than two of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Of the pairs that so many players gave, how many are right."""

    least: int
    most: int | None
    pairs: int
    in_wordnet: int
    in_wordnet_interval: tuple[float, float]
    voted: int
    """Pairs on which Nym or Not has a majority."""
    confirmed: int
    """Those of them with a majority of yes."""
    confirmed_interval: tuple[float, float]


def compute_agreement(plays: Plays, *, seed: int = 0) -> Mapping[str, Agreement]:
    """Alpha of the answers of each relation and of all (``answers``), and of ``votes``."""
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
    """How often answers are right by how many players gave them; pairs nobody gave do not count."""
    found: list[Precision] = []
    for least, most in PLAYER_BUCKETS:
        chosen = [r for r in rows if r.players >= least and (most is None or r.players <= most)]
        voted = [r for r in chosen if r.confirmed != r.rejected]
        listed = sum(r.in_wordnet for r in chosen)
        confirmed = sum(r.confirmed > r.rejected for r in voted)
        found.append(
            Precision(
                least=least,
                most=most,
                pairs=len(chosen),
                in_wordnet=listed,
                in_wordnet_interval=share_interval(listed, len(chosen)),
                voted=len(voted),
                confirmed=confirmed,
                confirmed_interval=share_interval(confirmed, len(voted)),
            )
        )
    return found


VoteCounts = tuple[int, int]
"""How many raters said no, and yes."""
_Units = Mapping[tuple[str, str], Sequence[VoteCounts]]
"""By (relation, base word): its units."""


def _count_players(plays: Plays, relation: str) -> int:
    wanted = (r for r in plays.rounds if relation in ("answers", r.relation))
    return len({r.player for r in wanted})


def _build_answer_units(plays: Plays) -> _Units:
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
        # Units on which m raters all say no count m each in alpha: so many of them are one of
        # so many raters.
        unsaid = (len(stems[word[0]]) - len(gave[word])) * len(players)
        if unsaid and len(players) > 1:
            units[word].append((unsaid, 0))
    return units


def _build_vote_units(plays: Plays) -> _Units:
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
    # One opinion alone says nothing of agreement.
    told = [[counts for counts in units[word] if sum(counts) >= 2] for word in sorted(units)]
    words = [np.asarray(counts) for counts in told if counts]
    return Agreement(
        words=len(words),
        players=players,
        alpha=_compute_alpha(words),
        interval=_bootstrap_interval(words, seed),
    )


def _compute_alpha(words: Iterable[NDArray[np.int64]]) -> float | None:
    import krippendorff  # of the extra "web"

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
    values = [value for value in drawn if value is not None]
    if not values:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
