"""Limits on what one address, and all of them together, may hold of something.

IPv6 addresses are counted by their /64: a client is given all of it, and could have 2^64 addresses.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from enum import Enum

from service.addresses import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Full(Enum):
    """Which limit leaves no room."""

    TOTAL = "in all"
    ADDRESS = "of one address"


class AddressLimit:
    """Counts holders by address.

    Args:
        total: most of all together.
        per_address: most of one address; IPv6 addresses of one /64 are one.
    """

    def __init__(self, *, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self.count = 0
        self._of_network: Counter[str] = Counter()

    def full(self, network: str) -> Full | None:
        """The limit that one more of this network would pass; None if there is room.

        A network's own limit comes first: if both are reached, others must not pay for it. An
        empty network (a unix socket) is limited by the total alone.
        """
        if network and self._of_network[network] >= self.per_address:
            return Full.ADDRESS
        return Full.TOTAL if self.count >= self.total else None

    def add(self, network: str) -> None:
        """Count one more, whether there is room or not."""
        self.count += 1
        self._of_network[network] += 1

    def remove(self, network: str) -> None:
        """Free the slot that `add` took for this network."""
        self.count -= 1
        self._of_network[network] -= 1
        if not self._of_network[network]:
            # Or every address that ever came would stay.
            del self._of_network[network]


def parse_address(text: str) -> Address | None:
    """An IP address without its zone; IPv4 that is written as IPv6 (`::ffff:192.0.2.1`) is IPv4.
    None for other text."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks of trusted proxies."""
    return any(address in network for network in trusted)
