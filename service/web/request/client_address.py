"""Who sent a request: the address that limits per client count by.

The peer of a connection is certain. `X-Forwarded-For` is a list to which each proxy appends the
address that it saw, so it is read from the right, and only as far as TRUSTED_PROXIES vouch for it:
the first address from the right that is not a trusted proxy is the client, and whatever stands
left of it may be forged. From a peer that is not trusted the header is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from service.addresses import Address, Network, is_in, network_of, parse_address
from service.web.request.keys import SETTINGS

HEADER = "X-Forwarded-For"
MAX_HOPS = 20
"""Entries of the header that are read: more proxies of one's own than anybody has in a row."""


def client_address(request: web.Request) -> str:
    """The client's IP address as text; empty where the connection has none (a unix socket)."""
    peer = parse_address(request.remote or "")
    if peer is None:
        return ""
    trusted = request.app[SETTINGS].trusted_proxies
    if not is_in(peer, trusted):
        return str(peer)
    return str(forwarded_for(peer, request.headers.getall(HEADER, []), trusted=trusted))


def client_network(request: web.Request) -> str:
    """What a limit per client counts by: the IPv4 address, or the /64 of an IPv6 address."""
    return network_of(client_address(request))


def forwarded_for(peer: Address, lines: Sequence[str], *, trusted: Sequence[Network]) -> Address:
    """The last address of the chain of proxies that is not a trusted proxy.

    Args:
        peer: a trusted proxy.
        lines: the X-Forwarded-For headers of the request, in order.

    Returns:
        The leftmost address if all of them are trusted; the last trusted proxy where the entry
        that it added is not an address.
    """
    address = peer
    hops = ",".join(lines).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    for hop in reversed(hops):
        previous = parse_address(_without_port(hop.strip()))
        if previous is None:
            return address
        address = previous
        if not is_in(address, trusted):
            return address
    return address


def _without_port(text: str) -> str:
    """Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    # An IPv6 address has two colons at least.
    return text.partition(":")[0] if text.count(":") == 1 else text
