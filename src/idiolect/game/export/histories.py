"""Players' rounds as histories of the word relation task, under names that say nothing.

Pseudonyms are drawn anew for each export and kept nowhere: two exports cannot be joined by them,
and nobody can be asked who is behind one. Times are cut to the day, since the second at which
somebody played is known to whoever saw them play.
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
"""From a base word to the determiner that it is asked with, perhaps none."""
Pseudonym = Callable[[], str]
SECONDS_PER_DAY = 86_400


def new_pseudonym() -> str:
    """A pseudonym (16 hex digits) that follows from nothing."""
    return f"player-{secrets.token_hex(8)}"


def build_histories(
    rounds: Iterable[RoundRow], determiner: Determiner, *, pseudonym: Pseudonym = new_pseudonym
) -> list[History]:
    """One history a player who gave an answer, sorted by pseudonym."""
    by_player: dict[str, list[RoundRow]] = defaultdict(list)
    for row in rounds:
        by_player[row.player].append(row)
    made = [
        build_player_history(pseudonym(), played, determiner, resolution=SECONDS_PER_DAY)
        for _, played in sorted(by_player.items())
    ]
    return sorted((h for h in made if h.items), key=lambda h: h.person)


def build_player_history(
    person: str, rounds: Iterable[RoundRow], determiner: Determiner, *, resolution: float = 1.0
) -> History:
    """One player's answers, an item each, in the order in which they were given.

    ``resolution`` is that of the times, in seconds.
    """
    played = sorted(rounds, key=lambda row: (row.finished, row.id))
    given = [(row, answer.text) for row in played for answer in row.answers]
    return History.of(
        person,
        [
            Interaction(
                id=f"answer-{place}",
                position=place,
                time=row.finished // resolution * resolution,
                fields={
                    "question": format_round_question(row, determiner),
                    "answer": answer,
                    "relation": row.relation,
                    "base_word": row.base_word,
                },
            )
            for place, (row, answer) in enumerate(given)
        ],
    )


def format_round_question(row: RoundRow, determiner: Determiner) -> str:
    """The question of a round, as the player read it."""
    return format_question(Relation(row.relation), row.base_word, determiner(row.base_word))
