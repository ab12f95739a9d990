"""The application: one route table, resources opened and closed with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

from aiohttp import web

from service.errors import Unavailable
from service.feeds.page import FORMATS
from service.process import stopping_group
from service.settings import Settings
from service.storage.client import translated
from service.storage.store import open_store
from service.web import (
    api,
    body,
    events,
    hub,
    manage,
    operations,
    problems,
    reading,
    selections,
    sitemaps,
    webhooks,
    websub,
)
from service.web.api import authorized
from service.web.broadcast import Broadcast
from service.web.cache import PageCache
from service.web.documents import Documents
from service.web.ready import SERVER, ReadyResponse
from service.web.repeated import Connection
from service.web.state import (
    CACHE,
    CLOCK,
    DOCUMENTS,
    EVENTS,
    SETTINGS,
    STOP,
    STORE,
    TOKEN,
)

logger = logging.getLogger(__name__)

ROUTES = (
    web.get("/feeds/{path:.+}", reading.show_feed, name="feed"),
    web.options("/feeds/{path:.+}", reading.show_options, name="feed-options"),
    web.get("/feeds.opml", reading.show_opml, name="opml"),
    web.get("/sitemap.xml", sitemaps.show_index, name="sitemap"),
    web.get("/sitemaps/{name}", sitemaps.show_part, name="sitemap-part"),
    web.get("/news-sitemap.xml", sitemaps.show_news, name="news-sitemap"),
    web.get("/robots.txt", sitemaps.show_robots, name="robots"),
    web.get("/", reading.show_home, name="home"),
    web.get("/news/{path:.+}", reading.show_news, name="news"),
    web.get("/articles/{name}", reading.show_article, name="article"),
    web.post("/api/v1/articles", authorized(api.publish), name="api-publish"),
    web.get("/api/v1/articles", api.list_articles, name="api-articles"),
    web.get("/api/v1/articles/{id}", api.show_article, name="api-article"),
    web.delete("/api/v1/articles/{id}", authorized(api.withdraw), name="api-withdraw"),
    web.post("/api/v1/webhooks", authorized(webhooks.add_webhook), name="api-add-webhook"),
    web.get("/api/v1/webhooks", authorized(webhooks.list_webhooks), name="api-webhooks"),
    web.get("/api/v1/webhooks/{id}", authorized(webhooks.show_webhook), name="api-webhook"),
    web.patch("/api/v1/webhooks/{id}", authorized(webhooks.change_webhook), name="api-set-webhook"),
    web.delete("/api/v1/webhooks/{id}", authorized(webhooks.remove_webhook), name="api-unhook"),
    web.get(
        "/api/v1/webhooks/{id}/deliveries",
        authorized(webhooks.list_deliveries),
        name="api-deliveries",
    ),
    web.get(
        "/api/v1/webhooks/{id}/dead-letters",
        authorized(webhooks.list_dead_letters),
        name="api-dead-letters",
    ),
    web.post("/api/v1/webhooks/{id}/test", authorized(webhooks.test_webhook), name="api-test"),
    web.post(
        "/api/v1/webhooks/{id}/resume", authorized(webhooks.resume_webhook), name="api-resume"
    ),
    web.post(
        "/api/v1/webhooks/{id}/replay", authorized(webhooks.replay_webhook), name="api-replay"
    ),
    web.post(
        "/api/v1/webhooks/{id}/rotate", authorized(webhooks.rotate_webhook), name="api-rotate"
    ),
    web.get("/webhooks", authorized(webhooks.show_page, scheme="Basic"), name="webhooks"),
    web.get("/webhooks/{id}", authorized(webhooks.show_one, scheme="Basic"), name="webhook"),
    web.get("/api/v1/operations", authorized(webhooks.list_operations), name="api-operations"),
    web.post("/api/v1/sources", authorized(manage.add_source), name="api-add-source"),
    web.get("/api/v1/sources", authorized(manage.list_sources), name="api-sources"),
    web.get("/api/v1/sources.opml", authorized(manage.export_sources), name="api-sources-opml"),
    web.get("/api/v1/sources/{id}", authorized(manage.show_source), name="api-source"),
    web.patch("/api/v1/sources/{id}", authorized(manage.change_source), name="api-set-source"),
    web.post("/api/v1/sources/{id}/refresh", authorized(manage.refresh_source), name="api-refresh"),
    web.delete("/api/v1/sources/{id}", authorized(manage.remove_source), name="api-unsource"),
    web.post("/api/v1/views", authorized(selections.add_view), name="api-add-view"),
    web.get("/api/v1/views", authorized(selections.list_views), name="api-views"),
    web.get("/api/v1/views/{name}", authorized(selections.show_view), name="api-view"),
    web.put("/api/v1/views/{name}", authorized(selections.put_view), name="api-put-view"),
    web.delete("/api/v1/views/{name}", authorized(selections.remove_view), name="api-unview"),
    web.post("/api/v1/private-feeds", authorized(selections.add_private), name="api-add-private"),
    web.get("/api/v1/private-feeds", authorized(selections.list_private), name="api-private-feeds"),
    web.delete(
        "/api/v1/private-feeds/{id}", authorized(selections.revoke_private), name="api-revoke"
    ),
    web.get("/private/{name}", reading.show_private, name="private"),
    web.post("/hub", hub.take, name="hub"),
    web.get("/api/v1/subscribers", authorized(hub.list_subscribers), name="api-subscribers"),
    web.delete(
        "/api/v1/subscribers/{id}", authorized(hub.remove_subscriber), name="api-unsubscribe"
    ),
    web.get("/websub/{id}", websub.verify, name="websub-verify", allow_head=False),
    web.post("/websub/{id}", websub.deliver, name="websub-deliver"),
    web.get("/events", events.show_events, name="events"),
    web.get("/livez", operations.livez, name="livez"),
    web.get("/readyz", operations.readyz, name="readyz"),
    web.get("/metrics", operations.metrics, name="metrics"),
    web.get("/static/{name}", operations.static, name="static"),
)
# Waiting longer for messages would make the first change after a lost connection late.
RECONNECT_S = 1.0


def utc_now() -> datetime:
    """The clock of the handlers."""
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
        stop: set if something that runs beside the requests has failed: the process is to end.
    """
    app = web.Application(
        middlewares=[problems.middleware(settings)],
        client_max_size=settings.api_max_bytes,
        handler_args=body.HANDLER_OPTIONS,
    )
    app[SETTINGS], app[TOKEN], app[CLOCK] = settings, token, now
    app[STOP] = stop or asyncio.Event()
    app.cleanup_ctx.append(_resources)
    app.cleanup_ctx.append(_told_of_changes)
    app.on_response_prepare.append(_sign)
    app.on_shutdown.append(_end_events)
    invited = {"expect_handler": problems.handle_expect}
    app.add_routes(
        web.RouteDef(route.method, route.path, route.handler, {**route.kwargs, **invited})
        for route in ROUTES
    )
    return app


