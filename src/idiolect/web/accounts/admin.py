"""People in the admin pages: who is a moderator, who is shut out. No passwords, no play."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest

from idiolect.web.accounts.models import User


@admin.register(User)
class UserAdmin(admin.ModelAdmin):
    """Find people, let them moderate, shut them out."""

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

    def has_add_permission(self, request: HttpRequest) -> bool:
        """People sign up by themselves."""
        return False
