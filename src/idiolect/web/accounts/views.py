"""Signing up, in and out; the account page: password, export, delete."""

from __future__ import annotations

from typing import cast

from django.contrib import messages
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from idiolect.web import rate_limits
from idiolect.web.accounts import personal_data
from idiolect.web.accounts.forms import ChangePassword, DeleteMe, SignUp
from idiolect.web.accounts.models import User, name_key
from idiolect.web.accounts.players import BACKEND, current_player

_FORM = require_http_methods(["GET", "HEAD", "POST"])


@_FORM
@sensitive_post_parameters()
@rate_limits.limited(rate_limits.SIGN_UP, by=rate_limits.address)
def sign_up(request: HttpRequest) -> HttpResponse:
    """Make an account; a guest keeps everything they played."""
    player = current_player(request)
    if player is not None and not player.is_guest:
        return redirect("accounts:account")
    # A row of its own: a form with mistakes writes what was typed into it.
    guest = User.objects.get(pk=player.pk) if player else None
    form = SignUp(request.POST or None, instance=guest)
    if request.method == "POST" and form.is_valid() and (user := form.save_if_free()):
        login(request, user, backend=BACKEND)
        messages.success(request, f"Welcome, {user.name}.")
        return redirect(_onward(request))
    page = {"form": form, "guest": guest is not None, "next": _asked(request)}
    return render(request, "accounts/sign_up.html", page, status=_status(request))


@_FORM
@sensitive_post_parameters()
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in; the session gets a new key, and a guest's session ends."""
    if request.method == "POST":
        name, here = name_key(request.POST.get("username", "")[:90]), rate_limits.address(request)
        for limit, who in (
            (rate_limits.SIGN_IN_HERE, here),
            (rate_limits.SIGN_IN_AS, f"{here} {name}"),
            (rate_limits.SIGN_IN_ANYWHERE, name),
        ):
            if seconds := rate_limits.wait(limit, who):
                return rate_limits.too_many(request, seconds)
    form = AuthenticationForm(request, request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.get_user())
        return redirect(_onward(request))
    player = current_player(request)
    page = {"form": form, "next": _asked(request), "guest": player is not None and player.is_guest}
    return render(request, "accounts/sign_in.html", page, status=_status(request))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("home")


@require_safe
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """What one can do about oneself."""
    return render(request, "accounts/account.html")


@_FORM
@sensitive_post_parameters()
@login_required
@rate_limits.limited(rate_limits.PASSWORD)
def password(request: HttpRequest) -> HttpResponse:
    """Change the password; other sessions of the account end."""
    user = cast(User, request.user)
    if user.is_guest:
        return redirect("accounts:sign-up")
    form = ChangePassword(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        update_session_auth_hash(request, form.save())
        messages.success(request, "Your password is changed.")
        return redirect("accounts:account")
    return render(request, "accounts/password.html", {"form": form}, status=_status(request))


@require_safe
@login_required
def export(request: HttpRequest) -> HttpResponse:
    """Everything the site keeps of the person, as a JSON file."""
    found = personal_data.export(cast(User, request.user))
    response = JsonResponse(found, json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = 'attachment; filename="idiolect-my-data.json"'
    return response


@_FORM
@sensitive_post_parameters()
@login_required
@rate_limits.limited(rate_limits.PASSWORD)
def delete(request: HttpRequest) -> HttpResponse:
    """Delete the person and all that is kept of them."""
    user = cast(User, request.user)
    form = DeleteMe(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        personal_data.erase(user)
        logout(request)
        messages.success(request, "You are deleted, with everything that was kept of you.")
        return redirect("home")
    return render(request, "accounts/delete.html", {"form": form}, status=_status(request))


def _asked(request: HttpRequest) -> str:
    """The page to go on to, if it is one of ours."""
    target = request.POST.get("next") or request.GET.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if safe else ""


def _onward(request: HttpRequest) -> str:
    return _asked(request) or resolve_url("home")


def _status(request: HttpRequest) -> int:
    """422 for a form with mistakes, so that nothing takes it for done."""
    return 422 if request.method == "POST" else 200
