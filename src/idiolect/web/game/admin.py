"""The game's pages in Django's admin.

Moderators see challenges and hidden answers (`moderators`); administrators also words and rounds.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from idiolect.web.game import challenges
from idiolect.web.game.models import Challenge, HiddenAnswer, Round, Verdict, Word


class _ReadOnlyAdmin(admin.ModelAdmin):
    """A read-only view of rows that the game writes; an edit would make the stored sums wrong."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Challenge)
class ChallengeAdmin(_ReadOnlyAdmin):
    """The queue of challenges, waiting and oldest first; actions accept or decline them."""

    list_display = ("sentence", "format_question", "answer", "verdict", "made_at")
    list_filter = ("verdict",)
    list_select_related = ("answer__word",)
    search_fields = ("sentence", "answer__text", "answer__word__base")
    # "waiting" sorts after "accepted" and "declined", so the reversed order puts it first.
    ordering = ("-verdict", "made_at")
    actions = ("accept", "decline")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # The list needs this permission for its actions. A single challenge has no form.
        return obj is None and super(admin.ModelAdmin, self).has_change_permission(request)

    @admin.display(description="asked")
    def format_question(self, challenge: Challenge) -> str:
        """Return the relation and the base word, for the list."""
        return str(challenge.answer.word)

    @admin.action(description="Accept: the answer gets its bonus", permissions=["change"])
    def accept(self, request: HttpRequest, queryset: QuerySet[Challenge]) -> None:
        """Accept the selected challenges."""
        self._decide_all(request, queryset, accept=True)

    @admin.action(description="Decline", permissions=["change"])
    def decline(self, request: HttpRequest, queryset: QuerySet[Challenge]) -> None:
        """Decline the selected challenges."""
        self._decide_all(request, queryset, accept=False)

    def _decide_all(
        self, request: HttpRequest, queryset: QuerySet[Challenge], *, accept: bool
    ) -> None:
        # The selection may include challenges that have a verdict already.
        waiting = queryset.filter(verdict=Verdict.WAITING)
        # `decide_challenge` returns False if another moderator decided in the meantime.
        decided = sum(
            challenges.decide_challenge(challenge, accept=accept, moderator=request.user)
            for challenge in waiting
        )
        self.message_user(
            request, f"{decided} {'accepted' if accept else 'declined'}.", messages.SUCCESS
        )


@admin.register(HiddenAnswer)
class HiddenAnswerAdmin(admin.ModelAdmin):
    """Stems that are not shown to other players."""

    list_display = ("stem",)
    search_fields = ("stem",)


@admin.register(Word)
class WordAdmin(_ReadOnlyAdmin):
    """The words that players were asked, with their counts."""

    list_display = ("base", "relation", "rounds", "skips", "points")
    list_filter = ("relation",)
    search_fields = ("base",)


@admin.register(Round)
class RoundAdmin(_ReadOnlyAdmin):
    """All rounds, latest first."""

    list_display = ("word", "player", "state", "untimed", "started_at", "score")
    list_filter = ("state", "untimed", "word__relation")
    list_select_related = ("word", "player")
    ordering = ("-started_at",)
