"""The HTTP client for all outgoing requests, with a guard against SSRF.

The guard is called when a socket is created, so that it checks every address just before the
connection: of names, of literals in any spelling, of redirects, and of names that change.

Who named a host travels with the request, as a `Provenance`. Without one a request is a stranger's:
ALLOWED_NETWORKS opens nothing to it. The client itself compares each URL with what the operator
typed, and the two kinds have connections of their own: a stranger's request is never sent on a
connection that was opened for the operator.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from service.addresses import Network
from service.settings import Settings
from service.sources.transport import DIRECT, Transport
from workers.proxies import (
    STRANGERS_REMEDY,
    TYPED_REMEDY,
    Proxies,
    refuse_forbidden,
    trust_of,
)  # fmt: skip
from workers.resolver import CachingResolver

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10
MAX_CONNECTIONS = 512
# Node and uvicorn close idle connections after 5 s: none that is about to be closed is used.
KEEPALIVE_S = 4
_WEB_PORTS = frozenset({80, 443})
# Look-ups at a time: for URLs of strangers, for those that the operator typed, by `addresses_of`.
LOOKUPS = (64, 32, 16)
_RETRY = "_retry_connection"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who named the host of a URL: the operator, or a stranger."""

    sites: frozenset[tuple[str, int]] = frozenset()
    """(host, port) that the operator typed; none for a stranger's URL."""

    def covers(self, url: URL | str) -> bool:
        """Whether the operator typed the host and port of this URL."""
        return bool(self.sites) and _site_of(url) in self.sites


STRANGER = Provenance()


def typed_by_operator(url: URL | str) -> Provenance:
    """Return the provenance of a URL that the operator typed, for it and all that follows from it.

    It covers the host and port of that URL; a host's ports 80 and 443 are one site. What leads
    elsewhere (a redirect, a link) is a stranger's.
    """
    host, port = _site_of(url)
    if not host:
        return STRANGER
    ports = _WEB_PORTS if port in _WEB_PORTS else {port}
    return Provenance(frozenset((host, each) for each in ports))


def _site_of(url: URL | str) -> tuple[str, int]:
    """(host, port) by the parser that decides what is connected to; no host if it fails."""
    try:
        url = URL(url)
    except ValueError:
        return "", 0
    return (url.raw_host or "").lower(), url.port or 0


class OutboundClient:
    """Sends requests, and lets each reach only what its provenance allows."""

    def __init__(
        self, strangers: aiohttp.ClientSession, operators: aiohttp.ClientSession,
        resolver: CachingResolver, lookups: CachingResolver, proxies: Proxies,
    ) -> None:  # fmt: skip
        self._strangers = strangers
        self._operators = operators
        self._resolver = resolver
        """The resolver of the session for strangers."""
        self._lookups = lookups
        """For names that nobody has vouched for, which may never be answered."""
        self._proxies = proxies

    def request(
        self, method: str, url: URL | str, *, provenance: Provenance = STRANGER,
        headers: Mapping[str, str] | None = None, data: bytes | Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None, transport: Transport = DIRECT,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:  # fmt: skip
        """Send a request and follow no redirect: each hop is a request that is judged by itself.

        Raises:
            aiohttp.ClientError, OSError, ValueError, TimeoutError: entering the context.
        """
        is_typed = provenance.covers(url)
        if transport.user_agent:
            headers = {**(headers or {}), "User-Agent": transport.user_agent}
        if transport.proxy:
            return self._proxies.request(
                method, url, is_typed=is_typed, transport=transport, headers=headers, data=data,
                timeout=timeout or self._operators.timeout,
            )  # fmt: skip
        session = self._operators if is_typed else self._strangers
        return session.request(
            method, url, headers=headers, data=data, allow_redirects=False,
            timeout=timeout or session.timeout, ssl=trust_of(transport),
        )  # fmt: skip

    async def addresses_of(self, url: URL | str) -> tuple[str, ...]:
        """Return the addresses that a stranger's URL leads to now, of which the next request to it
        connects to one; none if its host cannot be resolved."""
        host, _ = _site_of(url)
        try:
            results = await self._lookups.resolve(host) if host else []
        except OSError:
            return ()
        self._resolver.adopt(host, results)
        return tuple(result["host"] for result in results)

    def set_user_agent(self, user_agent: str) -> None:
        """Send this User-Agent from now on."""
        for session in (self._strangers, self._operators):
            session.headers["User-Agent"] = user_agent


@asynccontextmanager
async def open_client(
    settings: Settings,
    *,
    user_agent: str,
    max_connections: int = MAX_CONNECTIONS,
    repeats: bool = True,
) -> AsyncIterator[OutboundClient]:
    """A client that keeps no cookies, trusts no environment, and reaches no private network.

    Args:
        max_connections: of each provenance; more requests wait; 0 for no limit.
        repeats: whether a request may be sent again on a new connection if the server closed the
            idle one.
    """

    def session(
        networks: tuple[Network, ...], remedy: str, resolver: CachingResolver
    ) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            socket_factory=_guard(networks, settings.allowed_ports, remedy),
            resolver=resolver,
            # The resolver has one.
            use_dns_cache=False,
            limit=max_connections,
            keepalive_timeout=KEEPALIVE_S,
        )
        opened = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
            trust_env=False,
            auto_decompress=False,
            max_line_size=16_384,
        )
        if not repeats:
            forbid_repeats(opened)
        return opened

    everybodys = settings.open_networks
    operators = (*everybodys, *settings.allowed_networks)
    resolvers = [CachingResolver(threads=threads) for threads in LOOKUPS]
    try:
        async with (
            session(everybodys, STRANGERS_REMEDY, resolvers[0]) as for_strangers,
            session(operators, TYPED_REMEDY, resolvers[1]) as for_operators,
        ):
            proxies = Proxies(
                settings, for_operators, proxy_resolver=resolvers[1], lookups=resolvers[2]
            )
            yield OutboundClient(for_strangers, for_operators, resolvers[0], resolvers[2], proxies)
    finally:
        for resolver in resolvers:
            await resolver.close()


def _guard(
    networks: tuple[Network, ...], ports: Collection[int], remedy: str
) -> Callable[[tuple[Any, ...]], socket.socket]:
    """Return what makes a socket for an address, or raises OSError if it must not be reached."""

    def guarded_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, (host, port, *_) = info
        refuse_forbidden(host, port, networks, ports, remedy)
        return socket.socket(family=family, type=kind, proto=protocol)

    return guarded_socket


def warn_of_open_networks(settings: Settings) -> None:
    """Log a warning if OPEN_NETWORKS lets strangers' URLs reach private networks."""
    if settings.open_networks:
        logger.warning(
            "OPEN_NETWORKS is set: whatever a stranger names may be reached there",
            extra={"networks": ",".join(map(str, settings.open_networks))},
        )


def reason_of(exc: Exception) -> str:
    """Say why a request got no answer, for operators: aiohttp's own words for a connection that
    failed name a TLS setting, for http URLs too."""
    if isinstance(exc, aiohttp.ClientHttpProxyError):
        # Its text has the URL of the proxy, with the password.
        return f"the proxy answered {exc.status} {exc.message}"
    if isinstance(exc, aiohttp.ServerFingerprintMismatch):
        return f"the certificate of {exc.host} has another fingerprint: {exc.got.hex()}"
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
