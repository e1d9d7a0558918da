"""The game as a holder of personal data: what goes along with a player, and what stays right.

Rounds, answers, votes, challenges and consent go with the account by themselves (their foreign
keys cascade). The sums kept per word would still count them: they are taken out here.
"""

from __future__ import annotations

from typing import Any

from django.db.models import F

from idiolect.web.accounts.models import User
from idiolect.web.game import personal_export
from idiolect.web.game.models import Round, State, Word


class GameDataSource:
    """Everything a person played."""

    name = "game"

    def export_data(self, user: User) -> Any:
        """Their plays, as JSON takes them."""
        return personal_export.export_player(user)

    def erase_data(self, user: User) -> None:
        """Take them out of the sums of words; in the transaction that removes their account."""
        counted: set[int] = set()
        finished = (
            Round.objects.filter(player=user, state=State.FINISHED, answered__gt=0)
            .order_by("ended_at", "pk")
            .values_list("word", "score", "bonus")
        )
        for word, score, bonus in finished:
            if word not in counted:  # the first round on it, as `rounds` counts
                counted.add(word)
                Word.objects.filter(pk=word).update(
                    rounds=F("rounds") - 1, points=F("points") - (score - bonus)
                )
        skipped = Round.objects.filter(player=user, state=State.SKIPPED).values("word")
        Word.objects.filter(pk__in=skipped).update(skips=F("skips") - 1)


DATA_SOURCE = GameDataSource()
