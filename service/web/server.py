"""One server process: its listening socket, the handler of hot pages, and its shutdown."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import sys

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, PayloadEncodingError
from aiohttp.web_protocol import RequestPayloadError

from service import process
from service.errors import StartFailed, Unavailable
from service.logs import Throttle
from service.manage import tokens
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.store import Store, open_store
from service.web.app import create_app, serve_hot, utc_now
from service.web.request.keys import CACHE, CONNECTIONS, EVENTS, STORE
from service.web.serving.drain import SHARE, drain
from service.web.serving.listening import bound_unsent
from service.web.serving.request_cache import make_site
from service.web.serving.slow_clients import SlowClients

logger = logging.getLogger(__name__)

BACKLOG = 1_024
MAX_UNSENT_BYTES = 262_144
"""Bytes of an answer that the kernel may hold for a client that does not read them; by default
Linux holds up to 4 MB. The rest stays in this process, where all clients of a page share it, and
where it shows which clients are slow."""
REGISTER_EVERY_S = 2.0
"""Pause between two attempts to make the first token known while Redis takes no writes."""
IN_FLIGHT_SHARE = (process.DRAIN_SHARE - SHARE) / 2
"""Share of DRAIN_S for requests that are still in flight after `drain`. The server waits this long
twice: for them to end by themselves, then for those that it cancelled."""


SWITCH_INTERVAL_S = 0.0005
"""After this time, a thread that renders lets the event loop run when it has something to do. The
5 ms of Python itself would be added to each answer while pages are rendered."""

# Faults of the client, which are answered with 400.
_MALFORMED = (HttpProcessingError, PayloadEncodingError, RequestPayloadError)


async def serve(settings: Settings, *, first_token: str) -> None:
    """Serve until SIGTERM or SIGINT, and drain.

    Args:
        first_token: what the first start wrote to the data dir; empty if DATELINE_API_TOKEN is set.

    Raises:
        StartFailed, InvalidSettings: the port is in use, or Redis cannot be reached or used.
    """
    process.raise_file_limit()
    logging.getLogger("aiohttp.server").addFilter(_without_malformed_requests)
    stop, draining, throttle = asyncio.Event(), asyncio.Event(), Throttle()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_store(settings, stop=stop) as store:
        is_registered = not first_token or await _register(store, first_token, throttle)
    app = create_app(settings, token=settings.api_token, stop=stop)
    connections = app[CONNECTIONS]
    runner = await _set_up(app, settings, draining)
    try:
        site = await make_site(
            runner,
            listen(settings),
            cache=app[CACHE].repeated,
            connections=connections,
            backlog=BACKLOG,
        )
        await site.start()
        shown = {"url": settings.base_url, "max_connections": connections.total}
        logger.info("serving", extra=shown)
        process.freeze_garbage_collector()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        slow_clients = SlowClients(
            connections,
            head_timeout_s=settings.head_timeout_s,
            send_timeout_s=settings.send_timeout_s,
        )
        async with process.stopping_group(stop) as group:
            group.create_task(slow_clients.run(stop))
            group.create_task(process.keep_memory_small(stop))
            if not is_registered:
                group.create_task(_register_later(app[STORE], first_token, throttle, stop))
            await stop.wait()
        process.end_within(settings.drain_s)
        draining.set()
        app[CACHE].repeated.close()
        await drain(site, connections, drain_s=settings.drain_s, end_streams=app[EVENTS].close)
    finally:
        process.end_within(settings.drain_s)
        await runner.cleanup()


def _without_malformed_requests(record: logging.LogRecord) -> bool:
    """aiohttp logs ten lines with the sender's bytes for each malformed request: a flood on demand.
    The sender gets its 400 all the same."""
    return not (record.exc_info and isinstance(record.exc_info[1], _MALFORMED))


async def _register(store: Store, first_token: str, throttle: Throttle) -> bool:
    """Make the first token known; False, with a line in the log once a minute, if Redis cannot take
    it now. Pages are served all the same."""
    try:
        with redis_errors_as_unavailable():
            await tokens.register_first(store, first_token, now=utc_now())
    except Unavailable as exc:
        if throttle.is_due():
            logger.warning("the API token of the data dir is not known", extra={"reason": exc})
        return False
    return True


async def _register_later(
    store: Store, first_token: str, throttle: Throttle, stop: asyncio.Event
) -> None:
    is_registered = False
    while not is_registered and not stop.is_set():
        await process.sleep(stop, REGISTER_EVERY_S)
        is_registered = await _register(store, first_token, throttle)


async def _set_up(
    app: web.Application, settings: Settings, draining: asyncio.Event
) -> web.AppRunner:
    """The runner of an application, whose resources are open."""
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=IN_FLIGHT_SHARE * settings.drain_s,
        keepalive_timeout=settings.keepalive_timeout_s,
    )
    await runner.setup()
    # aiohttp reads this attribute at each new connection.
    assert runner.server is not None  # noqa: S101 -- setup() makes it
    handle = runner.server.request_handler
    runner.server.request_handler = serve_hot(app, handle, draining=draining)
    return runner


def listen(settings: Settings) -> socket.socket:
    """A bound socket, whose port other server processes of this site can share.

    Raises:
        StartFailed: the address is in use or not available.
    """
    sock = socket.socket(settings.family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound_unsent(sock, MAX_UNSENT_BYTES)
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
        in_use = f"port {settings.port} is taken on {settings.host}"
        return f"{in_use}: choose another with --port or DATELINE_PORT"
    if exc.errno == errno.EACCES:
        return f"{where}: ports below 1024 need privileges; choose another with --port"
    return f"cannot listen on {where}: {exc.strerror}"
