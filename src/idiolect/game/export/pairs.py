"""Every base word and answer with who gave it: what the game's rounds and votes say of a pair.

Counts players beside rounds: one player's many rounds of a word are one opinion.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from idiolect.game.plays import Plays, RoundRow, VoteRow
from idiolect.stats.significance import share_interval

MIN_PLAYERS = 3
"""Players who must have given an answer before others may see it: what only one person writes may
be about somebody."""

Lexicon = Callable[[str, str], Collection[str]]
"""From (relation, base word) to the stems that WordNet has for it."""
PairKey = tuple[str, str, str]
"""(relation, base word, stem)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One base word and answer in one relation."""

    relation: str
    base_word: str
    answer: str
    """The commonest of the spellings that share its stem."""
    players: int
    """Players who gave it."""
    asked: int
    """Players who finished a round of the base word."""
    given: int
    """Rounds in which it was given."""
    rounds: int
    """Finished rounds of the base word."""
    share: float | None
    """``given / rounds``; ``None`` where nobody was asked: then it comes from votes alone."""
    in_wordnet: bool
    confirmed: int
    """Players who said yes to it in Nym or Not."""
    rejected: int
    """Players who said no."""
    agreement: float | None
    """``players / asked``: the share of the players asked who gave it."""
    agreement_low: float | None
    agreement_high: float | None
    """Its 95% interval (Wilson), players being independent."""


def build_pair_rows(
    plays: Plays, lexicon: Lexicon, *, least_players: int = MIN_PLAYERS
) -> list[PairRow]:
    """The pairs that at least ``least_players`` gave or voted on, by relation, word and share."""
    words = _group_by_word(plays.rounds)
    votes = _keep_last_votes(plays.votes)
    spellings = _count_spellings(plays)
    given: dict[PairKey, list[RoundRow]] = defaultdict(list)
    for row in plays.rounds:
        for answer in row.answers:
            given[row.relation, row.base_word, answer.stem].append(row)
    rows = [
        _build_row(
            key, given.get(key, []), words.get(key[:2], []), votes.get(key, {}), texts, lexicon
        )
        for key, texts in spellings.items()
    ]
    seen = [r for r in rows if max(r.players, r.confirmed + r.rejected) >= least_players]
    return sorted(seen, key=lambda r: (r.relation, r.base_word, -(r.share or 0), r.answer))


def _group_by_word(rounds: Iterable[RoundRow]) -> Mapping[tuple[str, str], list[RoundRow]]:
    found: dict[tuple[str, str], list[RoundRow]] = defaultdict(list)
    for row in rounds:
        found[row.relation, row.base_word].append(row)
    return found


def _keep_last_votes(votes: Iterable[VoteRow]) -> Mapping[PairKey, dict[str, bool]]:
    """Each player's last word on each pair."""
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
        # Somebody's own spelling counts before that of the pair they were shown.
        found[vote.relation, vote.base_word, vote.stem][vote.answer] += 0
    return found


def _build_row(
    key: PairKey,
    given: list[RoundRow],
    word: list[RoundRow],
    votes: Mapping[str, bool],
    texts: Counter[str],
    lexicon: Lexicon,
) -> PairRow:
    relation, base_word, stem = key
    players = len({row.player for row in given})
    asked = len({row.player for row in word})
    low, high = share_interval(players, asked) if asked else (None, None)
    return PairRow(
        relation=relation,
        base_word=base_word,
        answer=min(texts, key=lambda text: (-texts[text], text)),
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
