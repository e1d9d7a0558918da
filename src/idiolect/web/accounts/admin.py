"""Admin pages of people, for administrators only. Shows no passwords and no games."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from idiolect.web.accounts import personal_data
from idiolect.web.accounts.models import User


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    """Searches people, blocks them, deletes them."""

    list_display = ("username", "is_guest", "is_staff", "is_active", "joined", "last_login")
    list_filter = ("is_guest", "is_staff", "is_active")
    search_fields = ("username",)
    fields = [
        "username",
        "is_guest",
        "is_active",
        "is_staff",
        "is_superuser",
        "groups",
        "user_permissions",
        "joined",
        "last_login",
    ]
    readonly_fields = ("is_guest", "joined", "last_login")
    filter_horizontal = ("groups", "user_permissions")

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """Delete a person like the person would."""
        personal_data.erase_person(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Delete the selected people."""
        for person in queryset:
            personal_data.erase_person(person)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False: people sign up themselves."""
        return False
