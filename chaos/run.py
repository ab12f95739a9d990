"""A run: start everything, work with it, strike until the time is over, check, and stop."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from redis.exceptions import RedisError

from bench.serve import free_port
from chaos import checks
from chaos.faults import Targets, strike_with
from chaos.ledger import QUIET, Ledger
from chaos.plan import ROLES, Round, Strike
from chaos.processes import Fleet, open_fleet
from chaos.publishers import TIMEOUT_S, Publisher
from chaos.readers import EventReader, FeedReader
from chaos.receivers import HUB_SECRET, Receivers
from chaos.recovery import Recovery, StreamTail
from chaos.redis_server import DISK_MB, RedisServer
from chaos.site import SITES, SOURCE_PATH, Sites

PUBLISHERS, READERS = 2, 2
RATE_PER_S = 2.0
"""Changes of one publisher."""
TOPICS = ("all", "harbour")
TOKEN = "the-token-of-the-chaos-test"
PAUSE_S = 0.5
"""From the recovery after one fault to the next one."""
SETTLE_S = 30.0
SETTINGS = {
    "API_TOKEN": TOKEN,
    "OPEN_NETWORKS": "127.0.0.0/8",
    "POLL_MIN_S": 0.5,
    "POLL_SPACING_S": 0,
    "FETCH_TIMEOUT_S": 5,
    "WEBHOOK_RETRY_SCHEDULE_S": "0.2,0.5,1",
    "WEBHOOK_TIMEOUT_S": 5,
    "HUB_DEBOUNCE_S": 0.5,
    "HUB_EGRESS_MAX_BYTES": 10**12,
    "HUB_REQUESTS_PER_MINUTE": 10_000,
    "DRAIN_S": 3,
    "PARSE_PROCESSES": 1,
}
_TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*(.*)")
TWICE, ONCE = "all roles twice", "all roles once again"


@dataclass(kw_only=True)
class World:
    """Everything that runs."""

    url: str
    ledger: Ledger
    redis: RedisServer
    fleet: Fleet
    sites: Sites
    receivers: Receivers
    publishers: list[Publisher]
    readers: list[FeedReader]
    event_reader: EventReader
    tail: StreamTail
    recovery: Recovery
    session: aiohttp.ClientSession
    say: Callable[[str], None]
    patience: float
    copies: int = 1
    stops: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event() for _ in range(2)])
    """Of publishers, of all others."""


async def run(
    plan: Callable[[RedisServer], Iterator[Round]],
    *,
    seconds: float,
    seed: int,
    patience: float,
    say: Callable[[str], None],
) -> Ledger:
    """Run for so long, with the start but without the end, and return the ledger.

    Args:
        plan: rounds for a server; it may be one without a disk that can be filled.
        patience: what waits may take longer on this machine, as a factor.
        say: is called with each line to print.
    """
    ledger = Ledger(on_violation=lambda text: say(f"VIOLATION  {text}"))
    until_s = time.monotonic() + seconds
    async with _world(ledger, seed=seed, patience=patience, say=say) as world:
        async with asyncio.TaskGroup() as group:
            publishing = _work(group, world)
            try:
                await _strike(world, plan(world.redis), until_s=until_s)
                world.stops[0].set()
                await asyncio.wait(publishing)
                world.sites.end()
                await _check(world, patience=patience)
            finally:
                # Cancellation can get lost inside a client of Redis.
                for stop in world.stops:
                    stop.set()
        await world.fleet.remove_all()
        _check_logs(world)
    return ledger


async def _strike(world: World, rounds: Iterator[Round], *, until_s: float) -> None:
    await world.recovery.wait(time.monotonic())
    world.say(f"everything works: {world.ledger.row.recovery_s:.1f} s, {world.redis.description}")
    targets = Targets(fleet=world.fleet, redis=world.redis, ledger=world.ledger)
    for each in rounds:
        if time.monotonic() >= until_s:
            break
        await _set_copies(world, each.copies)
        for strike in each.strikes:
            if time.monotonic() >= until_s:
                break
            world.ledger.began(strike.name)
            end_s = await strike_with(targets, strike)
            await _recover(world, end_s, strike)
    world.ledger.strike = QUIET


async def _set_copies(world: World, copies: int) -> None:
    """Have each role run so often."""
    if copies == world.copies:
        return
    world.ledger.began(TWICE if copies == 2 else ONCE)
    if copies == 2:
        for role in ROLES:
            await world.fleet.add(role, 1)
    else:
        for part in [part for part in world.fleet.parts if part.number]:
            await world.fleet.remove(part)
    world.copies = copies
    await _recover(world, time.monotonic(), None)


async def _recover(world: World, end_s: float, strike: Strike | None) -> None:
    ledger = world.ledger
    violations = ledger.violations.total()
    waited_s = await world.recovery.wait(end_s)
    what = f"{ledger.strike} {strike.hold_s:.1f} s" if strike else ledger.strike
    new = ledger.violations.total() - violations
    world.say(
        f"{time.strftime('%H:%M:%S')}  x{world.copies}  {what:32} back after {waited_s:5.1f} s"
        f"  {'VIOLATIONS ' + str(new) if new else ''}"
    )
    await asyncio.sleep(PAUSE_S)


def _work(group: asyncio.TaskGroup, world: World) -> list[asyncio.Task[None]]:
    """Start all who work with dateline; returns the tasks of publishers."""
    publishing, others = world.stops

    async def read(reader: FeedReader) -> None:
        async with _client(world.patience) as session:
            await reader.run(session, others)

    async def publish(publisher: Publisher) -> None:
        async with _client(world.patience) as session:
            await publisher.run(session, publishing, rate_per_s=RATE_PER_S)

    for reader in world.readers:
        group.create_task(read(reader))
    group.create_task(world.event_reader.run(world.session, others))
    group.create_task(world.tail.run(others))
    group.create_task(world.recovery.watch(others))
    return [group.create_task(publish(publisher)) for publisher in world.publishers]


def _client(patience: float) -> aiohttp.ClientSession:
    """One client with the admin token, and with connections that no other one uses."""
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S * patience, sock_connect=5),
    )


async def _check(world: World, *, patience: float) -> None:
    """Check until nothing is missing, or it is too late; what remains is a violation."""
    until_s = time.monotonic() + SETTLE_S * patience
    while True:
        faults = await _faults_now(world)
        if not faults or time.monotonic() > until_s:
            break
        await asyncio.sleep(1)
    world.say(f"settled, {len(faults)} faults; {_sizes(world)}")
    for kind, what in faults:
        world.ledger.violate(kind, what)


async def _faults_now(world: World) -> checks.Faults:
    ledger, session, url = world.ledger, world.session, world.url
    try:
        events = await checks.read_stream(world.redis.admin)
        live = await checks.read_articles(session, url)
        return [
            *checks.check_articles(ledger, live, events),
            *await checks.check_feeds(session, url, live, ledger),
            *checks.check_webhooks(world.receivers, events, has_cut=ledger.has_cut),
            *checks.check_event_reader(world.event_reader, events, has_cut=ledger.has_cut),
            *checks.check_sites(world.sites, live),
            *await checks.check_pushes(session, url, world.receivers, TOPICS),
            *await checks.check_health(session, url),
        ]
    except (aiohttp.ClientError, RedisError, OSError, TimeoutError) as exc:
        return [("cannot be checked", repr(exc))]


def _sizes(world: World) -> str:
    articles = ", ".join(f"{n} {name}" for name, n in sorted(world.ledger.by_content().items()))
    webhooks = ", ".join(
        f"{each.name} {len(each.order)} (+{each.again} again)"
        for each in world.receivers.webhooks.values()
    )
    return (
        f"articles: {articles}, {len(world.sites.shown)} of sites; webhooks: {webhooks}; "
        f"/events: {len(world.event_reader.order)} in {world.event_reader.resumed + 1} readings; "
        f"pushes of the hub: {world.receivers.pushes}"
    )


def _check_logs(world: World) -> None:
    """A traceback in a log is a fault that nobody expected."""
    for path in world.fleet.logs:
        text = path.read_text("utf-8", "replace")
        for match in list(_TRACEBACK.finditer(text))[:3]:
            line = text[: match.start()].rstrip().rpartition("\n")[2]
            world.ledger.violate("a traceback", f"{path.name}: {match[1][:150]}: {line}")


@asynccontextmanager
async def _world(
    ledger: Ledger, *, seed: int, patience: float, say: Callable[[str], None]
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="dc-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        disk = await stack.enter_async_context(_small_disk(folder / "disk"))
        redis_port, port = free_port(), free_port()
        url = f"http://127.0.0.1:{port}"
        redis = RedisServer(folder / "disk", port=redis_port, is_small_disk=disk)
        await redis.start()
        stack.push_async_callback(redis.close)
        fleet = await stack.enter_async_context(
            open_fleet(
                ledger, folder, redis_port=redis_port, password=redis.password,
                settings={**SETTINGS, "PORT": port, "PUBLIC_URL": url},
            )
        )  # fmt: skip
        session = await stack.enter_async_context(_client(patience))
        sites, receivers = Sites(), Receivers(ledger, seed=seed)
        harness_port = await stack.enter_async_context(_harness(sites, receivers))
        for role in ROLES:
            await fleet.add(role, 0)
        await _until_ready(session, url, patience)
        await _register(session, url, harness_port, receivers)
        readers = [FeedReader(n, ledger, url=url, seed=seed) for n in range(READERS)]
        tail = StreamTail(redis.admin)
        recovery = Recovery(
            ledger, fleet, tail=tail, sites=sites, receivers=receivers, readers=readers,
            patience=patience,
        )  # fmt: skip
        yield World(
            url=url, ledger=ledger, redis=redis, fleet=fleet, sites=sites, receivers=receivers,
            publishers=[Publisher(n, ledger, url=url, seed=seed) for n in range(PUBLISHERS)],
            readers=readers, event_reader=EventReader(ledger, url=url), tail=tail,
            recovery=recovery, session=session, say=say, patience=patience,
        )  # fmt: skip


@asynccontextmanager
async def _small_disk(folder: Path) -> AsyncIterator[bool]:
    """Mount a file system of DISK_MB; False where that is not possible: it is a folder then."""
    folder.mkdir()
    mounted = not await _call("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder)
    try:
        yield mounted
    finally:
        if mounted:
            await _call("umount", "-l", folder)


async def _call(*command: str | Path) -> int:
    try:
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    except OSError:
        return 127
    return await process.wait()


@asynccontextmanager
async def _harness(sites: Sites, receivers: Receivers) -> AsyncIterator[int]:
    """The server of sites, webhooks and the hub's subscriber; its port."""
    app = web.Application(client_max_size=2**26)
    app.add_routes(
        [
            web.get("/site/{number}.xml", sites.answer),
            web.post("/hook/{name}", receivers.take),
            web.get("/push/{name}", receivers.confirm),
            web.post("/push/{name}", receivers.take_push),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = free_port()
    # Each site is another host.
    for host in ("127.0.0.1", *(f"127.0.1.{number + 1}" for number in range(SITES))):
        await web.TCPSite(runner, host, port).start()
    try:
        yield port
    finally:
        await runner.cleanup()


async def _until_ready(session: aiohttp.ClientSession, url: str, patience: float) -> None:
    async with asyncio.timeout(30 * patience):
        while True:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


async def _register(
    session: aiohttp.ClientSession, url: str, port: int, receivers: Receivers
) -> None:
    """Add the webhooks, the sources and the subscriptions."""
    for receiver in receivers.webhooks.values():
        fields = {"url": f"http://127.0.0.1:{port}/hook/{receiver.name}", **receiver.fields}
        async with session.post(f"{url}/api/v1/webhooks", json=fields) as response:
            answer = await response.json()
        receiver.webhook_id, receiver.secret = answer["id"], answer["secret"]
    for number in range(SITES):
        path = SOURCE_PATH.format(number=number)
        source = {"url": f"http://127.0.1.{number + 1}:{port}{path}", "interval_s": 1}
        async with session.post(
            f"{url}/api/v1/sources", json={**source, "category": "Sites"}
        ) as response:
            response.raise_for_status()
    for topic in TOPICS:
        await _subscribe(session, url, port, topic)


async def _subscribe(session: aiohttp.ClientSession, url: str, port: int, topic: str) -> None:
    if topic != "all":
        # Only a feed that is there can be subscribed to.
        article = {"guid": f"first {topic}", "title": f"First {topic}", "categories": [topic]}
        async with session.post(f"{url}/api/v1/articles", json=article) as response:
            response.raise_for_status()
    form = {
        "hub.mode": "subscribe", "hub.topic": f"{url}/feeds/{topic}.json",
        "hub.callback": f"http://127.0.0.1:{port}/push/{topic}", "hub.secret": HUB_SECRET,
    }  # fmt: skip
    async with asyncio.timeout(30):
        while True:
            async with session.post(f"{url}/hub", data=form) as response:
                if response.status == 202:
                    return
            await asyncio.sleep(0.2)
