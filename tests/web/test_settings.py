"""The site's data folder, secret key, hosts, database and settings from the environment."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import pytest

from idiolect.errors import IntegrityError, UsageError
from idiolect.web import rate_limits
from idiolect.web.config.addresses import parse_proxies
from idiolect.web.config.data_dir import get_data_dir, make_data_dir
from idiolect.web.config.database import parse_database_url
from idiolect.web.config.hosts import LOCAL_HOSTS, list_host_names, parse_hosts
from idiolect.web.config.limits import ConnectionLimits, parse_limits
from idiolect.web.config.secrets import SECRET_FILE, load_secret_key
from idiolect.web.rate_limits import RateLimit


def test_load_secret_key_creates_one_private_file(tmp_path: Path) -> None:
    first = load_secret_key(tmp_path)
    assert len(first) >= 50
    assert load_secret_key(tmp_path) == first
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [SECRET_FILE]
    other = tmp_path / "other"
    other.mkdir()
    assert load_secret_key(other) != first


def test_load_secret_key_at_the_same_time_returns_one_key(tmp_path: Path) -> None:
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
def test_load_secret_key_refuses_file_open_to_others(tmp_path: Path, mode: int) -> None:
    key = load_secret_key(tmp_path)
    (tmp_path / SECRET_FILE).chmod(mode)
    with pytest.raises(UsageError, match="chmod 600") as error:
        load_secret_key(tmp_path)
    assert key not in str(error.value)


def test_load_secret_key_refuses_short_key(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_text("abc")
    (tmp_path / SECRET_FILE).chmod(0o600)
    with pytest.raises(IntegrityError, match="too short"):
        load_secret_key(tmp_path)


def test_get_data_dir_follows_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDIOLECT_HOME", str(tmp_path / "named" / "deep"))
    assert make_data_dir() == tmp_path / "named" / "deep"
    assert stat.S_IMODE(get_data_dir().stat().st_mode) == 0o700
    monkeypatch.setenv("IDIOLECT_HOME", "")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert get_data_dir() == tmp_path / "idiolect"
    monkeypatch.setenv("XDG_DATA_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_data_dir() == tmp_path / ".local" / "share" / "idiolect"


def test_parse_hosts_without_text_returns_local_hosts() -> None:
    found = parse_hosts("")
    assert (found.names, found.origins, found.https) == (LOCAL_HOSTS, (), False)


def test_parse_hosts_returns_names_and_origins() -> None:
    found = parse_hosts("https://nyms.example.org, https://words.example.org:8443")
    assert found.names == ("nyms.example.org", "words.example.org")
    assert found.origins == ("https://nyms.example.org", "https://words.example.org:8443")
    assert found.https


def test_parse_hosts_with_one_plain_host_is_not_https() -> None:
    assert not parse_hosts("https://nyms.example.org nyms.local").https


def test_parse_hosts_accepts_ip_addresses() -> None:
    assert parse_hosts("[::1] 192.0.2.7").names == ("[::1]", "192.0.2.7")


@pytest.mark.parametrize("text", ["*", "*.example.org", "ftp://a", "https://", "a/b", "http://[::"])
def test_parse_hosts_refuses_invalid_host(text: str) -> None:
    with pytest.raises(UsageError, match="IDIOLECT_HOSTS"):
        parse_hosts(text)


def test_parse_proxies_returns_networks() -> None:
    found = parse_proxies("127.0.0.1, 172.16.0.0/12 fd00::7")
    assert [str(network) for network in found] == ["127.0.0.1/32", "172.16.0.0/12", "fd00::7/128"]
    assert parse_proxies("") == ()


@pytest.mark.finding("shared-rate-limit")
@pytest.mark.parametrize("text", ["*", "localhost", "127.0.0.1:80", "10.0.0.0/40"])
def test_parse_proxies_refuses_what_would_match_all_or_none(text: str) -> None:
    with pytest.raises(UsageError, match="IDIOLECT_PROXY"):
        parse_proxies(text)


@pytest.mark.finding("slow-requests")
def test_parse_limits_reads_each_field() -> None:
    found = parse_limits({"IDIOLECT_CONNECTIONS": "5", "IDIOLECT_REQUEST_SECONDS": "0.5"})
    assert found == ConnectionLimits(connections=5, request_seconds=0.5)
    assert parse_limits({"IDIOLECT_HEADERS": ""}) == ConnectionLimits()


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5", "nan", "inf"])
def test_parse_limits_refuses_what_is_no_limit(text: str) -> None:
    with pytest.raises(UsageError, match="IDIOLECT_CONNECTIONS is"):
        parse_limits({"IDIOLECT_CONNECTIONS": text})
    if text != "1.5":
        with pytest.raises(UsageError, match="positive number"):
            parse_limits({"IDIOLECT_STALL_SECONDS": text})


def test_site_page_lists_each_limit() -> None:
    page = (Path(__file__).parents[2] / "docs" / "site.md").read_text(encoding="utf-8")
    connection = {
        f"IDIOLECT_{field.name.upper()}": f"{field.default:g}" for field in fields(ConnectionLimits)
    }
    assert dict(re.findall(r"^\| `(IDIOLECT_\w+)` \| (\d+) \|", page, re.M)) == connection
    rates = [limit for limit in vars(rate_limits).values() if isinstance(limit, RateLimit)]
    rows = re.findall(r"\| (\d+) \| (\d+) s \|$", page, re.M)
    assert sorted(rows) == sorted((str(r.burst), f"{r.seconds:g}") for r in rates)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "127.0.0.1", "192.0.2.7", "::1", "nyms.lan"])
def test_list_host_names_includes_listening_address(address: str) -> None:
    found = list_host_names(address)
    assert set(LOCAL_HOSTS) <= set(found) and "*" not in found and "0.0.0.0" not in found
    parse_hosts(" ".join(found))
    if address in ("192.0.2.7", "nyms.lan"):
        assert address in found


def test_parse_database_url_defaults_to_sqlite_file(tmp_path: Path) -> None:
    found = parse_database_url("", tmp_path)
    assert found["NAME"] == str(tmp_path / "site.sqlite3")
    assert "journal_mode=WAL" in found["OPTIONS"]["init_command"]
    assert found["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert parse_database_url("sqlite:////srv/nyms.db", tmp_path)["NAME"] == "/srv/nyms.db"


def test_parse_database_url_reads_postgresql_url(tmp_path: Path) -> None:
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
def test_parse_database_url_refuses_others_without_showing_password(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="DATABASE_URL") as error:
        parse_database_url(url, tmp_path)
    assert "hidden" not in str(error.value)


SHOW = """
from idiolect.web import settings as s
print(s.DEBUG, s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_HSTS_SECONDS > 0,
      s.SECURE_PROXY_SSL_HEADER is not None, s.ALLOWED_HOSTS == ["localhost", "127.0.0.1", "[::1]"])
"""


@pytest.mark.finding("debug-page")
@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, "False False False False False True"),
        # Debug pages show variables: never, since a proxy can have a local name.
        ({"IDIOLECT_DEBUG": "1"}, "False False False False False True"),
        ({"IDIOLECT_HOSTS": "https://a.example"}, "False True True True True False"),
    ],
)
def test_settings_are_safe_by_default(
    environment: dict[str, str], shown: str, tmp_path: Path
) -> None:
    inherited = {k: v for k, v in os.environ.items() if k not in ("IDIOLECT_HOSTS", "DATABASE_URL")}
    result = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=inherited | {"IDIOLECT_HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == shown, result.stderr
