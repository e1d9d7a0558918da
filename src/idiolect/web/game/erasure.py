"""Export and erasure of a player's data in the game.

Foreign keys with ``CASCADE`` delete rounds, answers, votes, challenges and consent together with
the account. The sums stored per word would still include the player, so this module subtracts them.
"""

from __future__ import annotations

from typing import Any

from django.db.models import F

from idiolect.web.accounts.models import User
from idiolect.web.game import personal_export
from idiolect.web.game.models import Round, State, Word


class GameDataSource:
    """The game's data about one person, as the accounts app asks for it."""

    name = "game"

    def export_data(self, user: User) -> Any:
        """Return the person's plays as values that fit into JSON."""
        return personal_export.export_player(user)

    def erase_data(self, user: User) -> None:
        """Subtract the person from the sums of words.

        Runs in the transaction that deletes the account. A stored sum that is smaller than the
        person's part of it is wrong, and is computed again.
        """
        wrong: set[int] = set()
        counted: set[int] = set()
        finished = (
            Round.objects.filter(player=user, state=State.FINISHED, answered__gt=0)
            .order_by("ended_at", "pk")
            .values_list("word", "score", "bonus")
        )
        for word, score, bonus in finished:
            # Only the first round on a word was added to its sums (`scoring.save_score`).
            if word not in counted:
                counted.add(word)
                part = max(score - bonus, 0)
                enough = Word.objects.filter(pk=word, rounds__gte=1, points__gte=part)
                if not enough.update(rounds=F("rounds") - 1, points=F("points") - part):
                    wrong.add(word)
        # `rounds.skip_round` counts each player's skips of a word once.
        skipped = Round.objects.filter(player=user, state=State.SKIPPED).values("word")
        words = Word.objects.filter(pk__in=skipped)
        wrong |= set(words.filter(skips=0).values_list("pk", flat=True))
        words.filter(skips__gte=1).update(skips=F("skips") - 1)
        for word in wrong:
            recompute_sums(word, excluding=user)

    def remove_orphans(self) -> None:
        """Do nothing: the game keeps no files."""


def recompute_sums(word: int, *, excluding: User) -> None:
    """Compute the sums of a word again from all rounds but those of ``excluding``."""
    others = Round.objects.filter(word=word).exclude(player=excluding)
    # As in `scoring.save_score` and `rounds.skip_round`: each player's first round, and one skip.
    first: dict[int, int] = {}
    finished = others.filter(state=State.FINISHED, answered__gt=0).order_by("ended_at", "pk")
    for player, score, bonus in finished.values_list("player", "score", "bonus"):
        first.setdefault(player, score - bonus)
    Word.objects.filter(pk=word).update(
        rounds=len(first),
        points=sum(first.values()),
        skips=others.filter(state=State.SKIPPED).values("player").distinct().count(),
    )


DATA_SOURCE = GameDataSource()
