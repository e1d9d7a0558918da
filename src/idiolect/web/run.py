"""Starts the site: database brought up to date, worker beside it, uvicorn in front.

Knows processes and ports; what the site is stands in ``settings.py``. Django and uvicorn are
imported when it starts.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import webbrowser
from collections.abc import Callable, Generator
from importlib.util import find_spec
from pathlib import Path

from idiolect.errors import BusyError, MissingError, UsageError
from idiolect.storage.files import lock
from idiolect.web.data_dir import get_data_dir, make_data_dir
from idiolect.web.hosts import list_host_names, parse_hosts

SETTINGS = "idiolect.web.settings"
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
    tell: Callable[[str], None] = print,
) -> None:
    """Serve the site until it is stopped (Ctrl-C, SIGTERM).

    ``data`` is the site's folder (else ``IDIOLECT_HOME``, else in the user's data folder); ``port``
    0 takes a free one; ``moderators`` are accounts that may enter the admin pages from now on.
    Raises MissingError where the extra ``web`` or a moderator is missing, BusyError where the port
    is taken, UsageError for a host that is none.
    """
    if missing := [name for name in _REQUIRED_MODULES if find_spec(name) is None]:
        raise MissingError(
            f"the site needs {', '.join(missing)}; install it: pip install 'idiolect[web]'"
        )
    _set_environment(host, data)
    os.umask(0o077)  # the database holds hashes of passwords, wherever its folder is
    with contextlib.closing(_open_socket(host, port)) as listening:
        prepare_site(moderators)
        shown = _format_address(listening)
        tell(f"Idiolect is at {shown} (Ctrl-C ends it)")
        tell(f"its data is in {get_data_dir()}")
        if browser:
            _open_browser(shown)
        with _run_worker():
            _run_uvicorn(listening, workers)


def prepare_site(moderators: tuple[str, ...] = ()) -> None:
    """Bring the database up to date, one process at a time, and make moderators."""
    import django
    from django.core.management import call_command

    django.setup()
    with lock(make_data_dir() / "site", wait=True, what="the site"):
        call_command("migrate", verbosity=0, interactive=False)
    from idiolect.web.accounts.models import User, compute_name_key

    for name in moderators:
        found = User.objects.filter(key=compute_name_key(name), is_guest=False)
        if not found.update(is_staff=True, is_superuser=True):
            raise MissingError(f"nobody is called {name!r}; sign up in the browser first")


def _set_environment(host: str, data: Path | None) -> None:
    """Say the settings what the caller said; processes started from here on know it too."""
    if data is not None:
        os.environ["IDIOLECT_HOME"] = str(data.absolute())
    if not os.environ.get("IDIOLECT_HOSTS"):
        os.environ["IDIOLECT_HOSTS"] = " ".join(list_host_names(host))
    parse_hosts(os.environ["IDIOLECT_HOSTS"])
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS


def _open_socket(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError) as error:
        raise UsageError(f"--host {host} --port {port}: {error}") from None
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
    except OSError as error:
        listening.close()
        raise BusyError(
            f"cannot listen on {host}, port {port}: {error.strerror}; choose another: --port "
            f"{port + 1}, or --port 0 for any that is free"
        ) from None
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def _format_address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _open_browser(address: str) -> None:
    """Open the browser in a moment; what it asks for waits until the site is up."""
    if sys.platform == "linux" and not ({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()):
        return  # a browser in the terminal would cover what is said there
    opening = threading.Timer(0.5, webbrowser.open, [address])
    opening.daemon = True
    opening.start()


@contextlib.contextmanager
def _run_worker() -> Generator[None]:
    """A worker as long as the block runs; one that dies is started again."""
    over = threading.Event()
    running: list[subprocess.Popen[bytes]] = []

    def keep_running() -> None:
        while not over.is_set():
            command = [sys.executable, "-m", "idiolect.web.jobs.worker"]
            with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
                running[:] = [child]
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


def _run_uvicorn(listening: socket.socket, workers: int) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    proxy = os.environ.get("IDIOLECT_PROXY", "")
    config = uvicorn.Config(
        "idiolect.web.asgi:application",
        workers=workers,
        # Only a proxy that was named may say where a request comes from.
        proxy_headers=bool(proxy),
        forwarded_allow_ips=proxy or None,
        lifespan="off",  # Django has none
        log_level="warning",
        server_header=False,
        # Somebody who thinks about a word keeps their connection; a form that is sent just as the
        # server closes it would be lost.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    with contextlib.suppress(KeyboardInterrupt):
        if workers > 1:
            Multiprocess(config, sockets=[listening]).run()
        else:
            uvicorn.Server(config).run(sockets=[listening])
