"""Which addresses may be connected to, by unwrapping what hides a private one."""

from __future__ import annotations

import ipaddress

import pytest

from service.addresses import is_allowed, network_of


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False),
        ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("192.88.99.1", False), ("192.0.0.8", False), ("::1", False), ("::", False),
        ("fe80::1%eth0", False), ("fc00::1", False), ("ff02::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", True),
        ("::127.0.0.1", False), ("::93.184.216.34", False), ("::2", False),
        ("::ffff:0:127.0.0.1", False), ("::ffff:0:93.184.216.34", False),
        ("64:ff9b::7f00:1", False), ("64:ff9b::5db8:d822", False), ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False), ("2002:5db8:d822::1", False),
        ("2001::1", False), ("3fff::1", False), ("5f00::1", False), ("fec0::1", False),
    ],
)  # fmt: skip
def test_addresses(address: str, allowed: bool) -> None:
    """Public ones alone, in every form that leads to an address."""
    assert allowed == is_allowed(address)


def test_networks_open_what_they_name() -> None:
    """And nothing besides; IPv4 inside IPv6, too."""
    names = ("127.0.0.0/8", "fc00::/7", "::1/128")
    networks = tuple(map(ipaddress.ip_network, names))
    for address in ("127.9.9.9", "::ffff:127.0.0.1", "fc00::1", "::1"):
        assert is_allowed(address, networks), address
    for address in ("10.0.0.1", "::127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1"):
        assert not is_allowed(address, networks), address


def test_a_network_of_nat64_opens_no_private_address_behind_it() -> None:
    """An operator in a network of IPv6 alone may open it: public hosts are reached by it."""
    networks = (ipaddress.ip_network("64:ff9b::/96"),)
    assert is_allowed("64:ff9b::5db8:d822", networks)
    assert not is_allowed("64:ff9b::a00:1", networks)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("203.0.113.9", "203.0.113.9"), ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"),
        ("", ""), ("unknown", "unknown"),
    ],
)  # fmt: skip
def test_clients_are_counted_by_network(address: str, expected: str) -> None:
    """Every host of IPv6 has 2^64 addresses to hide behind."""
    assert expected == network_of(address)
