"""Security of the site: headers, inline content, cookies, hosts, admin pages, logs."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.urls import path

from idiolect.web import urls, views
from support.django_site import PASSWORD

pytestmark = pytest.mark.django_db
PAGES = ("/sign-in/", "/sign-up/", "/no-such-page/", "/nyms/", "/healthz")
INLINE = re.compile(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", re.I)


@pytest.mark.finding("http-held")
@pytest.mark.parametrize("page", [*PAGES, "/static/site/site.css"])
def test_strict_policies_adds_headers_to_every_response(site: Client, page: str) -> None:
    headers = site.get(page).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["X-Frame-Options"] == "DENY"
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.finding("http-held")
@pytest.mark.parametrize("page", PAGES)
def test_pages_are_uncached_without_inline_content(site: Client, page: str) -> None:
    answer = site.get(page)
    assert answer.headers["Cache-Control"] == "no-store"
    assert INLINE.search(answer.content.decode()) is None


@pytest.mark.finding("http-held")
def test_templates_have_no_inline_scripts_or_styles() -> None:
    package = Path(views.__file__).parent
    templates = [*package.glob("**/templates/**/*")]
    assert len(templates) > 10
    wrong = [t.name for t in templates if t.is_file() and INLINE.search(t.read_text())]
    assert wrong == []


@pytest.mark.finding("http-held")
def test_templates_and_static_files_load_nothing_from_other_sites() -> None:
    package = Path(views.__file__).parent
    kinds = ("**/templates/**/*.html", "**/static/**/*.css", "**/static/**/*.js")
    files = [f for kind in kinds for f in package.glob(kind)]
    assert len(files) > 40
    loads = re.compile(r"""(?:src|href|url|import|fetch)\s*[=(]?\s*["'(]?(?:https?:)?//""")
    assert [f.name for f in files if loads.search(f.read_text())] == []


@pytest.mark.finding("http-held")
def test_static_files_are_served_and_revalidated(site: Client) -> None:
    first = site.get("/static/site/site.css")
    assert first.status_code == 200 and first.headers["Content-Type"].startswith("text/css")
    assert "max-age=600" in first.headers["Cache-Control"]
    known = {"if-modified-since": first.headers["Last-Modified"]}
    again = site.get("/static/site/site.css", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert site.get("/static/../secret.key").status_code == 404


@pytest.mark.finding("http-held")
def test_cookies_are_http_only_and_same_site(client: Client, ann: Any) -> None:
    client.get("/sign-in/")
    client.post("/sign-in/", {"username": "ann", "password": PASSWORD})
    assert client.cookies.keys() >= {"sessionid", "csrftoken"}
    for name in ("sessionid", "csrftoken"):
        assert client.cookies[name]["httponly"] is True
        assert client.cookies[name]["samesite"] in ("Lax", "Strict")


@override_settings(SESSION_COOKIE_SECURE=True, CSRF_COOKIE_SECURE=True)
def test_cookies_over_https_are_secure(client: Client, ann: Any) -> None:
    client.get("/sign-in/", secure=True)
    client.post("/sign-in/", {"username": "ann", "password": PASSWORD}, secure=True)
    assert client.cookies["sessionid"]["secure"] and client.cookies["csrftoken"]["secure"]


@pytest.mark.finding("http-held")
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "localhost@evil"])
def test_allowed_hosts_refuses_unknown_host(host: str) -> None:
    answer = Client().get("/sign-in/", headers={"host": host})
    assert answer.status_code == 400
    assert host not in answer.content.decode()


def test_admin_pages_open_only_to_moderators(site: Client, ann: Any) -> None:
    assert site.get("/admin/").headers["Location"].startswith("/admin/login/")
    onward = site.get("/admin/login/?next=/admin/").headers["Location"]
    assert onward == "/sign-in/?next=/admin/"
    site.force_login(ann)
    assert site.get("/admin/accounts/user/").status_code == 302
    ann.is_staff = ann.is_superuser = True
    ann.save()
    page = site.get("/admin/accounts/user/")
    assert page.status_code == 200 and b"ann" in page.content
    assert INLINE.search(page.content.decode()) is None
    change = site.get(f"/admin/accounts/user/{ann.pk}/change/").content.decode()
    assert ann.password not in change and INLINE.search(change) is None
    assert site.get("/admin/accounts/user/add/").status_code == 403


def _raise_error(request: Any) -> Any:
    password = request.POST.get("password")
    raise RuntimeError("the view failed") if password else AssertionError("no password arrived")


class WithFailure:
    """The site's URLs and one whose view fails."""

    urlpatterns = (path("fail/", _raise_error), *urls.urlpatterns)
    handler400, handler403 = urls.handler400, urls.handler403
    handler404, handler500 = urls.handler404, urls.handler500


@override_settings(ROOT_URLCONF=WithFailure)
def test_logs_and_error_pages_contain_no_secrets(
    ann: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(raise_request_exception=False)
    for name in ("django", "django.request", "idiolect"):
        logging.getLogger(name).addHandler(caplog.handler)
    try:
        caplog.set_level(logging.DEBUG)
        client.post("/sign-in/", {"username": "ann", "password": "wr0ng-pa55"})
        client.post("/sign-in/", {"username": "ann", "password": PASSWORD})
        answer = client.post("/fail/", {"password": PASSWORD})
    finally:
        for name in ("django", "django.request", "idiolect"):
            logging.getLogger(name).removeHandler(caplog.handler)
    assert answer.status_code == 500
    assert b"Something went wrong" in answer.content
    assert "the view failed" in caplog.text and b"the view failed" not in answer.content
    session = client.cookies["sessionid"].value
    for secret in (PASSWORD, "wr0ng-pa55", settings.SECRET_KEY, session, ann.password):
        assert secret not in caplog.text
        assert secret not in answer.content.decode()


def test_healthz_answers_only_to_get(site: Client) -> None:
    assert site.get("/healthz").json() == {"status": "ok"}
    assert site.post("/healthz").status_code in (403, 405)
