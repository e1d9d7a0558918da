"""Players' rounds as histories of the word relation task, under pseudonyms.

Each export draws new random pseudonyms and does not store them. So two exports cannot be joined,
and no record leads from a pseudonym to a player. Times are truncated to the day, since an observer
may know the exact time at which a player played. As in the table of pairs, answers that few players
gave are left out, and each answer has its most frequent spelling.
"""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from idiolect.game.export.pairs import MIN_PLAYERS, choose_spelling
from idiolect.game.plays import AnswerRow, RoundRow
from idiolect.game.rules.relations import Relation, format_question
from idiolect.history.history import History
from idiolect.history.interaction import Interaction

Determiner = Callable[[str], str]
"""Returns the determiner of a base word; "" if it has none."""
Pseudonym = Callable[[], str]
"""Returns a new pseudonym on each call."""
SECONDS_PER_DAY = 86_400


def new_pseudonym() -> str:
    """A random pseudonym with 16 hex digits."""
    return f"player-{secrets.token_hex(8)}"


def build_histories(
    rounds: Iterable[RoundRow],
    determiner: Determiner,
    *,
    least_players: int = MIN_PLAYERS,
    pseudonym: Pseudonym = new_pseudonym,
) -> list[History]:
    """One history per player, sorted by pseudonym, of the answers that at least ``least_players``
    players gave to the same word; players without such an answer are left out."""
    by_player: dict[str, list[RoundRow]] = defaultdict(list)
    for row in _keep_common_answers(tuple(rounds), least_players):
        by_player[row.player].append(row)
    histories = [
        build_player_history(pseudonym(), played, determiner, resolution=SECONDS_PER_DAY)
        for _, played in sorted(by_player.items())
    ]
    # Sorting by pseudonym hides the order of the players.
    return sorted((h for h in histories if h.items), key=lambda h: h.person)


def _keep_common_answers(rounds: Sequence[RoundRow], least_players: int) -> Iterator[RoundRow]:
    """Yield the rounds with their common answers only, each in its most frequent spelling."""
    players: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    spellings: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for row in rounds:
        for answer in row.answers:
            key = row.relation, row.base_word, answer.stem
            players[key].add(row.player)
            spellings[key][answer.text] += 1
    for row in rounds:
        keys = [(row.relation, row.base_word, answer.stem) for answer in row.answers]
        common = tuple(
            AnswerRow(text=choose_spelling(spellings[key]), stem=key[2])
            for key in keys
            if len(players[key]) >= least_players
        )
        yield replace(row, answers=common)


def build_player_history(
    person: str, rounds: Iterable[RoundRow], determiner: Determiner, *, resolution: float = 1.0
) -> History:
    """The history of one player: one item per answer, in the order in which they were given.

    Times are truncated to multiples of ``resolution`` seconds.
    """
    # The id breaks ties, so that the order does not depend on that of ``rounds``.
    played = sorted(rounds, key=lambda row: (row.finished, row.id))
    given = [(row, answer.text) for row in played for answer in row.answers]
    return History.from_interactions(
        person,
        [
            Interaction(
                id=f"answer-{index}",
                position=index,
                time=row.finished // resolution * resolution,
                fields={
                    "question": format_round_question(row, determiner),
                    "answer": answer,
                    "relation": row.relation,
                    "base_word": row.base_word,
                },
            )
            for index, (row, answer) in enumerate(given)
        ],
    )


def format_round_question(row: RoundRow, determiner: Determiner) -> str:
    """The question of a round, as the player saw it."""
    return format_question(Relation(row.relation), row.base_word, determiner(row.base_word))
