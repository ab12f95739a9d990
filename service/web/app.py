"""The aiohttp application: its routes, and the resources that it opens at start and closes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial

from aiohttp import web

from service.errors import Unavailable
from service.feeds.formats import FORMATS
from service.feeds.page import Page
from service.process import open_file_limit, sleep, stopping_group
from service.settings import Settings
from service.storage.client import SERVER_PATIENCE_S, redis_errors_as_unavailable
from service.storage.heartbeat import Heartbeat
from service.storage.store import open_store
from service.web.request import body, problems
from service.web.request.keys import (
    CACHE,
    CLOCK,
    CONNECTIONS,
    COSTLY_READS,
    EVENTS,
    PAGE_LOADER,
    READINESS,
    REDIS_WATCH,
    SETTINGS,
    STOP,
    STORE,
    STREAMS,
    TOKENS,
)
from service.web.routes import ROUTES
from service.web.serving.address_limit import AddressLimit
from service.web.serving.change_follower import ChangeFollower
from service.web.serving.connections import Connections
from service.web.serving.costly_reads import CostlyReads
from service.web.serving.event_broadcast import Broadcast
from service.web.serving.limits import limits_of
from service.web.serving.page_cache import PageCache
from service.web.serving.page_loader import PageLoader
from service.web.serving.readiness import Readiness
from service.web.serving.recompression import Recompression
from service.web.serving.redis_watch import RedisWatch
from service.web.serving.request_cache import CachingConnection
from service.web.serving.response import PreparedResponse, add_common_headers, closing
from service.web.serving.token_cache import TokenCache

# A longer wait would delay the first change after a lost connection.
RECONNECT_S = 1.0
# For those who check the health of a server that has no room: answered beyond the limits.
HEALTH_PATHS = ("/livez", "/readyz", "/metrics")
RETRY_AFTER_S = 5


def utc_now() -> datetime:
    """The current time in UTC: the handlers' clock, except in tests."""
    return datetime.now(UTC)


def create_app(
    settings: Settings,
    *,
    token: str,
    now: Callable[[], datetime] = utc_now,
    stop: asyncio.Event | None = None,
) -> web.Application:
    """The application; opens nothing before it starts.

    Args:
        token: an admin token besides those in Redis (DATELINE_API_TOKEN); empty for none.
        stop: set when a background task has failed, so that the process ends.
    """
    app = web.Application(
        middlewares=[problems.middleware(settings)],
        client_max_size=settings.api_max_bytes,
        handler_args=body.HANDLER_OPTIONS,
    )
    app[SETTINGS], app[CLOCK] = settings, now
    app[STOP] = stop or asyncio.Event()
    limits = limits_of(settings, open_files=open_file_limit())
    app[CONNECTIONS] = Connections(
        total=limits.connections,
        per_address=limits.connections_per_address,
        trusted=settings.trusted_proxies,
    )
    app[STREAMS] = AddressLimit(total=limits.streams, per_address=limits.streams_per_address)
    app[COSTLY_READS] = CostlyReads(
        at_once=settings.costly_reads, per_address=settings.costly_reads_per_address
    )
    app.cleanup_ctx.append(partial(_resources, token=token))
    app.cleanup_ctx.append(_listening_to_changes)
    app.on_response_prepare.append(_sign)
    app.on_shutdown.append(_end_events)
    expectation = {"expect_handler": problems.hold_expectation}
    app.add_routes(
        web.RouteDef(route.method, route.path, route.handler, {**route.kwargs, **expectation})
        for route in ROUTES
    )
    return app


async def _end_events(app: web.Application) -> None:
    # Connections to /events never end by themselves, and the server waits for all connections.
    app[EVENTS].close()


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    add_common_headers(response.headers)


