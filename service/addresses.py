"""IP addresses: which may be connected to, and which belong to one client. Pure.

Sources: the special-purpose registries of IANA (RFC 6890); RFC 4291 2.5.5 (IPv4 inside IPv6), RFC
2765 (IPv4-translated), RFC 3056 (6to4), RFC 6052 (NAT64).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# `ipaddress` calls these global; they lead inside, to relays, or nowhere.
_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16",
        "3fff::/20", "5f00::/16", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
# Forms of IPv6 that lead to an IPv4 address → how many bits stand after it.
_CARRIERS = {
    ipaddress.IPv6Network("::/96"): 0,
    ipaddress.IPv6Network("::ffff:0:0/96"): 0,
    ipaddress.IPv6Network("::ffff:0:0:0/96"): 0,
    ipaddress.IPv6Network("64:ff9b::/96"): 0,
    ipaddress.IPv6Network("2002::/16"): 80,
}
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
# RFC 6177: a site has at least so much, so that each of its addresses would be another client.
_CLIENT_BITS = 64


@lru_cache(maxsize=4_096)
def is_allowed(address: str, networks: tuple[Network, ...] = ()) -> bool:
    """Whether an IP address may be connected to: public ones, and those of `networks`.

    An IPv6 address that carries an IPv4 address leads to that one, which must be allowed, too.
    """
    ip = _parse(address)
    inner = carried(ip)
    if inner is not None and not is_allowed(str(inner), networks):
        return False
    if inner is not None and ip in _MAPPED:
        return True
    return is_in(ip, networks) or (ip.is_global and not is_in(ip, _DENIED))


def carried(ip: Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to; None for all other addresses."""
    # `::` and `::1` are addresses by themselves (RFC 4291 2.5.2 and 2.5.3).
    if isinstance(ip, ipaddress.IPv4Address) or int(ip) <= 1:
        return None
    for network, bits_after in _CARRIERS.items():
        if ip in network:
            return ipaddress.IPv4Address(int(ip) >> bits_after & 0xFFFF_FFFF)
    return None


def parse_address(text: str) -> Address | None:
    """Return an IP address without its zone, IPv4 that is written as IPv6 (`::ffff:192.0.2.1`) as
    IPv4; None for other text."""
    try:
        address = _parse(text)
    except ValueError:
        return None
    return carried(address) if address in _MAPPED else address


def network_of(address: str) -> str:
    """Return what counts as one client or host in limits: an IPv4 address, or an IPv6 network of
    64 bits; the text itself if it is not an IP address."""
    ip = parse_address(address)
    if ip is None or isinstance(ip, ipaddress.IPv4Address):
        return address if ip is None else str(ip)
    return str(ipaddress.IPv6Network((int(ip), _CLIENT_BITS), strict=False))


def is_in(ip: Address, networks: Collection[Network]) -> bool:
    """Return whether an address is in one of these networks."""
    return any(ip in network for network in networks)


def _parse(address: str) -> Address:
    return ipaddress.ip_address(address.partition("%")[0])
