"""Fetching over real sockets: validators, redirects, bounds, the guard against reaching inside."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import brotli
import pytest

from service.errors import FetchFailed
from service.settings import Settings
from tests.conftest import LOOPBACK
from tests.fakes import FakeSite
from workers.http_client import STRANGER, OutboundClient, open_client, typed_by_operator
from workers.ingest.fetch import Refused, fetch, user_agent

FEED = b"<rss><channel>" + b"<item><title>x</title></item>" * 30 + b"</channel></rss>"


def port_of(site: FakeSite) -> str:
    """The port that a site listens on."""
    return site.url.rpartition(":")[2]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with small limits for size and time, and an open network."""
    return settings.model_copy(
        update={"fetch_max_bytes": 10_000, "fetch_timeout_s": 1.0, "open_networks": LOOPBACK}
    )


@pytest.fixture
async def outbound(settings: Settings) -> AsyncIterator[OutboundClient]:
    """The client that may not reach inside the network."""
    async with open_client(
        settings, user_agent=user_agent(settings.base_url, subscribers=2)
    ) as client:
        yield client


async def test_validators_go_and_come_byte_exact(
    site: FakeSite, outbound: OutboundClient, settings: Settings
) -> None:
    """Weak, unquoted and odd ones as they are; a 304 has no body."""
    site.put("/f", "feed", ETag="W/odd tag", Last_Modified="whenever", Content_Type="text/xml")
    found = await fetch(outbound, f"{site.url}/f#part", settings)
    assert (200, b"feed", "W/odd tag", "whenever", "text/xml") == (
        found.status,
        found.body,
        found.etag,
        found.last_modified,
        found.content_type,
    )
    site.put("/f", status=304)
    again = await fetch(
        outbound, f"{site.url}/f", settings, etag=found.etag, last_modified=found.last_modified
    )
    assert (304, b"") == (again.status, again.body)
    headers = site.requests[-1].headers
    assert ("W/odd tag", "whenever") == (headers["If-None-Match"], headers["If-Modified-Since"])
    assert "#" not in site.requests[0].raw_path


async def test_manners(site: FakeSite, outbound: OutboundClient, settings: Settings) -> None:
    """A name, what we take, no cookies, no referrer."""
    site.put("/a", status=302, Location="/b", Set_Cookie="a=b")
    site.put("/b", "x")
    assert f"{site.url}/b" == (await fetch(outbound, f"{site.url}/a", settings)).url
    headers = site.requests[-1].headers
    assert "dateline" in headers["User-Agent"]
    assert "application/rss+xml" in headers["Accept"]
    assert {"Cookie", "Referer"}.isdisjoint(headers)


async def test_gzip_is_taken(site: FakeSite, outbound: OutboundClient, settings: Settings) -> None:
    """A body that came with gzip is decompressed."""
    site.put("/f", gzip.compress(b"x" * 5_000), Content_Encoding="gzip")
    assert b"x" * 5_000 == (await fetch(outbound, f"{site.url}/f", settings)).body


CODED = {
    "gzip that nobody announced": ("", gzip.compress(FEED)),
    "a charset": ("UTF-8", FEED),
    "a charset for gzip": ("UTF-8", gzip.compress(FEED)),
    "a transfer coding": ("aws-chunked", FEED),
    "a transfer coding and gzip": ("aws-chunked, gzip", gzip.compress(FEED)),
    "none": ("none", FEED),
    "gzip for text": ("gzip", FEED),
    "br for text": ("br", FEED),
    "deflate for text": ("deflate", FEED),
    "deflate": ("deflate", zlib.compress(FEED)),
    "raw deflate": ("deflate", zlib.compress(FEED, wbits=-15)),
    "deflate for gzip": ("deflate", gzip.compress(FEED)),
    "members": ("gzip", b"".join(gzip.compress(FEED[i : i + 100]) for i in range(0, 1_000, 100))),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(FEED))),
    "br over gzip": ("gzip, br", brotli.compress(gzip.compress(FEED))),
    "br": ("identity, br", brotli.compress(FEED)),
    "x-gzip": ("X-GZIP", gzip.compress(FEED)),
}
"""What a body is → its Content-Encoding, and the body."""


