"""The moderator's pages: the queue of challenges, hidden answers, and rounds to look at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from idiolect.web.game import challenges
from idiolect.web.game.models import Challenge, HiddenAnswer, Round, Verdict, Word


class _ReadOnlyAdmin(admin.ModelAdmin):
    """What the game itself writes: sums would no longer be right if somebody edited it."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Challenge)
class ChallengeAdmin(_ReadOnlyAdmin):
    """The queue: waiting ones first, oldest first; accept or decline by action."""

    list_display = ("sentence", "format_question", "answer", "verdict", "made_at")
    list_filter = ("verdict",)
    list_select_related = ("answer__word",)
    search_fields = ("sentence", "answer__text", "answer__word__base")
    ordering = ("-verdict", "made_at")  # "waiting" is the last of the three words
    actions = ("accept", "decline")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Of the list, for its actions; a single challenge has no form.
        return obj is None and super(admin.ModelAdmin, self).has_change_permission(request)

    @admin.display(description="asked")
    def format_question(self, challenge: Challenge) -> str:
        """Relation and base word."""
        return str(challenge.answer.word)

    @admin.action(description="Accept: the answer gets its bonus", permissions=["change"])
    def accept(self, request: HttpRequest, queryset: QuerySet[Challenge]) -> None:
        """Accept the chosen ones."""
        self._decide_all(request, queryset, accept=True)

    @admin.action(description="Decline", permissions=["change"])
    def decline(self, request: HttpRequest, queryset: QuerySet[Challenge]) -> None:
        """Decline the chosen ones."""
        self._decide_all(request, queryset, accept=False)

    def _decide_all(
        self, request: HttpRequest, queryset: QuerySet[Challenge], *, accept: bool
    ) -> None:
        waiting = queryset.filter(verdict=Verdict.WAITING)
        done = sum(
            challenges.decide_challenge(found, accept=accept, moderator=request.user)
            for found in waiting
        )
        self.message_user(
            request, f"{done} {'accepted' if accept else 'declined'}.", messages.SUCCESS
        )


@admin.register(HiddenAnswer)
class HiddenAnswerAdmin(admin.ModelAdmin):
    """Stems out of sight."""

    list_display = ("stem",)
    search_fields = ("stem",)


@admin.register(Word)
class WordAdmin(_ReadOnlyAdmin):
    """What was asked, and how it went."""

    list_display = ("base", "relation", "rounds", "skips", "points")
    list_filter = ("relation",)
    search_fields = ("base",)


@admin.register(Round)
class RoundAdmin(_ReadOnlyAdmin):
    """Rounds, latest first."""

    list_display = ("word", "player", "state", "untimed", "started_at", "score")
    list_filter = ("state", "untimed", "word__relation")
    list_select_related = ("word", "player")
    ordering = ("-started_at",)
