"""Views of accounts: sign-up, sign-in, sign-out, change of password, export, deletion."""

from __future__ import annotations

from typing import cast

from django.conf import settings
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
from idiolect.web.accounts import devices, personal_data
from idiolect.web.accounts.forms import ChangePasswordForm, DeleteAccountForm, SignUpForm
from idiolect.web.accounts.models import User
from idiolect.web.accounts.names import compute_name_key
from idiolect.web.accounts.players import BACKEND, get_current_player

_ALLOW_FORM_METHODS = require_http_methods(["GET", "HEAD", "POST"])


@_ALLOW_FORM_METHODS
@sensitive_post_parameters()
@rate_limits.rate_limit(rate_limits.SIGN_UP, by=rate_limits.get_client_address)
def sign_up(request: HttpRequest) -> HttpResponse:
    """Create an account; a guest becomes the account and keeps their games."""
    player = get_current_player(request)
    if player is not None and not player.is_guest:
        return redirect("accounts:account")
    # Load the guest a second time: an invalid form writes its values into the instance, and the
    # page must still show the guest's name.
    guest = User.objects.get(pk=player.pk) if player else None
    form = SignUpForm(request.POST or None, instance=guest)
    # Save and sign in; otherwise show the form, with its errors after a POST.
    if request.method == "POST" and form.is_valid() and (user := form.save_if_free()):
        login(request, user, backend=BACKEND)
        messages.success(request, f"Welcome, {user.name}.")
        response = redirect(_get_redirect_url(request))
        devices.remember_device(request, response, user.key)
        return response
    page = {"form": form, "guest": guest is not None, "next": _get_safe_next_url(request)}
    return render(request, "accounts/sign_up.html", page, status=_get_form_status(request))


@_ALLOW_FORM_METHODS
@sensitive_post_parameters()
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in to an account; the session gets a new key, and a guest is deleted."""
    # Count the try before checking the password, so that guessing is limited.
    if request.method == "POST":
        for limit, who in _list_sign_in_limits(request):
            if seconds := rate_limits.check_limit(limit, who):
                return rate_limits.render_too_many(request, seconds)
    # Django rotates the session key in login: a planted session is worth nothing.
    form = AuthenticationForm(request, request.POST or None)
    if request.method == "POST" and form.is_valid():
        user, guest = cast(User, form.get_user()), get_current_player(request)
        login(request, user)
        # Without the session that has just ended, no one could delete the guest's games.
        if guest is not None and guest.is_guest:
            personal_data.erase_person(guest)
        response = redirect(_get_redirect_url(request))
        devices.remember_device(request, response, user.key)
        return response
    # A guest sees that signing in deletes their games.
    player = get_current_player(request)
    page = {
        "form": form,
        "next": _get_safe_next_url(request),
        "guest": player is not None and player.is_guest,
    }
    return render(request, "accounts/sign_in.html", page, status=_get_form_status(request))


def _list_sign_in_limits(request: HttpRequest) -> list[tuple[rate_limits.RateLimit, str]]:
    """Return the limits of a try to sign in, and what each of them counts it for."""
    name = compute_name_key(request.POST.get("username", "")[:90])
    if device := devices.find_device(request, name):
        return [(rate_limits.SIGN_IN_BY_DEVICE, device)]
    here = rate_limits.get_client_address(request)
    return [
        (rate_limits.SIGN_IN_BY_ADDRESS, here),
        (rate_limits.SIGN_IN_BY_ADDRESS_AND_NAME, f"{here} {name}"),
        (rate_limits.SIGN_IN_BY_NAME, name),
    ]


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session."""
    logout(request)
    return redirect("home")


@require_safe
@login_required
def show_account(request: HttpRequest) -> HttpResponse:
    """Show the account page, which links to password, export and deletion."""
    days = settings.SESSION_COOKIE_AGE // 86_400
    return render(request, "accounts/account.html", {"guest_days": days})


@_ALLOW_FORM_METHODS
@sensitive_post_parameters()
@login_required
@rate_limits.rate_limit(rate_limits.PASSWORD)
def change_password(request: HttpRequest) -> HttpResponse:
    """Change the password; other sessions of the account end. Guests have no password."""
    user = cast(User, request.user)
    if user.is_guest:
        return redirect("accounts:sign-up")
    form = ChangePasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        update_session_auth_hash(request, form.save())  # this session stays signed in
        messages.success(request, "Your password has changed.")
        return redirect("accounts:account")
    return render(
        request, "accounts/password.html", {"form": form}, status=_get_form_status(request)
    )


@require_safe
@login_required
def export_account(request: HttpRequest) -> HttpResponse:
    """Download everything that the site keeps about the person, as a JSON file."""
    found = personal_data.export_person(cast(User, request.user))
    response = JsonResponse(found, json_dumps_params={"indent": 2, "ensure_ascii": False})
    response["Content-Disposition"] = 'attachment; filename="idiolect-my-data.json"'
    return response


@_ALLOW_FORM_METHODS
@sensitive_post_parameters()
@login_required
@rate_limits.rate_limit(rate_limits.PASSWORD)
def delete_account(request: HttpRequest) -> HttpResponse:
    """Delete the person and everything that the site keeps about them."""
    user = cast(User, request.user)
    form = DeleteAccountForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        name_key = user.key
        # Erase first: if a source fails, the person stays signed in and can try again.
        personal_data.erase_person(user)
        logout(request)
        messages.success(request, "You are deleted, with everything the site kept about you.")
        response = redirect("home")
        devices.forget_device(request, response, name_key)
        return response
    return render(request, "accounts/delete.html", {"form": form}, status=_get_form_status(request))


def _get_safe_next_url(request: HttpRequest) -> str:
    """Return the URL in ``next`` if it is a page of this site; "" otherwise."""
    target = request.POST.get("next") or request.GET.get("next", "")
    # A link to our sign-in page must not lead to another site.
    safe = url_has_allowed_host_and_scheme(
        target, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return target if safe else ""


def _get_redirect_url(request: HttpRequest) -> str:
    """Return the safe ``next`` URL, or the home page."""
    return _get_safe_next_url(request) or resolve_url("home")


def _get_form_status(request: HttpRequest) -> int:
    """Return 422 for an invalid form, so that scripts and browsers see that it failed."""
    return 422 if request.method == "POST" else 200
