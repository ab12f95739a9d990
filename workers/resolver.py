"""Looks up the addresses of hosts, each once for all who need it, and remembers them for a while.

A name whose servers never answer holds a thread, so lookups have threads of their own: of the names
that strangers give none can delay a name that the operator typed. What was answered holds for
CACHE_S: an address that was judged is the one that is then connected to.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakValueDictionary

from aiohttp.abc import AbstractResolver, ResolveResult
from cachetools import TTLCache

CACHE_S = 30
# A server that was away for a moment is looked up again soon.
FAILURE_S = 2
MAX_HOSTS = 4_096
LOOKUP_S = 10
# Addresses of one host that are used; the rest of a longer answer is ignored.
MAX_ADDRESSES = 8
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_Key = tuple[str, int]


class CachingResolver(AbstractResolver):
    """Resolves by getaddrinfo.

    Args:
        threads: lookups at a time.
    """

    def __init__(self, *, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")
        self._addresses: TTLCache[_Key, list[tuple[str, int, int]]] = TTLCache(MAX_HOSTS, CACHE_S)
        """(address, family, protocol) of each address, in the order of the answer."""
        self._failures: TTLCache[_Key, str] = TTLCache(MAX_HOSTS, FAILURE_S)
        self._lookups: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return at most MAX_ADDRESSES addresses of a host.

        Raises:
            OSError: there are none, or no answer within LOOKUP_S.
        """
        key = _key_of(host, family)
        try:
            async with asyncio.timeout(LOOKUP_S):
                addresses = await self._known_or_looked_up(key)
        except TimeoutError as exc:
            raise OSError(f"the name was not resolved in {LOOKUP_S} s") from exc
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=protocol, flags=_NUMERIC
            )
            for address, kind, protocol in addresses
        ]

    def adopt(self, host: str, results: list[ResolveResult]) -> None:
        """Remember the addresses that another resolver has found."""
        addresses = [(each["host"], each["family"], each["proto"]) for each in results]
        self._addresses[_key_of(host, socket.AF_UNSPEC)] = addresses

    async def _known_or_looked_up(self, key: _Key) -> list[tuple[str, int, int]]:
        # One lookup for all: a host with many endpoints would take every thread.
        lock = self._lookups.setdefault(key, asyncio.Lock())
        async with lock:
            if key in self._failures:
                raise OSError(self._failures[key])
            addresses = self._addresses.get(key)
            if addresses is None:
                addresses = self._addresses[key] = await self._look_up(key)
            return addresses

    async def _look_up(self, key: _Key) -> list[tuple[str, int, int]]:
        host, family = key
        loop = asyncio.get_running_loop()
        try:
            infos: list[Any] = await loop.run_in_executor(
                self._threads, lambda: socket.getaddrinfo(
                    host, 0, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
            )  # fmt: skip
        except (OSError, UnicodeError) as exc:
            self._failures[key] = str(exc)
            raise OSError(str(exc)) from exc
        return [
            (_text_of(address), kind, protocol)
            for kind, _, protocol, _, address in infos[:MAX_ADDRESSES]
        ]

    async def close(self) -> None:
        """End the threads; lookups that have not begun are cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _key_of(host: str, family: int) -> _Key:
    # Another spelling of a name must not be a second look, which could have another answer.
    name = host.lower()
    return (f"{name.rstrip('.')}." if name.endswith(".") else name), int(family)


def _text_of(address: tuple[Any, ...]) -> str:
    """The address with its scope, which link-local ones of IPv6 need."""
    scope = address[3] if len(address) > 3 else 0
    return f"{address[0]}%{scope}" if scope else str(address[0])
