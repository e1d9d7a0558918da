"""What happens to the game's sums when a player's account goes; knows nothing of accounts.

Rounds, answers, votes, challenges and consent go with the account by themselves (their foreign
keys cascade). The sums kept per word would still count them: they are taken out here, in the same
transaction.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F
from django.db.models.signals import pre_delete

from idiolect.game.models import Round, State, Word


def connect() -> None:
    """Listen for accounts that are deleted, wherever from: by their owner or in the admin."""
    pre_delete.connect(
        _take_out, sender=settings.AUTH_USER_MODEL, dispatch_uid="idiolect.game.leaving"
    )


def _take_out(sender: Any, instance: Any, **_: Any) -> None:
    with transaction.atomic():
        counted: set[int] = set()
        first = (
            Round.objects.filter(
                player=instance, state=State.FINISHED, untimed=False, answered__gt=0
            )
            .order_by("ended_at", "pk")
            .values_list("word", "score", "bonus")
        )
        for word, score, bonus in first:
            if word not in counted:
                counted.add(word)
                Word.objects.filter(pk=word).update(
                    rounds=F("rounds") - 1, points=F("points") - (score - bonus)
                )
        skipped = (
            Round.objects.filter(player=instance, state=State.SKIPPED)
            .order_by()
            .values_list("word")
            .annotate(times=Count("pk"))
        )
        for word, _times in skipped:
            Word.objects.filter(pk=word).update(skips=F("skips") - 1)
