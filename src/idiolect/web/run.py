"""Starts the site: migrates the database, starts the job worker, and runs uvicorn.

Imports Django and uvicorn only when it starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Any

from idiolect.errors import BusyError, MissingError, UsageError
from idiolect.storage.files import hold_lock
from idiolect.web.config.addresses import parse_proxies
from idiolect.web.config.data_dir import get_data_dir, make_data_dir
from idiolect.web.config.hosts import list_host_names, parse_hosts
from idiolect.web.config.limits import parse_limits

SETTINGS = "idiolect.web.settings"
NO_PROXY_NAMED = (
    "note: all visitors share one limit on signing in, because IDIOLECT_PROXY does not name the "
    "proxy that they come through"
)
_REQUIRED_MODULES = (
    *("django", "django_htmx", "ninja", "uvicorn", "httptools"),
    *("whitenoise", "argon2", "psycopg"),
)


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    data: Path | None = None,
    workers: int = 1,
    browser: bool = False,
    moderators: tuple[str, ...] = (),
    administrators: tuple[str, ...] = (),
    tell: Callable[[str], None] = print,
) -> None:
    """Serve the site until it is stopped (Ctrl-C, SIGTERM).

    Args:
        host: host name or address to listen on.
        port: port to listen on; 0 takes a free one.
        data: the site's data folder; by default ``IDIOLECT_HOME``, else a folder in the user's
            data folder.
        workers: number of uvicorn processes.
        browser: whether to open the site in a browser.
        moderators: names of accounts that become moderators: they decide on challenges and hide
            answers.
        administrators: names of accounts that may use all admin pages.
        tell: receives the lines that say where the site is.

    Raises:
        MissingError: if the extra ``web`` is not installed or a named account does not exist.
        BusyError: if the port is in use.
        UsageError: if ``host`` is not a host.
    """
    if missing := [name for name in _REQUIRED_MODULES if find_spec(name) is None]:
        raise MissingError(
            f"the site needs {', '.join(missing)}; install it: pip install 'idiolect[web]'"
        )
    # The settings read the environment when Django loads them, here and in child processes.
    _set_environment(host, data)
    os.umask(0o077)  # the database contains password hashes: keep it private in any folder
    with contextlib.closing(_open_socket(host, port)) as listening:
        # The socket already listens: requests wait in its queue until uvicorn runs.
        prepare_site(moderators, administrators)
        shown = _format_address(listening)
        tell(f"Idiolect runs at {shown} (press Ctrl-C to stop it)")
        tell(f"its data is in {get_data_dir()}")
        if parse_hosts(os.environ["IDIOLECT_HOSTS"]).https and not os.environ.get("IDIOLECT_PROXY"):
            tell(NO_PROXY_NAMED)
        if browser:
            _open_browser(shown)
        with _close_database(), _stop_on_sigterm(), _run_worker():
            _run_uvicorn(listening, workers)


@contextlib.contextmanager
def _stop_on_sigterm() -> Generator[None]:
    """Make SIGTERM end the block like Ctrl-C, so that what follows the block still runs."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # uvicorn stops at the signal and then raises it again for this handler.
    earlier = signal.signal(signal.SIGTERM, interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


@contextlib.contextmanager
def _close_database() -> Generator[None]:
    """Empty the database's log after the block and close the connections of all threads."""
    from idiolect.web.database import maintenance

    maintenance.track_connections()
    try:
        yield
    finally:
        # With one process, uvicorn ran the site here, in threads that keep their connections.
        if (site := sys.modules.get("idiolect.web.asgi")) is not None:
            site.application.stop_threads()
        maintenance.close_connections()


def prepare_site(moderators: tuple[str, ...] = (), administrators: tuple[str, ...] = ()) -> None:
    """Migrate the database, one process at a time, and give the named accounts their roles.

    Raises MissingError if there is no account with such a name, UsageError if a name has both
    roles.
    """
    import django
    from django.core.management import call_command

    django.setup()
    with hold_lock(make_data_dir() / "site", wait=True, what="the site"):
        call_command("migrate", verbosity=0, interactive=False)
    from idiolect.web.accounts.models import User
    from idiolect.web.accounts.names import compute_name_key
    from idiolect.web.game.moderators import appoint_administrator, appoint_moderator

    found: dict[User, Callable[[User], None]] = {}
    for appoint, names in (
        (appoint_moderator, moderators),
        (appoint_administrator, administrators),
    ):
        for name in names:
            # Guests are excluded: they have no password that protects the admin pages.
            user = User.objects.filter(key=compute_name_key(name), is_guest=False).first()
            if user is None:
                raise MissingError(
                    f"there is no account named {name!r}; sign up in the browser first"
                )
            if found.setdefault(user, appoint) is not appoint:
                raise UsageError(f"{name!r} cannot be both a moderator and an administrator")
    for user, appoint in found.items():
        appoint(user)


def _set_environment(host: str, data: Path | None) -> None:
    """Pass the options to the settings in environment variables, which child processes inherit."""
    if data is not None:
        os.environ["IDIOLECT_HOME"] = str(data.absolute())
    # Without explicit hosts, answer to every name of the address that the server listens on.
    if not os.environ.get("IDIOLECT_HOSTS"):
        os.environ["IDIOLECT_HOSTS"] = " ".join(list_host_names(host))
    # Fail now if they are invalid.
    parse_hosts(os.environ["IDIOLECT_HOSTS"])
    parse_proxies(os.environ.get("IDIOLECT_PROXY", ""))
    parse_limits(os.environ)
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS


def _open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket that uvicorn's processes can inherit."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError) as error:
        raise UsageError(f"--host {host} --port {port}: {error}") from None
    listening = socket.socket(family)
    # A restarted site gets its port at once, although old connections still linger.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise BusyError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another port: --port "
            f"{port + 1}, or --port 0 for any free port"
        ) from None
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def _format_address(listening: socket.socket) -> str:
    """Return the URL of the site; ``localhost`` for a socket that listens on all interfaces."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _open_browser(address: str) -> None:
    """Open the browser in half a second; its request waits until the site runs."""
    if sys.platform == "linux" and not ({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        return  # without a display, a text browser would take over the terminal
    opening = threading.Timer(0.5, webbrowser.open, [address])
    opening.daemon = True
    opening.start()


@contextlib.contextmanager
def _run_worker() -> Generator[None]:
    """Run a job worker process during the block; restart it 5 seconds after it dies."""
    over = threading.Event()

    def keep_running() -> None:
        while not over.is_set():
            command = [sys.executable, "-m", "idiolect.web.jobs.worker"]
            # The worker exits when its stdin closes, also if this process is killed.
            with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
                # Wait until the worker dies or the block ends.
                while child.poll() is None and not over.wait(0.2):
                    pass
                if child.poll() is None:
                    child.terminate()
            over.wait(5.0)

    keeper = threading.Thread(target=keep_running, name="worker", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join(timeout=10.0)


def build_server_config(workers: int = 1) -> Any:
    """Return uvicorn's configuration; Django must be set up."""
    import uvicorn
    from django.conf import settings

    proxies = [str(network) for network in settings.PROXIES]
    return uvicorn.Config(
        "idiolect.web.asgi:application",
        http="idiolect.web.edge.protocol:GuardedProtocol",
        ws="none",
        workers=workers,
        # Only the named proxy may set the client's address and scheme in headers.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        lifespan="off",
        log_config=None,  # the settings of Django contain it
        log_level="error",  # a warning for each bad request would help only who sends it
        server_header=False,
        timeout_keep_alive=settings.LIMITS.idle_seconds,
        timeout_graceful_shutdown=5,
    )


def _run_uvicorn(listening: socket.socket, workers: int) -> None:
    """Serve the site on the socket with ``workers`` processes until a signal stops it."""
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    config = build_server_config(workers)
    with contextlib.suppress(KeyboardInterrupt):
        if workers > 1:
            Multiprocess(config, sockets=[listening]).run()
        else:
            uvicorn.Server(config).run(sockets=[listening])
