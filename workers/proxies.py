"""Proxies and certificates of single sources, and the guard that all connections share.

A proxy is a host that the operator typed: its address is judged as such. What it connects to, it
decides itself, so the target is judged before it is asked: an address must be allowed, and a name
that a stranger gave must lead to allowed addresses alone, as this machine resolves it. A name that
the operator typed is resolved by the proxy, which may know others (`.onion`).
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp_socks import (
    ProxyConnectionError,
    ProxyConnector,
    ProxyError,
    ProxyTimeoutError,
    ProxyType,
)
from yarl import URL

from service.addresses import Network, is_allowed
from service.settings import Settings
from service.sources.transport import Transport
from workers.resolver import CachingResolver

# Below it stand mail, databases and remote shells, which take some HTTP requests for commands.
FIRST_FREE_PORT = 1_024
STRANGERS_REMEDY = "OPEN_NETWORKS can allow it for everybody's URLs"
TYPED_REMEDY = "ALLOWED_NETWORKS can allow it"


def refuse_forbidden(
    address: str, port: int, networks: tuple[Network, ...], ports: Collection[int], remedy: str
) -> None:
    """Raise OSError for an address or a port that must not be connected to."""
    if not is_allowed(address, networks):
        raise OSError(errno.EACCES, f"{address} is not a public address; DATELINE_{remedy}")
    if port < FIRST_FREE_PORT and port not in ports:
        reason = f"port {port} is not one of the web; DATELINE_ALLOWED_PORTS can allow it"
        raise OSError(errno.EACCES, reason)


@lru_cache(maxsize=256)
def trust_of(transport: Transport) -> ssl.SSLContext | aiohttp.Fingerprint | bool:
    """Which certificates are trusted, as aiohttp's `ssl`. Equal transports have the same object, so
    that they share connections."""
    if transport.tls_fingerprint:
        return aiohttp.Fingerprint(bytes.fromhex(transport.tls_fingerprint))
    if transport.tls_ca:
        return ssl.create_default_context(cadata=transport.tls_ca)
    return True


class Proxies:
    """Sends requests through the proxies of sources."""

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession,
        *,
        proxy_resolver: CachingResolver,
        lookups: CachingResolver,
    ) -> None:
        self._settings = settings
        self._session = session
        """It reaches what the operator typed, as a proxy is."""
        self._proxy_resolver = proxy_resolver
        self._lookups = lookups
        """For names of strangers."""

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL | str,
        *,
        is_typed: bool,
        transport: Transport,
        headers: Mapping[str, str] | None,
        data: bytes | Mapping[str, str] | None,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 -- a bound of aiohttp's, not of this call
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request through a proxy, and follow no redirect.

        Args:
            is_typed: whether the operator typed the host of the URL.

        Raises:
            aiohttp.ClientError, OSError, ValueError, TimeoutError: as without a proxy.
        """
        await self._judge(URL(url), is_typed=is_typed)
        if transport.proxy.startswith("http:"):
            async with self._session.request(
                method, url, headers=headers, data=data, allow_redirects=False, timeout=timeout,
                ssl=trust_of(transport), proxy=transport.proxy,
            ) as response:  # fmt: skip
                yield response
            return
        # A connection of its own for each request: polls of one source are rare.
        async with (
            await self._socks_session(transport.proxy) as session,
            session.request(
                method, url, headers=headers, data=data, allow_redirects=False, timeout=timeout,
                ssl=trust_of(transport),
            ) as response,
        ):  # fmt: skip
            yield response

    async def _judge(self, url: URL, *, is_typed: bool) -> None:
        settings = self._settings
        networks, remedy = settings.open_networks, STRANGERS_REMEDY
        if is_typed:
            networks, remedy = (*networks, *settings.allowed_networks), TYPED_REMEDY
        host = url.raw_host or ""
        addresses = _numeric(host)
        if not addresses and not is_typed:
            addresses = [each["host"] for each in await self._lookups.resolve(host)]
        for address in addresses or []:
            refuse_forbidden(address, url.port or 0, networks, settings.allowed_ports, remedy)

    async def _socks_session(self, proxy: str) -> aiohttp.ClientSession:
        parts = urlsplit(proxy)
        settings = self._settings
        networks = (*settings.open_networks, *settings.allowed_networks)
        host, port = parts.hostname or "", parts.port or 0
        addresses = [each["host"] for each in await self._proxy_resolver.resolve(host)]
        if not addresses:
            raise OSError(errno.EHOSTUNREACH, f"the proxy {host} has no address")
        refuse_forbidden(addresses[0], port, networks, settings.allowed_ports, TYPED_REMEDY)
        connector = _SocksConnector(
            # The address that was judged, so that the name cannot lead elsewhere meanwhile.
            host=addresses[0],
            port=port,
            proxy_type=ProxyType.SOCKS5,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            rdns=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._session.headers,
            trust_env=False,
            auto_decompress=False,
            max_line_size=16_384,
        )


class _SocksConnector(ProxyConnector):
    async def _wrap_create_connection(self, *args: Any, req: Any, **options: Any) -> Any:
        try:
            transport, protocol = await super()._wrap_create_connection(*args, req=req, **options)
        except ProxyTimeoutError as exc:
            raise TimeoutError("the proxy did not answer") from exc
        except (ProxyConnectionError, ProxyError) as exc:
            raise OSError(errno.ECONNREFUSED, f"through the proxy: {exc}") from exc
        if isinstance(req.ssl, aiohttp.Fingerprint):
            # aiohttp would look for the address of the proxy among those of the site.
            try:
                req.ssl.check(transport)
            except aiohttp.ServerFingerprintMismatch:
                transport.close()
                raise
        return transport, protocol


def _numeric(host: str) -> list[str]:
    """The address that a host is in any numeric spelling (`127.1`, `0x7f.1`); none of a name."""
    try:
        infos = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return []
    return list(dict.fromkeys(str(info[4][0]) for info in infos))
