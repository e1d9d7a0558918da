"""``IDIOLECT_HOSTS``: the names under which the site answers, and whether it is reached by https.

Knows names and addresses; asks no network.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from idiolect.errors import UsageError

LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class AllowedHosts:
    """``names`` the site answers to; ``origins`` where a scheme is given; ``https`` if always."""

    names: tuple[str, ...]
    origins: tuple[str, ...]
    https: bool

    @property
    def is_local(self) -> bool:
        """Whether only this machine itself can name the site."""
        return all(name in LOCAL_HOSTS for name in self.names)


def parse_hosts(text: str) -> AllowedHosts:
    """Read ``nyms.example.org, https://words.example.org:8443``; empty means this machine.

    Raises UsageError for what is no host.
    """
    entries = text.replace(",", " ").split() or list(LOCAL_HOSTS)
    names: list[str] = []
    origins: list[str] = []
    secure: list[bool] = []
    for entry in entries:
        wrong = UsageError(
            f"IDIOLECT_HOSTS: {entry!r} is no host; "
            "give names such as nyms.example.org or https://nyms.example.org"
        )
        try:
            parts = urlsplit(entry if "://" in entry else f"//{entry}")
        except ValueError:
            raise wrong from None
        name = parts.hostname or ""
        if not name or "*" in name or parts.path.strip("/") or parts.scheme not in _SCHEMES:
            raise wrong
        names.append(f"[{name}]" if ":" in name else name)
        secure.append(parts.scheme == "https")
        if parts.scheme:
            origins.append(f"{parts.scheme}://{parts.netloc}")
    return AllowedHosts(names=tuple(names), origins=tuple(origins), https=all(secure))


_SCHEMES = ("", "http", "https")


def list_host_names(address: str) -> tuple[str, ...]:
    """Under which names a server that listens on ``address`` is reached.

    For 0.0.0.0 and :: these are this machine's name and the addresses it is known by.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return (*LOCAL_HOSTS, address)
    if not found.is_unspecified:
        return (*LOCAL_HOSTS, f"[{found}]" if found.version == 6 else str(found))
    own = socket.gethostname()
    try:
        known = {str(info[4][0]) for info in socket.getaddrinfo(own, None)}
    except OSError:
        known = set[str]()
    known.add(_find_outward_address())
    addresses = sorted(f"[{a}]" if ":" in a else a for a in known if a and "%" not in a)
    return tuple(dict.fromkeys((*LOCAL_HOSTS, own, f"{own}.local", *addresses)))


def _find_outward_address() -> str:
    """The address that other machines of the network see; empty where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a documentation address: nothing is sent
        except OSError:
            return ""
        return str(probe.getsockname()[0])
