"""The Store: the objects of all nouns, which share one Redis client."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from redis.exceptions import ResponseError

from service.errors import StartFailed, Unavailable
from service.logs import Throttle
from service.process import sleep
from service.settings import MAX_CATEGORIES_PER_SOURCE, Settings
from service.storage import keys
from service.storage.articles import Articles
from service.storage.category_index import CategoryIndex
from service.storage.category_limit import CategoryLimit
from service.storage.category_ranks import CategoryRanks
from service.storage.category_renames import CategoryRenames
from service.storage.claims import Claims
from service.storage.client import (
    WORKER_PATIENCE_S,
    client_of,
    key_on_each_primary,
    redis_errors_as_unavailable,
)
from service.storage.commands import Client
from service.storage.dead_events import DeadEvents
from service.storage.dictionaries import Dictionaries
from service.storage.duplicates import Duplicates
from service.storage.erasures import Erasures
from service.storage.event_stream import EventStream
from service.storage.faults import Faults
from service.storage.hub_subscriptions import HubSubscriptions
from service.storage.known_entries import KnownEntries
from service.storage.layout import migrate
from service.storage.leases import Leases
from service.storage.operations import Operations
from service.storage.our_subscriptions import OurSubscriptions
from service.storage.page_changes import PageChanges
from service.storage.page_marks import PageMarks
from service.storage.page_states import PageStates
from service.storage.previews import Previews
from service.storage.private_feeds import PrivateFeeds
from service.storage.read_turns import ReadTurns
from service.storage.recompression import Recompression
from service.storage.removals import Removals
from service.storage.rendered_pages import RenderedPages
from service.storage.role_keys import check_types, of_roles
from service.storage.routing import RoutedClient
from service.storage.server_check import check_server
from service.storage.shards import ONE, Shards, of_new_archive, shards_of
from service.storage.sources import Sources
from service.storage.token_buckets import TokenBuckets
from service.storage.tokens import Tokens
from service.storage.views import Views
from service.storage.webhooks import Webhooks

logger = logging.getLogger(__name__)

CHECK_EVERY_S = 1.0

_counters_throttle = Throttle()
_COUNTER = re.compile(rb"[a-z_][a-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Everything that is stored, one attribute for each noun."""

    client: Client
    articles: Articles
    category_limit: CategoryLimit
    dictionaries: Dictionaries
    recompression: Recompression
    event_stream: EventStream
    category_index: CategoryIndex
    page_states: PageStates
    rendered_pages: RenderedPages
    leases: Leases
    read_turns: ReadTurns
    webhooks: Webhooks
    operations: Operations
    category_renames: CategoryRenames
    duplicates: Duplicates
    sources: Sources
    claims: Claims
    hub_subscriptions: HubSubscriptions
    our_subscriptions: OurSubscriptions
    previews: Previews
    private_feeds: PrivateFeeds
    views: Views
    dead_events: DeadEvents
    faults: Faults
    tokens: Tokens
    token_buckets: TokenBuckets
    erasures: Erasures
    removals: Removals
    category_ranks: CategoryRanks
    page_marks: PageMarks
    page_changes: PageChanges
    known_entries: KnownEntries

    async def check_writable(self) -> None:
        """Raise unless Redis takes writes now, each primary of it."""
        names = [keys.probe(shard) for shard in self.event_stream.shards]
        for name in await key_on_each_primary(self.client, names):
            await self.client.psetex(name, keys.PROBE_TTL_MS, b"1")

    async def check_replicated(self) -> None:
        """Raise unless as many replicas as WAIT_REPLICAS have everything that was written."""
        if isinstance(self.client, RoutedClient):
            names = [keys.probe(shard) for shard in self.event_stream.shards]
            for name in await key_on_each_primary(self.client, names):
                await self.client.execute_durably("PSETEX", name, keys.PROBE_TTL_MS, b"1")

    async def count(self, counters: Mapping[str, int]) -> None:
        """Add to the counters of /metrics; their names are lower-case with underscores. Counters
        whose key holds something else are lost: no work fails for them."""
        pipe = self.client.pipeline(transaction=False)
        for name, amount in counters.items():
            pipe.hincrby(keys.counters(0), name, amount)
        with _ruined_counters_ignored():
            await pipe.execute()

    async def counters(self) -> dict[str, int]:
        """All counters; they count from the creation of the archive."""
        totals: Counter[str] = Counter()
        for shard in dict.fromkeys([0, *self.event_stream.shards]):
            counters: dict[bytes, bytes] = {}
            with _ruined_counters_ignored():
                counters = await self.client.hgetall(keys.counters(shard))
            for counter, value in counters.items():
                if _COUNTER.fullmatch(counter) and value.isdigit():
                    totals[counter.decode()] += int(value)
        return dict(totals)


