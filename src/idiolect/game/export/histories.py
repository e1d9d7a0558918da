"""Players' rounds as histories of the word relation task, under pseudonyms.

Each export draws new random pseudonyms and does not store them. So two exports cannot be joined,
and no record leads from a pseudonym to a player. Times are truncated to the day, since an observer
may know the exact time at which a player played.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable

from idiolect.game.plays import RoundRow
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
    rounds: Iterable[RoundRow], determiner: Determiner, *, pseudonym: Pseudonym = new_pseudonym
) -> list[History]:
    """One history per player who gave an answer, sorted by pseudonym."""
    by_player: dict[str, list[RoundRow]] = defaultdict(list)
    for row in rounds:
        by_player[row.player].append(row)
    histories = [
        build_player_history(pseudonym(), played, determiner, resolution=SECONDS_PER_DAY)
        for _, played in sorted(by_player.items())
    ]
    # Sorting by pseudonym hides the order of the players.
    return sorted((h for h in histories if h.items), key=lambda h: h.person)


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
