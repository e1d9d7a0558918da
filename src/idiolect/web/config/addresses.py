"""Network addresses as the limits count them: one text for each customer of a network."""

from __future__ import annotations

import ipaddress

from idiolect.errors import UsageError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_CUSTOMER_BITS = 64
"""A customer owns at least a /64 network of IPv6 and can send from each address in it."""


def parse_address(text: str) -> IPAddress | None:
    """Return an IP address; None if ``text`` is not one (Unix sockets).

    An IPv4 client of a socket that listens on ``::`` has the address ``::ffff:192.0.2.7``: the
    result is its IPv4 address, else all of them would lie in one /64 network. A zone is removed.
    """
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def group_address(text: str) -> str:
    """Return the text that limits count for a client: its IPv4 address, or its IPv6 /64 network.

    Returns ``text`` itself if it is not an IP address.
    """
    found = parse_address(text)
    if found is None:
        return text
    if found.version == 6:
        return str(ipaddress.ip_network((int(found), _CUSTOMER_BITS), strict=False))
    return str(found)


def parse_proxies(text: str) -> tuple[IPNetwork, ...]:
    """Parse ``IDIOLECT_PROXY``: addresses or networks, separated by commas or spaces.

    Raises UsageError for anything else. A name would never match, so that all visitors shared the
    limits of the proxy; ``*`` would let each visitor choose an address.
    """
    proxies: list[IPNetwork] = []
    for entry in text.replace(",", " ").split():
        try:
            proxies.append(ipaddress.ip_network(entry, strict=False))
        except ValueError:
            raise UsageError(
                f"IDIOLECT_PROXY: {entry!r} is not an address; give the address or network of the "
                "proxy, such as 127.0.0.1 or 172.16.0.0/12"
            ) from None
    return tuple(proxies)