@contextmanager
def _ruined_counters_ignored() -> Iterator[None]:
    try:
        yield
    except ResponseError as exc:
        if "WRONGTYPE" not in str(exc) and "not an integer" not in str(exc):
            raise
        if _counters_throttle.is_due():
            logger.error("counters cannot be used", extra={"reason": str(exc)})


@asynccontextmanager
async def open_store(
    settings: Settings,
    *,
    check: bool = True,
    stop: asyncio.Event | None = None,
    roles: Collection[str] = (),
    patience_s: float = WORKER_PATIENCE_S,
) -> AsyncIterator[Store]:
    """Open the store of these settings, and close it at the end.

    Args:
        stop: if given, wait until this is set for a Redis that is not ready (it loads its file, was
            demoted, is unreachable); without it, fail at once. Long-lived processes wait.
        roles: those of the process, without whose keys (role_keys.py) it cannot work.
        patience_s: how long a command waits for another primary.

    Raises:
        StartFailed, InvalidSettings: if `check` finds an unsuitable server (`check_server`).
    """
    client = client_of(settings, patience_s=patience_s)
    try:
        if check:
            shards = await _check(client, settings, stop, roles)
        elif settings.shards == 1:
            # Also while Redis is away.
            shards = ONE
        else:
            with redis_errors_as_unavailable():
                shards = await shards_of(client) or of_new_archive(settings)
        yield of_client(client, shards=shards, max_categories=settings.max_categories_per_source)
    finally:
        await client.aclose()


async def _check(
    client: Client, settings: Settings, stop: asyncio.Event | None, roles: Collection[str]
) -> Shards:
    throttle = Throttle()
    is_late = False
    while True:
        try:
            shards = await check_server(
                client,
                shards=of_new_archive(settings),
                allow_volatile=settings.allow_volatile_redis,
            )
            with redis_errors_as_unavailable():
                await migrate(client)
                await check_types(client, of_roles(roles, shards=shards))
        except Unavailable as exc:
            if stop is None or stop.is_set():
                raise StartFailed(str(exc)) from exc
            is_late = True
            if throttle.is_due():
                logger.warning("the start waits for Redis", extra={"reason": exc})
            await sleep(stop, CHECK_EVERY_S)
        else:
            if is_late:
                logger.info("Redis is ready")
            return shards


def of_client(
    client: Client, *, shards: Shards = ONE, max_categories: int = MAX_CATEGORIES_PER_SOURCE
) -> Store:
    """A Store on an open client; the caller closes the client.

    Args:
        max_categories: most categories that one source may create.
    """
    category_limit = CategoryLimit(client, shards=shards, limit=max_categories)
    dictionaries = Dictionaries(client, shards=shards)
    return Store(
        client=client,
        articles=Articles(
            client, shards=shards, category_limit=category_limit, dictionaries=dictionaries
        ),
        category_limit=category_limit,
        dictionaries=dictionaries,
        recompression=Recompression(client, shards=shards, dictionaries=dictionaries),
        event_stream=EventStream(client, shards=shards),
        category_index=CategoryIndex(client, shards=shards),
        page_states=PageStates(client, shards=shards),
        rendered_pages=RenderedPages(client, shards=shards),
        leases=Leases(client),
        read_turns=ReadTurns(client),
        webhooks=Webhooks(client, shards=shards),
        operations=Operations(client),
        category_renames=CategoryRenames(client),
        duplicates=Duplicates(client, shards=shards),
        sources=Sources(client, shards=shards),
        claims=Claims(client, shards=shards),
        hub_subscriptions=HubSubscriptions(client),
        our_subscriptions=OurSubscriptions(client, shards=shards),
        previews=Previews(client),
        private_feeds=PrivateFeeds(client),
        views=Views(client, shards=shards),
        dead_events=DeadEvents(client, shards=shards),
        faults=Faults(client),
        tokens=Tokens(client),
        token_buckets=TokenBuckets(client),
        erasures=Erasures(client, shards=shards),
        removals=Removals(client, shards=shards),
        category_ranks=CategoryRanks(client, shards=shards),
        page_changes=PageChanges(client, shards=shards),
        page_marks=PageMarks(client, shards=shards),
        known_entries=KnownEntries(client, shards=shards),
    )
