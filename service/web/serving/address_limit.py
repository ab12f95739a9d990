"""Limits on what one address, and all of them together, may hold of something.

What is counted is a network (`addresses.network_of`): a client of IPv6 is given a /64, and could
have 2^64 addresses.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum


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
        self.refused: Counter[Full] = Counter()
        """How many were refused since the start, by limit; the code that refuses them counts."""
        self._of_network: Counter[str] = Counter()

    def full(self, network: str) -> Full | None:
        """The limit that one more of this network would pass; None if there is room.

        A network's own limit comes first: if both are reached, others must not pay for it. An
        empty network (a unix socket) is limited by the total alone.
        """
        if network and self._of_network[network] >= self.per_address:
            return Full.ADDRESS
        return Full.TOTAL if self.count >= self.total else None

    def has(self, network: str) -> bool:
        """Whether this network has any."""
        return network in self._of_network

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
