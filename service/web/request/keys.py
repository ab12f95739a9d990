"""Application keys: what the handlers need; `app.create_app` and its resources set them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from service.settings import Settings
from service.storage.store import Store
from service.tokens.token import Token
from service.web.serving.address_limit import AddressLimit
from service.web.serving.connections import Connections
from service.web.serving.costly_reads import CostlyReads
from service.web.serving.event_broadcast import Broadcast
from service.web.serving.page_cache import PageCache
from service.web.serving.page_loader import PageLoader
from service.web.serving.readiness import Readiness
from service.web.serving.redis_watch import RedisWatch
from service.web.serving.token_cache import TokenCache

SETTINGS = web.AppKey("settings", Settings)
STORE = web.AppKey("store", Store)
PAGE_LOADER = web.AppKey("page_loader", PageLoader)
CACHE = web.AppKey("cache", PageCache)
READINESS = web.AppKey("readiness", Readiness)
STOP = web.AppKey("stop", asyncio.Event)
EVENTS = web.AppKey("events", Broadcast)
REDIS_WATCH = web.AppKey("redis_watch", RedisWatch)
TOKENS = web.AppKey("tokens", TokenCache)
CALLER = web.RequestKey("caller", Token)
"""The token of a request that needs one."""
CONNECTIONS = web.AppKey("connections", Connections)
INVITED = web.RequestKey("invited", bool)
"""Whether `Expect: 100-continue` was answered: the body is on its way."""
STREAMS = web.AppKey("streams", AddressLimit)
COSTLY_READS = web.AppKey("costly_reads", CostlyReads)
CLOCK: web.AppKey[Callable[[], datetime]] = web.AppKey("clock", Callable[[], datetime])  # type: ignore[arg-type]  # a callable has no runtime type
