"""Redis URLs: one server, the primaries that Sentinels know, or a cluster. Pure.

redis[s]://… and unix://…                                      one server, as redis-py reads it
redis[s]+sentinel://[user:password@]host:port,…/name[,name…]   primaries; several share the keys
redis[s]+cluster://[user:password@]host:port,…                 some of a cluster's nodes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote

ONE_SCHEMES = ("redis://", "rediss://", "unix://")
SENTINEL, CLUSTER = "sentinel", "cluster"
_PORTS = {SENTINEL: 26_379, CLUSTER: 6_379}


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        """The address as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyServers:
    """What a URL of Sentinels or of a cluster says."""

    kind: str
    """SENTINEL or CLUSTER."""
    scheme: str
    """`redis` or `rediss`, for each server."""
    login: str
    """`user:password@` as in a URL; may be empty."""
    addresses: tuple[Address, ...]
    names: tuple[str, ...]
    """Names by which the Sentinels know the primaries; none for a cluster."""
    query: str
    """Options of redis-py, for each server; may be empty."""

    def url_of(self, address: Address) -> str:
        """The URL of one of the servers behind the Sentinels or in the cluster."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.login}{address}{query}"

    def sentinel_url(self, address: Address, password: str) -> str:
        """The URL of one of the Sentinels, which have a password of their own."""
        query = f"?{self.query}" if self.query else ""
        login = f":{quote(password, safe='')}@" if password else ""
        return f"{self.scheme}://{login}{address}{query}"


def many_servers(url: str) -> ManyServers | None:
    """Read a URL of Sentinels or of a cluster; None if it is that of one server.

    Raises:
        ValueError: says what is wrong with it, without its password.
    """
    if url.startswith(ONE_SCHEMES):
        return None
    scheme, separator, rest = url.partition("://")
    base, _, kind = scheme.partition("+")
    if not separator or base not in ("redis", "rediss") or kind not in _PORTS:
        raise ValueError(
            "must start with redis://, rediss:// or unix://, redis+sentinel:// or redis+cluster://"
        )
    rest, _, query = rest.partition("?")
    netloc, _, path = rest.partition("/")
    login, at, hosts = netloc.rpartition("@")
    names = tuple(filter(None, path.split(","))) if kind == SENTINEL else ()
    if kind == SENTINEL and not names:
        raise ValueError("must end with the name of a primary: redis+sentinel://host:port/name")
    if kind == CLUSTER and path.strip("/0"):
        raise ValueError("must not have a path: a cluster has database 0 alone")
    return ManyServers(
        kind=kind,
        scheme=base,
        login=login + at,
        addresses=_addresses(hosts, _PORTS[kind]),
        names=names,
        query=query,
    )


def _addresses(hosts: str, default_port: int) -> tuple[Address, ...]:
    addresses = tuple(_address(each, default_port) for each in hosts.split(",") if each)
    if not addresses:
        raise ValueError("must name a host, or several with commas between them")
    return addresses


def _address(text: str, default_port: int) -> Address:
    head, bracket, tail = text.rpartition("]")
    if bracket:
        host, port = head.removeprefix("["), tail.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not host or not (port or str(default_port)).isdecimal() or int(port or 1) > 65_535:
        raise ValueError(f"must name hosts as host:port, and not {text}")
    return Address(host, int(port or default_port))