@pytest.mark.parametrize("name", CODED)
async def test_codings_are_those_that_the_body_has(
    site: FakeSite, outbound: OutboundClient, settings: Settings, name: str
) -> None:
    """Whatever the header says of it."""
    coding, body = CODED[name]
    site.put("/f", body, **({"Content_Encoding": coding} if coding else {}))
    assert FEED == (await fetch(outbound, f"{site.url}/f", settings)).body


@pytest.mark.parametrize("body", [b"", FEED.decode().encode("utf-16"), b"x"], ids=len)
async def test_bodies_that_are_not_coded(
    site: FakeSite, outbound: OutboundClient, settings: Settings, body: bytes
) -> None:
    """They are taken as they are, although the header names a coding."""
    site.put("/f", body, Content_Encoding="gzip")
    assert body == (await fetch(outbound, f"{site.url}/f", settings)).body


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"x" * 10_001, {}, "larger than 10000 bytes"),
        (gzip.compress(b"x" * 1_000_000), {"Content_Encoding": "gzip"}, "larger than 10000 bytes"),
        (
            gzip.compress(b"x" * 5_000)[:-9],
            {"Content_Encoding": "gzip"},
            "middle of its compressed",
        ),
        (b"\x1f\x8bno gzip at all", {}, "broken gzip"),
        (b"\1" * 9, {"Content_Encoding": "br"}, "broken brotli"),
        (b"\x28\xb5\x2f\xfd\0", {"Content_Encoding": "zstd"}, "not asked for"),
    ],
    ids=["large", "bomb", "cut", "garbage", "brotli", "coding"],
)
async def test_bodies_that_are_refused(
    site: FakeSite,
    outbound: OutboundClient,
    settings: Settings,
    body: bytes,
    headers: dict[str, str],
    reason: str,
) -> None:
    """A failure with a reason, never a shorter document."""
    site.put("/f", body, **headers)
    with pytest.raises(FetchFailed, match=reason):
        await fetch(outbound, f"{site.url}/f", settings)


async def test_a_body_that_is_cut_is_refused(
    site: FakeSite, outbound: OutboundClient, settings: Settings
) -> None:
    """Fewer bytes than Content-Length says."""
    site.raw = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nETag: x\r\n\r\nonly this"
    with pytest.raises(FetchFailed):
        await fetch(outbound, f"{site.url}/f", settings)


@pytest.mark.parametrize(
    ("status", "permanent"), [(404, True), (410, True), (403, True), (500, False), (408, False)]
)
async def test_statuses(
    site: FakeSite,
    outbound: OutboundClient,
    settings: Settings,
    status: int,
    permanent: bool,
) -> None:
    """Each status says whether a retry soon is worthwhile."""
    site.put("/f", status=status)
    with pytest.raises(FetchFailed, match=f"answered {status}") as caught:
        await fetch(outbound, f"{site.url}/f", settings)
    assert permanent == caught.value.permanent


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_passed_on(
    site: FakeSite, outbound: OutboundClient, settings: Settings, status: int
) -> None:
    """The value is passed on as it was received."""
    site.put("/f", status=status, Retry_After="120")
    with pytest.raises(Refused) as caught:
        await fetch(outbound, f"{site.url}/f", settings)
    assert "120" == caught.value.retry_after


@pytest.mark.parametrize(
    ("location", "reason"),
    [("/loop", "in a circle"), ("/1", "more than 8 redirects"), ("ftp://x.example/", "not an http"),
     ("", "not an http"), ("http://user@x.example/", "not an http")],
)  # fmt: skip
async def test_redirects_that_lead_nowhere(
    site: FakeSite,
    outbound: OutboundClient,
    settings: Settings,
    location: str,
    reason: str,
) -> None:
    """Loops, other schemes and credentials in the URL are failures."""
    site.put("/loop", status=301, Location=location)
    for number in range(1, 10):
        site.put(f"/{number}", status=302, Location=f"/{number + 1}")
    with pytest.raises(FetchFailed, match=reason):
        await fetch(outbound, f"{site.url}/loop", settings)


