"""The site's folder, secret, hosts and database, as the environment says."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from idiolect.errors import IntegrityError, UsageError
from idiolect.web.data_dir import get_data_dir, make_data_dir
from idiolect.web.database import parse_database_url
from idiolect.web.hosts import LOCAL_HOSTS, list_host_names, parse_hosts
from idiolect.web.secrets import SECRET_FILE, load_secret_key


def test_the_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = load_secret_key(tmp_path)
    assert len(first) >= 50
    assert load_secret_key(tmp_path) == first
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]
    other = tmp_path / "other"
    other.mkdir()
    assert load_secret_key(other) != first


def test_processes_that_start_together_share_one_secret(tmp_path: Path) -> None:
    found: list[str] = []
    starting = threading.Barrier(8)

    def start() -> None:
        starting.wait()
        found.append(load_secret_key(tmp_path))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    told = load_secret_key(tmp_path)
    (tmp_path / SECRET_FILE).chmod(mode)
    with pytest.raises(UsageError, match="chmod 600") as error:
        load_secret_key(tmp_path)
    assert told not in str(error.value)


def test_a_secret_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text("abc")
    (tmp_path / SECRET_FILE).chmod(0o600)
    with pytest.raises(IntegrityError, match="too short"):
        load_secret_key(tmp_path)


def test_where_the_site_keeps_its_things(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "named" / "deep"))
    assert make_data_dir() == tmp_path / "named" / "deep"
    assert stat.S_IMODE(get_data_dir().stat().st_mode) == 0o700
    monkeypatch.setenv("IDIOLECT_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert get_data_dir() == tmp_path / "idiolect"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_data_dir() == tmp_path / ".local" / "share" / "idiolect"


def test_hosts_are_this_machine_unless_named() -> None:
    found = parse_hosts("")
    assert (found.names, found.origins, found.https, found.is_local) == (
        LOCAL_HOSTS,
        (),
        False,
        True,
    )


def test_hosts_as_named() -> None:
    found = parse_hosts("https://nyms.example.org, https://words.example.org:8443")
    assert found.names == ("nyms.example.org", "words.example.org")
    assert found.origins == ("https://nyms.example.org", "https://words.example.org:8443")
    assert found.https and not found.is_local


def test_one_host_without_https_leaves_cookies_to_both() -> None:
    assert not parse_hosts("https://nyms.example.org nyms.local").https


def test_addresses_are_hosts_too() -> None:
    assert parse_hosts("[::1] 192.0.2.7").names == ("[::1]", "192.0.2.7")


@pytest.mark.parametrize("text", ["*", "*.example.org", "ftp://a", "https://", "a/b", "http://[::"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="IDIOLECT_HOSTS"):
        parse_hosts(text)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1", "192.0.2.7", "::1", "nyms.lan"])
def test_a_server_answers_to_the_address_it_listens_on(address: str) -> None:
    found = list_host_names(address)
    assert set(LOCAL_HOSTS) <= set(found) and "*" not in found and "0.0.0.0" not in found
    parse_hosts(" ".join(found))
    if address in ("192.0.2.7", "nyms.lan"):
        assert address in found


def test_the_database_is_a_file_unless_named(tmp_path: Path) -> None:
    found = parse_database_url("", tmp_path)
    assert found["NAME"] == str(tmp_path / "site.sqlite3")
    assert "journal_mode=WAL" in found["OPTIONS"]["init_command"]
    assert found["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert parse_database_url("sqlite:////srv/nyms.db", tmp_path)["NAME"] == "/srv/nyms.db"


def test_postgresql_as_named(tmp_path: Path) -> None:
    found = parse_database_url(
        "postgresql://ann:p%40ss@db.example:5433/nyms?sslmode=require", tmp_path
    )
    assert found["ENGINE"] == "django.db.backends.postgresql"
    named = [found[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")]
    assert named == ["nyms", "ann", "p@ss", "db.example", "5433"]
    assert found["OPTIONS"]["sslmode"] == "require"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann:hidden@db/nyms",
        "postgresql://ann:hidden@db",
        "postgresql://ann:hidden@db:port/nyms",
        "sqlite://",
        "nyms.db",
    ],
)
def test_other_databases_are_refused_without_the_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DATABASE_URL") as error:
        parse_database_url(url, tmp_path)
    assert "hidden" not in str(error.value)


SHOW = """
from idiolect.web import settings as s
print(s.DEBUG, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_HSTS_SECONDS > 0,
      s.SECURE_PROXY_SSL_HEADER is not None, s.ALLOWED_HOSTS == ["localhost", "127.0.0.1", "[::1]"])
"""


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "False False False False False True"),
        ({"IDIOLECT_DEBUG": "1"}, "True False False False False True"),
        ({"IDIOLECT_HOSTS": "https://a.example"}, "False True True True True False"),
        # Pages of errors show variables: never to others, even where the command is debugged.
        (
            {"IDIOLECT_HOSTS": "https://a.example", "IDIOLECT_DEBUG": "1"},
            "False True True True True False",
        ),
    ],
)
def test_settings_are_safe_by_themselves(
    environment: dict[str, str], shown: str, tmp_path: Path
) -> None:
    inherited = {k: v for k, v in os.environ.items() if k not in ("IDIOLECT_HOSTS", "DATABASE_URL")}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=inherited | {"IDIOLECT_HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == shown, done.stderr
