"""Parser of ``IDIOLECT_HOSTS``: the host names of the site, and whether it uses https.

Sends nothing over the network.
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
    """The hosts under which the site answers."""

    names: tuple[str, ...]
    """Host names without scheme and port, for ``ALLOWED_HOSTS``."""
    origins: tuple[str, ...]
    """The entries with a scheme, for ``CSRF_TRUSTED_ORIGINS``."""
    https: bool
    """Whether every entry has the scheme https."""


def parse_hosts(text: str) -> AllowedHosts:
    """Parse hosts such as ``nyms.example.org, https://words.example.org:8443``.

    Commas or spaces separate the entries. An empty text means this machine only. Raises UsageError
    if an entry is not a host name.
    """
    entries = text.replace(",", " ").split() or list(LOCAL_HOSTS)
    names: list[str] = []
    origins: list[str] = []
    secure: list[bool] = []
    for entry in entries:
        invalid = UsageError(
            f"IDIOLECT_HOSTS: {entry!r} is not a host name; "
            "give names such as nyms.example.org or https://nyms.example.org"
        )
        try:
            parts = urlsplit(entry if "://" in entry else f"//{entry}")
        except ValueError:
            raise invalid from None
        name = parts.hostname or ""
        # "*" would allow every host, and Django ignores a path.
        if not name or "*" in name or parts.path.strip("/") or parts.scheme not in _SCHEMES:
            raise invalid
        # Django expects IPv6 addresses in brackets, which urlsplit removes.
        names.append(f"[{name}]" if ":" in name else name)
        secure.append(parts.scheme == "https")
        if parts.scheme:
            origins.append(f"{parts.scheme}://{parts.netloc}")
    return AllowedHosts(names=tuple(names), origins=tuple(origins), https=all(secure))


_SCHEMES = ("", "http", "https")


def list_host_names(address: str) -> tuple[str, ...]:
    """Return the host names under which clients reach a server that listens on ``address``.

    For 0.0.0.0 and :: these include the machine's host name and all its known addresses.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return (*LOCAL_HOSTS, address)
    if not found.is_unspecified:
        return (*LOCAL_HOSTS, f"[{found}]" if found.version == 6 else str(found))
    # The server listens on all interfaces: collect the addresses of this machine.
    own = socket.gethostname()
    try:
        known = {str(info[4][0]) for info in socket.getaddrinfo(own, None)}
    except OSError:
        known = set[str]()
    known.add(_find_outward_address())
    # "%" marks an address with a zone, which no Host header contains.
    addresses = sorted(f"[{a}]" if ":" in a else a for a in known if a and "%" not in a)
    return tuple(dict.fromkeys((*LOCAL_HOSTS, own, f"{own}.local", *addresses)))


def _find_outward_address() -> str:
    """Return the address of this machine in its network; "" if it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a UDP socket sends nothing; it only selects the local address. The target
            # is an address reserved for documentation.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