async def test_a_server_that_hangs_is_left(outbound: OutboundClient, settings: Settings) -> None:
    """After FETCH_TIMEOUT_S for all of it."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    quick = settings.model_copy(update={"fetch_timeout_s": 0.1})
    with pytest.raises(FetchFailed, match=r"no complete answer in 0\.1 s"):
        await fetch(outbound, f"http://127.0.0.1:{port}/", quick)
    server.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1"])
async def test_private_addresses_are_refused_by_whatever_name(
    site: FakeSite, settings: Settings, host: str
) -> None:
    """The guard sees the address that is connected to, not how it was written."""
    closed = settings.model_copy(update={"allowed_networks": (), "open_networks": ()})
    url = f"http://{host}:{port_of(site)}/"
    async with open_client(closed, user_agent="t") as client:
        for provenance in (STRANGER, typed_by_operator(url)):
            with pytest.raises(FetchFailed):
                await fetch(client, url, closed, provenance=provenance)
    assert [] == site.requests


async def test_allowed_networks_are_for_what_the_operator_typed(
    site: FakeSite, settings: Settings
) -> None:
    """A stranger's URL of the same host is refused, also while a connection to it is open."""
    typing = settings.model_copy(update={"allowed_networks": LOOPBACK, "open_networks": ()})
    site.put("/f", "feed")
    url = f"{site.url}/f"
    async with open_client(typing, user_agent="t") as client:
        typed = await fetch(client, url, typing, provenance=typed_by_operator(url))
        assert b"feed" == typed.body
        with pytest.raises(FetchFailed, match="DATELINE_OPEN_NETWORKS"):
            await fetch(client, url, typing)
    assert 1 == len(site.requests)


@pytest.mark.parametrize(
    ("location", "is_followed"),
    [("/g", True), ("http://127.0.0.1:{port}/g", True), ("http://127.0.0.2:{port}/g", False),
     ("http://localhost:{port}/g", False), ("http://127.0.0.1:{other}/g", False)],
)  # fmt: skip
async def test_a_redirect_of_what_was_typed_leads_to_its_own_site_alone(
    site: FakeSite, settings: Settings, location: str, is_followed: bool
) -> None:
    """Another host or port is a stranger's, though the operator typed the URL that led there."""
    typing = settings.model_copy(update={"allowed_networks": LOOPBACK, "open_networks": ()})
    async with FakeSite() as inside:
        target = location.format(port=port_of(site), other=port_of(inside))
        site.put("/f", status=302, Location=target)
        site.put("/g", "feed")
        inside.put("/g", "secret")
        url = f"{site.url}/f"
        async with open_client(typing, user_agent="t") as client:
            typed = typed_by_operator(url)
            if is_followed:
                assert b"feed" == (await fetch(client, url, typing, provenance=typed)).body
            else:
                with pytest.raises(FetchFailed, match="DATELINE_OPEN_NETWORKS"):
                    await fetch(client, url, typing, provenance=typed)
        assert [] == inside.requests
    assert (2 if is_followed else 1) == len(site.requests)


@pytest.mark.parametrize("port", [22, 25, 1_023])
async def test_ports_of_other_services_are_refused(settings: Settings, port: int) -> None:
    """Below 1024 only those of ALLOWED_PORTS are connected to, for the operator, too."""
    url = f"http://127.0.0.1:{port}/"
    opened = settings.model_copy(update={"allowed_ports": (port,)})
    for allowing, reason in ((settings, "DATELINE_ALLOWED_PORTS"), (opened, "Connect")):
        async with open_client(allowing, user_agent="t") as client:
            with pytest.raises(FetchFailed, match=reason):
                await fetch(client, url, allowing, provenance=typed_by_operator(url))