async def _end_events(app: web.Application) -> None:
    # These connections never end by themselves, and the server waits for all.
    app[EVENTS].close()


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    # Instead of the versions of Python and aiohttp.
    response.headers["Server"] = SERVER


def serve_hot(
    cache: PageCache, handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    """A handler that answers hot pages by one look-up, before routing, and leaves the rest."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method in ("GET", "HEAD") and not request.body_exists:
            hot = cache.hot(request.raw_path)
            ready = hot.document.answer(request) if hot else None
            if hot and ready:
                if isinstance(ready, ReadyResponse) and isinstance(request.protocol, Connection):
                    request.protocol.remember(hot, ready)
                return ready
        return await handle(request)

    return answer


@asynccontextmanager
async def _resources(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    async with open_store(settings, check=False) as store:
        documents = Documents(store, settings, now=app[CLOCK])
        app[STORE], app[DOCUMENTS] = store, documents
        app[CACHE] = PageCache(
            documents.load, max_bytes=settings.cache_max_bytes, recheck_s=settings.recheck_s
        )
        app[EVENTS] = Broadcast(store.stream)
        yield
        app[CACHE].close()
        documents.close()


@asynccontextmanager
async def _told_of_changes(app: web.Application) -> AsyncIterator[None]:
    """Listen to the aggregate workers, and tell them what is read."""
    # Told to stop rather than cancelled: a cancellation can get lost inside the Redis client.
    stop = asyncio.Event()
    async with stopping_group(app[STOP]) as group:
        group.create_task(_listen(app, stop))
        for shard in range(app[STORE].stream.shards):
            group.create_task(app[EVENTS].run(shard, stop))
        yield
        stop.set()


async def _listen(app: web.Application, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with suppress(Unavailable), translated():
            async with app[STORE].rendered.announcements() as announcements:
                # What was announced while nobody listened is unknown.
                app[CACHE].forget_all()
                async for changes in announcements:
                    app[CACHE].changed(changes, FORMATS)
                    await reading.note_readers(app)
                    if stop.is_set():
                        return
        app[CACHE].forget_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(RECONNECT_S):
                await stop.wait()
