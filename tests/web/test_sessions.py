"""Sessions that earlier versions stored."""

from __future__ import annotations

import pytest
from django.contrib.auth import BACKEND_SESSION_KEY

from idiolect.web.sessions import FORMER_BACKENDS


@pytest.mark.parametrize("former", FORMER_BACKENDS)
def test_session_of_a_former_backend_stays_signed_in(ann, site, former: str):
    """A guest exists only through the session, so an update must not sign anyone out."""
    site.force_login(ann)
    session = site.session
    session[BACKEND_SESSION_KEY] = former
    session.save()

    page = site.get("/account/")

    assert page.status_code == 200
    assert page.context["user"] == ann


def test_session_of_an_unknown_backend_is_signed_out(ann, site):
    site.force_login(ann)
    session = site.session
    session[BACKEND_SESSION_KEY] = "elsewhere.Backend"
    session.save()

    assert site.get("/account/").status_code == 302
