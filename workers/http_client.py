"""The HTTP client for all outgoing requests, with a guard against SSRF.

The guard is called when a socket is created, so that it checks every address just before the
connection: of names, of literals in any spelling, of redirects, and of names that change.
"""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import aiohttp

from service.settings import Network, Settings

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10
MAX_CONNECTIONS = 512
# Node and uvicorn close idle connections after 5 s: none that is about to be closed is used.
KEEPALIVE_S = 4
_RETRY = "_retry_connection"
# `ipaddress` calls these global; they lead to private networks, to relays, or nowhere.
_DENIED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16",
        "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


@lru_cache(maxsize=4_096)
def is_allowed(address: str, allowed: tuple[Network, ...]) -> bool:
    """Whether we may connect to an IP address: public ones, and what the operator allows."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if any(ip in network for network in allowed if network.version == ip.version):
        return True
    denied = any(ip in network for network in _DENIED if network.version == ip.version)
    return ip.is_global and not denied


@asynccontextmanager
async def open_client(
    settings: Settings,
    *,
    user_agent: str,
    max_connections: int = MAX_CONNECTIONS,
    repeats: bool = True,
) -> AsyncIterator[aiohttp.ClientSession]:
    """A session that keeps no cookies, trusts no environment, and reaches no private network.

    Args:
        max_connections: more requests wait; 0 for no limit.
        repeats: whether a request may be sent again on a new connection if the server closed the
            idle one.
    """

    def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(address[0], settings.allowed_networks):
            raise OSError(
                errno.EACCES,
                f"{address[0]} is not a public address; DATELINE_ALLOWED_NETWORKS can allow it",
            )
        return socket.socket(family=family, type=kind, proto=protocol)

    connector = aiohttp.TCPConnector(
        socket_factory=guarded_socket,
        limit=max_connections,
        ttl_dns_cache=30,
        keepalive_timeout=KEEPALIVE_S,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        trust_env=False,
        auto_decompress=False,
        max_line_size=16_384,
    ) as session:
        if not repeats:
            forbid_repeats(session)
        yield session


def reason_of(exc: Exception) -> str:
    """Say why a request got no answer, for operators: aiohttp's own words for a connection that
    failed name a TLS setting, for http URLs too."""
    if isinstance(exc, aiohttp.ClientConnectorError):
        return f"cannot connect to {exc.host}: {exc.os_error.strerror or exc.os_error}"
    return str(exc) or type(exc).__name__


def forbid_repeats(session: aiohttp.ClientSession) -> None:
    """Make a session send each request once; log a warning if this aiohttp has no such setting.

    aiohttp repeats idempotent requests, and has no public setting against that.
    """
    if getattr(session, _RETRY, None) is not True:
        logger.warning(
            "aiohttp may send a request twice when a connection is lost: it has no known setting",
            extra={"setting": _RETRY, "version": aiohttp.__version__},
        )
        return
    setattr(session, _RETRY, False)