def serve_hot(
    app: web.Application,
    handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    *,
    draining: asyncio.Event,
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """A handler that answers hot pages by one look-up, before routing, and leaves the rest.

    Args:
        draining: once it is set, every answer closes its connection and says so, so that no client
            sends another request on it.
    """

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        refusal = await problems.refused_expectation(request, app)
        if refusal is not None:
            return refusal
        if request.protocol.writing_paused:
            # Answers to requests that were sent ahead would fill the memory.
            await request.writer.drain()
        connection = request.protocol if isinstance(request.protocol, CachingConnection) else None
        if connection and connection.is_for_health and request.path not in HEALTH_PATHS:
            return _no_room()
        ready = None if draining.is_set() else _hot_answer(app[CACHE], request, connection)
        if ready:
            return ready
        try:
            response = await handle(request)
        except web.HTTPException as redirect:
            if draining.is_set():
                redirect.force_close()
            raise
        return closing(response) if draining.is_set() else response

    return answer


def _hot_answer(
    cache: PageCache, request: web.BaseRequest, connection: CachingConnection | None
) -> web.StreamResponse | None:
    """The answer that one look-up gives; the connection gives it without parsing from now on."""
    if request.method not in ("GET", "HEAD") or request.body_exists:
        return None
    hot = cache.hot(request.raw_path)
    ready = hot.prepared.answer(request) if hot else None
    if hot and connection and isinstance(ready, PreparedResponse):
        connection.remember(hot, ready)
    return ready


def _no_room() -> web.Response:
    headers = {"Retry-After": str(RETRY_AFTER_S), "Cache-Control": "no-store"}
    response = web.Response(status=503, headers=headers, text="too many connections\n")
    response.force_close()
    return response


@asynccontextmanager
async def _resources(app: web.Application, *, token: str) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    async with (
        open_store(settings, check=False, patience_s=SERVER_PATIENCE_S) as store,
        Heartbeat(settings) as heartbeat,
    ):
        page_loader = PageLoader(store, settings, now=app[CLOCK], costly_reads=app[COSTLY_READS])
        app[STORE], app[PAGE_LOADER] = store, page_loader
        app[CACHE] = PageCache(
            page_loader.load, max_bytes=settings.cache_max_bytes, recheck_s=settings.recheck_s
        )
        app[REDIS_WATCH] = RedisWatch(heartbeat)
        app[READINESS] = Readiness(store, now=app[CLOCK])
        app[EVENTS] = Broadcast(
            store.event_stream, report=lambda exc: _report(app, "server events", exc)
        )
        app[TOKENS] = TokenCache(store.tokens, settings_token=token, now=app[CLOCK])
        yield
        await app[CACHE].close()
        page_loader.close()


@asynccontextmanager
async def _listening_to_changes(app: web.Application) -> AsyncIterator[None]:
    """Apply the changes that aggregate workers announce; report to them which feeds are read."""
    # The tasks end by an event, not by cancellation, which can get lost inside the Redis client.
    stop = asyncio.Event()
    async with stopping_group(app[STOP]) as group:
        group.create_task(_listen(app, stop))
        group.create_task(_follower(app).run(stop))
        group.create_task(app[TOKENS].run())
        group.create_task(app[REDIS_WATCH].run(stop))
        group.create_task(app[REDIS_WATCH].end_waiting(stop))
        recompression = Recompression(app[CACHE], zone=app[SETTINGS].timezone, now=app[CLOCK])
        group.create_task(recompression.run(stop))
        for shard in app[STORE].event_stream.shards:
            group.create_task(app[EVENTS].run(shard, stop))
        yield
        stop.set()
        app[TOKENS].close()


def _follower(app: web.Application) -> ChangeFollower:
    return ChangeFollower(
        app[STORE].page_changes, app[CACHE], app[SETTINGS], now=app[CLOCK],
        report=lambda exc: _report(app, "server page changes", exc),
    )  # fmt: skip


async def _listen(app: web.Application, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            with redis_errors_as_unavailable():
                await _follow_changes(app, stop)
        except Unavailable:
            pass
        except Exception as exc:  # noqa: BLE001 -- reported, then retried
            await _report(app, "server changes", exc)
        app[CACHE].forget_all()
        await sleep(stop, RECONNECT_S)


async def _report(app: web.Application, loop: str, exc: Exception) -> None:
    await app[STORE].faults.report("loop", loop, exc, now=app[CLOCK]())


async def _follow_changes(app: web.Application, stop: asyncio.Event) -> None:
    async with app[STORE].rendered_pages.announcements() as announcements:
        # Changes that were announced without a connection are unknown.
        app[CACHE].forget_all()
        async for announcement in announcements:
            if announcement.erased:
                app[PAGE_LOADER].feeds.forget_articles()
                app[CACHE].drop_all()
            app[CACHE].changed(announcement.changes, FORMATS)
            await note_readers(app)
            if stop.is_set():
                return


async def note_readers(app: web.Application) -> None:
    """Report the feeds read since the last call to the aggregate workers, which render them ahead
    of the next request. A Redis that takes no writes now must not cost the connection on which
    changes are announced: all pages would have to be confirmed again each second."""
    reads = [
        (page, extension)
        for page, extension in app[CACHE].take_reads()
        if extension in FORMATS and isinstance(page, Page)
    ]
    with suppress(Unavailable), redis_errors_as_unavailable():
        await app[STORE].rendered_pages.note_reads(reads, now=app[CLOCK]())
