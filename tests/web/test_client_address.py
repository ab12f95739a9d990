"""Who sent a request: the peer, and what trusted proxies say of it."""

from __future__ import annotations

import socket

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.addresses import network_of
from service.errors import InvalidSettings
from service.settings import Settings
from service.web.request.client_address import MAX_HOPS, client_address, client_network
from service.web.request.keys import SETTINGS
from service.web.serving.address_limit import AddressLimit, Full

TRUSTED = "127.0.0.0/8,::1,10.0.0.0/8,fd00::/8"


async def _show(request: web.Request) -> web.Response:
    return web.json_response([client_address(request), client_network(request)])


async def seen(*forwarded: str, trusted: str = TRUSTED, host: str = "127.0.0.1") -> list[str]:
    """What a server makes of a request from loopback with these headers."""
    settings = Settings.from_env({"DATELINE_TRUSTED_PROXIES": trusted}, env_file=None)
    app = web.Application()
    app[SETTINGS] = settings
    app.router.add_get("/", _show)
    headers = [("X-Forwarded-For", line) for line in forwarded]
    async with (
        TestClient(TestServer(app, host=host)) as client,
        client.get("/", headers=headers) as response,
    ):
        answer: list[str] = await response.json()
        return answer


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ([], "127.0.0.1"),
        (["192.0.2.1"], "192.0.2.1"),
        # Whatever stands left of the last address that nobody vouches for may be forged.
        (["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
        (["10.9.9.9, 192.0.2.1, 10.0.0.1, 10.0.0.2"], "192.0.2.1"),
        (["198.51.100.9", "192.0.2.1", "10.0.0.1"], "192.0.2.1"),
        (["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["fe80::1%eth0"], "fe80::1"),
        # What a trusted proxy added is not an address: the proxy answers for it.
        (["192.0.2.1, unknown"], "127.0.0.1"),
        (["192.0.2.1, unknown, 10.0.0.1"], "10.0.0.1"),
        ([""], "127.0.0.1"),
        ([",,,"], "127.0.0.1"),
        (["x" * 7_000], "127.0.0.1"),
        ([", ".join(["10.0.0.1"] * 3 * MAX_HOPS)], "10.0.0.1"),
    ],
)
async def test_trusted_proxies_are_believed(forwarded: list[str], expected: str) -> None:
    """From the right, as far as they vouch for each other."""
    assert expected == (await seen(*forwarded))[0]


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8"])
async def test_others_are_not_believed(trusted: str) -> None:
    """The header of a peer that is not a trusted proxy is ignored."""
    assert "127.0.0.1" == (await seen("192.0.2.1", trusted=trusted))[0]


async def test_ipv6_clients_are_counted_by_their_network() -> None:
    """One client is given a /64; loopback on IPv6 is trusted by its own CIDR."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    expected = ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"]
    assert expected == await seen("2001:db8:1:2:3:4:5:6", host="::1")
    assert "::1" == (await seen("192.0.2.1", host="::1", trusted="127.0.0.0/8"))[0]


def test_what_is_counted_is_bounded_and_forgotten() -> None:
    """In all and for each network; addresses that hold nothing leave nothing behind."""
    limit = AddressLimit(total=3, per_address=2)
    one, two = network_of("2001:db8::1"), network_of("192.0.2.1")
    assert one == network_of("2001:db8::ffff:1")
    limit.add(one)
    limit.add(one)
    assert (Full.ADDRESS, None) == (limit.full(one), limit.full(two))
    limit.add(two)
    assert Full.TOTAL == limit.full("198.51.100.1")
    for network in (one, one, two):
        limit.remove(network)
    assert (0, 0, None) == (limit.count, len(limit._of_network), limit.full(one))
    # Peers of a unix socket have no address: they share the total alone.
    for _ in range(3):
        assert limit.full("") is None
        limit.add("")


def test_a_wrong_proxy_stops_the_start() -> None:
    """A host name is refused, with the setting's name."""
    with pytest.raises(InvalidSettings, match="DATELINE_TRUSTED_PROXIES"):
        Settings.from_env({"DATELINE_TRUSTED_PROXIES": "proxy.example"}, env_file=None)
