"""The table of pairs: what rounds and votes say about each base word and answer.

Counts players and rounds separately, since several rounds of one player on a word are one opinion.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from idiolect.game.plays import Plays, RoundRow, VoteRow
from idiolect.stats.significance import compute_wilson_interval

MIN_PLAYERS = 3
"""Players who must have given an answer before others may see it: an answer that only one person
gives may be personal information."""

Lexicon = Callable[[str, str], Collection[str]]
"""Returns the stems that WordNet lists for (relation, base word)."""
PairKey = tuple[str, str, str]
"""(relation, base word, stem)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One base word and answer in one relation."""

    relation: str
    base_word: str
    answer: str
    """The most frequent spelling among those that share its stem."""
    players: int
    """Number of players who gave it; 0 also for fewer than ``least_players``."""
    asked: int
    """Number of players who finished a round on the base word."""
    given: int
    """Number of rounds in which it was given."""
    rounds: int
    """Number of finished rounds on the base word."""
    share: float | None
    """``given / rounds``; ``None`` if the word has no rounds and the pair only has votes."""
    in_wordnet: bool
    confirmed: int
    """Number of players who voted yes in Nym or Not."""
    rejected: int
    """Number of players who voted no."""
    agreement: float | None
    """``players / asked``; ``None`` if the word has no rounds."""
    agreement_low: float | None
    agreement_high: float | None
    """The 95% Wilson interval of ``agreement``; it assumes that players are independent."""


def build_pair_rows(
    plays: Plays, lexicon: Lexicon, *, least_players: int = MIN_PLAYERS
) -> list[PairRow]:
    """The pairs that at least ``least_players`` players gave or voted on.

    Sorted by relation, base word, and descending share. A pair that enough players voted on, but
    fewer gave, counts as given by none: the row must not say what one or two players answered.
    """
    # Index rounds and votes by pair.
    words = _group_by_word(plays.rounds)
    votes = _keep_last_votes(plays.votes)
    spellings = _count_spellings(plays)
    given: dict[PairKey, list[RoundRow]] = defaultdict(list)
    for row in plays.rounds:
        for answer in row.answers:
            given[row.relation, row.base_word, answer.stem].append(row)
    # The spellings hold every pair, also those that have only votes.
    rows = [
        _build_row(
            key, given.get(key, []), words.get(key[:2], []), votes.get(key, {}), texts, lexicon
        )
        for key, texts in spellings.items()
    ]
    kept = [
        row if row.players >= least_players else _hide_few_players(row)
        for row in rows
        if max(row.players, row.confirmed + row.rejected) >= least_players
    ]
    return sorted(kept, key=lambda r: (r.relation, r.base_word, -(r.share or 0), r.answer))


def _hide_few_players(row: PairRow) -> PairRow:
    """Return the row as if no player had given the answer."""
    if not row.players:
        return row
    low, high = compute_wilson_interval(0, row.asked)
    return replace(
        row,
        players=0,
        given=0,
        share=0.0,
        agreement=0.0,
        agreement_low=low,
        agreement_high=high,
    )


def _group_by_word(rounds: Iterable[RoundRow]) -> Mapping[tuple[str, str], list[RoundRow]]:
    found: dict[tuple[str, str], list[RoundRow]] = defaultdict(list)
    for row in rounds:
        found[row.relation, row.base_word].append(row)
    return found


def _keep_last_votes(votes: Iterable[VoteRow]) -> Mapping[PairKey, dict[str, bool]]:
    """The last vote of each player on each pair."""
    found: dict[PairKey, dict[str, bool]] = defaultdict(dict)
    for vote in sorted(votes, key=lambda v: v.given):
        found[vote.relation, vote.base_word, vote.stem][vote.player] = vote.yes
    return found


def _count_spellings(plays: Plays) -> Mapping[PairKey, Counter[str]]:
    found: dict[PairKey, Counter[str]] = defaultdict(Counter)
    for row in plays.rounds:
        for answer in row.answers:
            found[row.relation, row.base_word, answer.stem][answer.text] += 1
    for vote in plays.votes:
        # Adds the spelling with count 0: spellings that players typed take precedence over those
        # that voters were shown.
        found[vote.relation, vote.base_word, vote.stem][vote.answer] += 0
    return found


def choose_spelling(texts: Counter[str]) -> str:
    """The most frequent spelling; of equally frequent ones, the first in the alphabet."""
    return min(texts, key=lambda text: (-texts[text], text))


def _build_row(
    key: PairKey,
    given: list[RoundRow],
    word: list[RoundRow],
    votes: Mapping[str, bool],
    texts: Counter[str],
    lexicon: Lexicon,
) -> PairRow:
    """Build one row from the rounds that gave the answer, all rounds on the word (``word``), the
    votes by player, and the spellings."""
    relation, base_word, stem = key
    # Count each player once, however many rounds they played.
    players = len({row.player for row in given})
    asked = len({row.player for row in word})
    low, high = compute_wilson_interval(players, asked) if asked else (None, None)
    return PairRow(
        relation=relation,
        base_word=base_word,
        answer=choose_spelling(texts),
        players=players,
        asked=asked,
        given=len(given),
        rounds=len(word),
        share=len(given) / len(word) if word else None,
        in_wordnet=stem in lexicon(relation, base_word),
        confirmed=sum(votes.values()),
        rejected=len(votes) - sum(votes.values()),
        agreement=players / asked if asked else None,
        agreement_low=low,
        agreement_high=high,
    )
