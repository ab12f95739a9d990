"""How many connections there may be: one address never leaves a server without any for others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from service.process import raise_file_limit
from service.settings import Settings
from service.web.serving.connections import (
    LOOPBACK_RESERVE,
    Admission,
    Connections,
    Refused,
)
from service.web.serving.limits import MOST_CONNECTIONS, Limits, limits_of
from tests.running import Serving, serving
from tests.waiting import wait_until, within

MANY = 1_300
USUAL_FILES = 1_024
EVENTS = b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n"
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(port: int, *, source: str = "127.0.0.1", sent: bytes = b"") -> Stream:
    """A connection from this loopback address, on which something was sent."""
    stream = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    stream[1].write(sent)
    return stream


@asynccontextmanager
async def holding(port: int, count: int, **options: Any) -> AsyncIterator[list[Stream]]:
    """That many connections, closed at the end."""
    raise_file_limit()
    streams = [await connect(port, **options) for _ in range(count)]
    yield streams
    for _, writer in streams:
        writer.transport.abort()


async def status_of(port: int, path: str, *, source: str = "127.0.0.1") -> tuple[int, str]:
    """The status and the head of an answer; 0 for a connection that was closed without one."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    try:
        reader, writer = await connect(port, source=source, sent=request)
        async with within(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (OSError, asyncio.IncompleteReadError):
        return 0, ""
    writer.close()
    return int(head[9:12]), head


async def test_silent_sockets_leave_room(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    """1,300 from one address, with the usual 1,024 files: it has a quarter of the connections, of
    which the oldest silent ones give way; everybody is answered, and one line is logged."""
    async with (
        serving(settings, tmp_path, files=USUAL_FILES, is_hard=True) as server,
        holding(server.port, MANY),
    ):
        for source in ("127.0.0.1", "127.0.0.2"):
            for path in ("/livez", "/readyz", "/robots.txt"):
                assert 200 == (await status_of(server.port, path, source=source))[0]
        assert 1 == server.text().count("a limit on connections is reached"), server.text()
        assert 'limit="of one address"' in server.text()
        assert "last_address=127.0.0.1" in server.text()


async def test_readers_of_events_leave_room(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """1,300 from one address: some have a stream, the others are answered 429 and closed; another
    address has a stream, and everybody else an answer."""
    async with (
        serving(settings, tmp_path, files=USUAL_FILES, is_hard=True) as server,
        holding(server.port, MANY, sent=EVENTS) as streams,
    ):
        limits = limits_of(settings, open_files=USUAL_FILES)
        heads = []
        async with within(20):
            for reader, _ in streams:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                heads.append(head[9:12])
                if head[9:12] == "429":
                    assert "\r\nRetry-After: 60\r\n" in head
                    assert "\r\nConnection: close\r\n" in head
        assert {"200": limits.streams_per_address, "429": MANY - limits.streams_per_address} == {
            status: heads.count(status) for status in set(heads)
        }
        assert 200 == (await status_of(server.port, "/events", source="127.0.0.2"))[0]
        for source in ("127.0.0.1", "127.0.0.2"):
            assert 200 == (await status_of(server.port, "/robots.txt", source=source))[0]
        assert 1 == server.text().count("readers of /events are refused"), server.text()


async def test_a_stream_that_ends_makes_room_at_once(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Nobody waits for the next heartbeat; over the total it is 503."""
    few = settings.model_copy(update={"events_max_streams": 3, "events_max_per_address": 2})
    async with (
        serving(few, tmp_path) as server,
        holding(server.port, 2, sent=EVENTS) as streams,
    ):
        for reader, _ in streams:
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
        assert 429 == (await status_of(server.port, "/events"))[0]
        async with holding(server.port, 1, source="127.0.0.2", sent=EVENTS) as others:
            assert b"200" in await others[0][0].readuntil(b"\r\n\r\n")
            status, head = await status_of(server.port, "/events", source="127.0.0.3")
            assert (503, True) == (status, "\r\nRetry-After: " in head)
        streams[0][1].transport.abort()

        async def has_room() -> bool:
            return 200 == (await status_of(server.port, "/events"))[0]

        await wait_until(has_room, timeout_s=3)


async def test_streams_are_counted_by_the_client_that_a_proxy_names(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """Its own connections have no limit of one address."""
    proxied = Settings.from_env(
        {**settings.to_env(), "DATELINE_TRUSTED_PROXIES": "127.0.0.0/8",
         "DATELINE_EVENTS_MAX_PER_ADDRESS": "1", "DATELINE_MAX_CONNECTIONS_PER_ADDRESS": "1"},
        env_file=None,
    )  # fmt: skip
    clients = ("192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.1", "2001:db8::2")
    statuses = []
    async with serving(proxied, tmp_path) as server, holding(server.port, len(clients)) as streams:
        for client, (reader, writer) in zip(clients, streams, strict=True):
            writer.write(EVENTS[:-2] + f"X-Forwarded-For: 198.51.100.9, {client}\r\n\r\n".encode())
            async with within(5):
                statuses.append((await reader.readuntil(b"\r\n\r\n"))[9:12])
    assert [b"200", b"200", b"200", b"429", b"429"] == statuses


async def test_health_checks_are_answered_beyond_the_limits(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """From loopback, which has nothing else there; connections in use do not give way."""
    few = settings.model_copy(update={"max_connections": 5, "max_connections_per_address": 3})
    get = b"GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    async with (
        serving(few, tmp_path) as server,
        holding(server.port, 3, source="127.0.0.2", sent=get) as own,
        holding(server.port, 2, source="127.0.0.3", sent=get) as others,
    ):
        for reader, _ in own + others:
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
        for source in ("127.0.0.1", "127.0.0.2"):
            for path in ("/livez", "/readyz", "/metrics"):
                assert 200 == (await status_of(server.port, path, source=source))[0]
            status, head = await status_of(server.port, "/robots.txt", source=source)
            assert (503, True, True) == (
                status, "\r\nRetry-After: " in head, "\r\nConnection: close\r\n" in head
            )  # fmt: skip
        assert 'limit="in all"' in server.text()
        await _end_early(server)


async def _end_early(server: Serving) -> None:
    """It ends in order with these connections open."""
    server.process.terminate()
    async with within(10):
        assert 0 == await server.process.wait(), server.text()


class Held:
    """A connection that notes whether it was cut off."""

    head_since = 0.0

    def __init__(self) -> None:
        self.is_cut = False
        self.idle: float | None = None

    def cut_off(self) -> None:
        """Note that the connection was cut off."""
        self.is_cut = True

    def idle_s(self, now: float) -> float | None:
        """Return what the test sets."""
        return self.idle

    def unsent_bytes(self) -> int:
        """Nothing waits."""
        return 0

    def acknowledged_bytes(self) -> int:
        """Nothing was sent."""
        return 0

    def close_idle(self) -> None:
        """Never called here."""


def filled(connections: Connections, peers: list[str], *, are_heard: bool = True) -> list[Held]:
    """A connection of each of these addresses, all of them admitted."""
    opened = [Held() for _ in peers]
    for connection, peer in zip(opened, peers, strict=True):
        assert Admission.FULL is connections.admit(connection, peer)
        if are_heard:
            connections.heard(connection)
    return opened


def test_strangers_are_closed_at_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    """Once all that is open is in use; the log has one line for each limit, and what follows is
    counted. The end of one makes room."""
    connections = Connections(total=3, per_address=2)
    opened = filled(connections, ["192.0.2.1", "192.0.2.1", "2001:db8::1"])
    for peer in ("192.0.2.1", "192.0.2.9", "2001:db8::2", ""):
        assert Admission.NONE is connections.admit(Held(), peer)
    logged = [(record.limit, record.refused) for record in caplog.records]  # type: ignore[attr-defined]
    assert [("of one address", 1), ("in all", 1)] == logged
    connections.release(opened[0])
    connections.release(opened[0])
    assert Admission.FULL is connections.admit(Held(), "192.0.2.9")
    assert (3, False) == (len(connections), any(held.is_cut for held in opened))


def test_the_oldest_silent_one_gives_way() -> None:
    """Of the same address at the limit of an address, of anybody at the limit of all."""
    connections = Connections(total=4, per_address=2)
    first = filled(connections, ["192.0.2.1", "192.0.2.1"], are_heard=False)
    second = filled(connections, ["192.0.2.2", "192.0.2.2"], are_heard=False)
    connections.heard(first[0])
    assert Admission.FULL is connections.admit(Held(), "192.0.2.2")
    assert [True, False] == [held.is_cut for held in second]
    assert Admission.FULL is connections.admit(Held(), "192.0.2.3")
    assert [False, True] == [held.is_cut for held in first]
    # What was cut off ends later.
    for held in (*first, *second):
        connections.release(held)
    assert 2 == len(connections)


def test_those_that_were_idle_for_longest_give_way() -> None:
    """One in eight of those that were idle for 5 s, of the same address at its limit; connections
    are looked through once a second at most."""
    connections = Connections(total=60, per_address=20)
    full = filled(connections, ["192.0.2.1"] * 20)
    others = filled(connections, ["192.0.2.2"] * 20)
    for number, (held, other) in enumerate(zip(full, others, strict=True)):
        # The last two handle a request; of the rest, thirteen were idle for long enough.
        held.idle = other.idle = number if number < 18 else None
    filled(connections, ["192.0.2.1"] * 2)
    assert [16, 17] == [held.idle for held in full if held.is_cut]
    assert not any(other.is_cut for other in others)
    assert 40 == len(connections)
    assert Admission.NONE is connections.admit(Held(), "192.0.2.1")


def test_who_is_at_its_own_limit_keeps_nobody_from_finding_room() -> None:
    """Its connections are looked through, and others find room among all in the same second."""
    connections = Connections(total=4, per_address=3)
    busy = filled(connections, ["192.0.2.1"] * 3)
    (idle,) = filled(connections, ["192.0.2.2"])
    for held in busy:
        held.idle = None
    idle.idle = 60.0
    assert Admission.NONE is connections.admit(Held(), "192.0.2.1")
    assert Admission.FULL is connections.admit(Held(), "192.0.2.3")
    assert idle.is_cut


def test_loopback_has_a_few_places_more() -> None:
    """And no more than those."""
    connections = Connections(total=1, per_address=1)
    filled(connections, ["127.0.0.1"])
    peers = ["::1", "::ffff:127.0.0.2"] * LOOPBACK_RESERVE
    beyond = [connections.admit(Held(), peer) for peer in peers[: LOOPBACK_RESERVE + 1]]
    assert [Admission.HEALTH_ONLY] * LOOPBACK_RESERVE + [Admission.NONE] == beyond


def test_a_trusted_proxy_has_the_connections_of_many() -> None:
    """It is limited by the total alone; others are limited as ever."""
    trusted = Settings.from_env({"DATELINE_TRUSTED_PROXIES": "10.0.0.0/8"}, env_file=None)
    connections = Connections(total=6, per_address=1, trusted=trusted.trusted_proxies)
    filled(connections, ["10.0.0.1"] * 4 + ["192.0.2.1"])
    assert Admission.NONE is connections.admit(Held(), "192.0.2.1")
    filled(connections, ["::ffff:10.0.0.1"])
    assert Admission.NONE is connections.admit(Held(), "10.0.0.1")


@pytest.mark.parametrize(
    ("files", "given", "expected"),
    [
        (1_024, {}, (875, 218, 437, 109)),
        (1_000_000, {}, (MOST_CONNECTIONS, 8_192, 16_384, 4_096)),
        (64, {}, (32, 8, 16, 4)),
        (1, {}, (1, 1, 1, 1)),
        (1_024, {"max_connections": 100}, (100, 25, 50, 12)),
        (1_024, {"max_connections": 100_000}, (875, 218, 437, 109)),
        (1_000_000, {"max_connections": 100_000}, (100_000, 25_000, 50_000, 12_500)),
        (1_024, {"max_connections_per_address": 9}, (875, 9, 437, 4)),
        (1_024, {"max_connections_per_address": 10_000}, (875, 10_000, 437, 437)),
        (1_024, {"events_max_streams": 7, "events_max_per_address": 2}, (875, 218, 7, 2)),
    ],
)
def test_limits_follow_from_open_files(
    files: int, given: dict[str, int], expected: tuple[int, ...]
) -> None:
    """Those that are set stay, unless files do not allow them."""
    settings = Settings(**given)  # type: ignore[arg-type]
    names = ("connections", "connections_per_address", "streams", "streams_per_address")
    assert Limits(**dict(zip(names, expected, strict=True))) == limits_of(
        settings, open_files=files
    )


async def metrics_of(port: int) -> dict[str, float]:
    """The metrics of a server, each with its labels as they are printed."""
    reader, writer = await connect(
        port, sent=b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    async with within(5):
        text = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
    writer.close()
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_the_metrics_count_connections_and_refusals(
    settings: Settings, redis: Redis, tmp_path: Path
) -> None:
    """What is open, what streams, and what was refused, each by its reason."""
    few = settings.model_copy(
        update={
            "max_connections": 6, "max_connections_per_address": 3, "events_max_streams": 2,
            "events_max_per_address": 1, "head_timeout_s": 2,
        }
    )  # fmt: skip
    async with serving(few, tmp_path) as server, contextlib.AsyncExitStack() as stack:

        async def hold(count: int, source: str, sent: bytes = EVENTS) -> list[Stream]:
            return await stack.enter_async_context(
                holding(server.port, count, source=source, sent=sent)
            )

        before = await metrics_of(server.port)
        assert (1, 6, 0) == (
            before["dateline_connections"], before["dateline_connections_limit"],
            before["dateline_event_streams"],
        )  # fmt: skip
        assert {0} == {value for name, value in before.items() if "_refused_total" in name}
        streams = [await hold(1, "127.0.0.2"), await hold(2, "127.0.0.3")]
        for reader, _ in (*streams[0], *streams[1]):
            await reader.readuntil(b"\r\n\r\n")
        (late,) = await hold(1, "127.0.0.4")
        await late[0].readuntil(b"\r\n\r\n")
        await hold(5, "127.0.0.5", sent=b"GET")

        async def are_counted() -> dict[str, float] | None:
            counted = await metrics_of(server.port)
            slow = counted['dateline_connections_refused_total{reason="slow_head"}']
            return counted if slow >= 1 else None

        counted = await wait_until(are_counted)
        assert isinstance(counted, dict)
        assert 2 == counted["dateline_event_streams"]
        refused = "dateline_event_streams_refused_total"
        assert 1 == counted[refused + '{reason="address"}']
        assert 1 == counted[refused + '{reason="total"}']
        assert 2 <= counted['dateline_connections_refused_total{reason="replaced"}']


def test_refusals_are_counted_by_their_limit() -> None:
    """In all, or of one address; health checks beyond the limits are refused the rest."""
    connections = Connections(total=3, per_address=2)
    for peer in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "127.0.0.1"):
        busy = Held()
        connections.admit(busy, peer)
        connections.heard(busy)
    assert {Refused.ADDRESS: 1, Refused.TOTAL: 2} == connections.refused
