"""One server process: its listening socket, the handler of hot pages, and its shutdown."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket

from aiohttp import web

from service import process
from service.errors import StartFailed
from service.manage import tokens
from service.settings import Settings
from service.storage import client
from service.storage.store import open_store
from service.web.app import create_app, serve_hot, utc_now
from service.web.request.keys import CACHE
from service.web.serving.connection_limit import ConnectionLimit
from service.web.serving.request_cache import make_site

logger = logging.getLogger(__name__)

# Requests in flight finish; 0.5 s was measured to finish none of 50 slow ones, 10 s all.
BACKLOG = 1_024
KEEPALIVE_S = 75
# For files, threads and what libraries open, besides the connections of clients and those to Redis.
RESERVED_FILES = 64


async def serve(settings: Settings, *, first_token: str) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        first_token: what the first start wrote to the data dir; empty if DATELINE_API_TOKEN is set.

    Raises:
        StartFailed, InvalidSettings: the port is in use, or Redis cannot be reached or used.
    """
    limit = ConnectionLimit(
        process.raise_file_limit(),
        reserved=RESERVED_FILES + client.connections(shards=settings.shards),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_store(settings, stop=stop) as store:
        if first_token:
            await tokens.register_first(store, first_token, now=utc_now())
    app = create_app(settings, token=settings.api_token, stop=stop)
    runner = web.AppRunner(
        app,
        access_log=None,
        # aiohttp waits this long twice: for the handlers, then for those that it has cancelled.
        shutdown_timeout=process.DRAIN_SHARE * settings.drain_s / 2,
        keepalive_timeout=KEEPALIVE_S,
    )
    await runner.setup()
    # aiohttp reads this attribute at each new connection.
    assert runner.server is not None  # noqa: S101 -- setup() makes it
    runner.server.request_handler = serve_hot(app[CACHE], runner.server.request_handler)
    try:
        site = await make_site(
            runner, listen(settings), cache=app[CACHE].repeated, limit=limit, backlog=BACKLOG
        )
        await site.start()
        shown = {"url": settings.base_url, "max_connections": limit.max_connections}
        logger.info("serving", extra=shown)
        process.freeze_garbage_collector()
        await stop.wait()
    finally:
        process.end_within(settings.drain_s)
        await runner.cleanup()


def listen(settings: Settings) -> socket.socket:
    """A bound socket, whose port other server processes of this site can share.

    Raises:
        StartFailed: the address is in use or not available.
    """
    sock = socket.socket(settings.family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind((settings.host, settings.port))
    except OSError as exc:
        sock.close()
        raise StartFailed(_reason(settings, exc)) from exc
    return sock


def check_free(settings: Settings) -> None:
    """Raise StartFailed if another process has the port: only our own servers may share it."""
    with socket.socket(settings.family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((settings.host, settings.port))
        except OSError as exc:
            raise StartFailed(_reason(settings, exc)) from exc


def _reason(settings: Settings, exc: OSError) -> str:
    where = f"{settings.host}:{settings.port}"
    if exc.errno == errno.EADDRINUSE:
        taken = f"port {settings.port} is taken on {settings.host}"
        return f"{taken}: choose another with --port or DATELINE_PORT"
    if exc.errno == errno.EACCES:
        return f"{where}: ports below 1024 need privileges; choose another with --port"
    return f"cannot listen on {where}: {exc.strerror}"
