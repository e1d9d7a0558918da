"""Logs: one short line for each message, and not too many of them."""

from __future__ import annotations

import io
import logging
from typing import Any

import pytest

from idiolect.web.edge.logs import MAX_MESSAGE, MAX_TRACEBACK, OneLineFormatter, RepeatLimit
from support.live_site import build_get, capture_site_log, run_live_site

pytestmark = pytest.mark.finding("host-header-log")


@pytest.fixture
def lines() -> Any:
    """A logger whose handler is like the site's, and the stream it writes to."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLineFormatter("%(levelname)s %(message)s"))
    logger = logging.Logger("lines")
    logger.addHandler(handler)
    return logger, stream


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x85", "\u2028", "\x1b[2J", "\u202e"])
def test_one_line_formatter_escapes_line_ends_and_controls(lines: Any, end: str) -> None:
    logger, stream = lines
    logger.error("no page %s", f"/x{end}ERROR forged")
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("ERROR no page /x\\") and line.endswith("ERROR forged")


@pytest.mark.parametrize("letter", ["x", "\x00", "\U000e0001"])
def test_one_line_formatter_shortens_long_message(lines: Any, letter: str) -> None:
    logger, stream = lines
    logger.error("%s", letter * 100_000)
    assert len(stream.getvalue()) <= MAX_MESSAGE + len("ERROR \n")


def test_one_line_formatter_puts_traceback_behind_a_margin(lines: Any) -> None:
    logger, stream = lines
    try:
        raise ValueError("x" * 100_000 + "\nERROR forged")
    except ValueError:
        logger.exception("failed")
    first, *trace = stream.getvalue().splitlines()
    assert first == "ERROR failed"
    assert all(line.startswith("  | ") for line in trace) and trace[-1] == "  | ERROR forged"
    assert len(stream.getvalue()) < MAX_TRACEBACK + 200


def test_repeat_limit_counts_each_place_and_error_type(lines: Any) -> None:
    logger, stream = lines
    now = 0.0
    logger.handlers[0].addFilter(RepeatLimit(burst=3, seconds=10.0, clock=lambda: now))

    def log_failure(error: Exception) -> None:
        # All errors are logged here, as Django does.
        logger.error("failed: %s", error, exc_info=(type(error), error, None))

    for number in range(50):
        log_failure(ValueError(f"a{number}"))
    log_failure(KeyError("b"))
    logger.error("elsewhere")
    written = stream.getvalue()
    assert [f"failed: a{n}\n" in written for n in range(4)] == [True, True, True, False]
    assert "failed: 'b'" in written and "elsewhere" in written
    now = 10.0
    log_failure(ValueError("c"))
    assert "(47 like this left out) failed: c" in stream.getvalue()


def test_bad_host_headers_write_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_site_log() as log, run_live_site(monkeypatch) as server:
        for host in ["evil.example", "\x7f" * 9_000, "a\tb", "[" * 1_000]:
            request = build_get(path="/sign-in/").replace(b"localhost", host.encode())
            assert server.ask(request).startswith(b"HTTP/1.1 400 ")
    assert log.getvalue() == ""


def test_site_log_contains_other_errors() -> None:
    with capture_site_log() as log:
        logging.getLogger("django.request").error("Internal Server Error: %s", "/a\nb")
        logging.getLogger("idiolect.web.run").info("the site\nstarts")
        logging.getLogger("asyncio").error("out of files")
    found = [line.split(" ", 2)[2] for line in log.getvalue().splitlines()]
    assert found == [
        "ERROR django.request: Internal Server Error: /a\\nb",
        "INFO idiolect.web.run: the site\\nstarts",
        "ERROR asyncio: out of files",
    ]
