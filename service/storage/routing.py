"""Routing: commands to the primary that has their keys, behind the surface of one client.

    command → key → slot → primary → plain client of that server
       └ moved, demoted, unreachable → ask the topology again → the same command once more

Whatever is sent twice has one effect (client.py), so each command is repeated until its patience
ends. redis-py's own cluster client is not used (docs/decisions.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from redis.commands.core import AsyncCoreCommands
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from service.redis_url import Address
from service.storage.routed_pipeline import Command, RoutedPipeline
from service.storage.routes import PASSING, TooFewReplicas, is_ask, key_of
from service.storage.topologies import OpenServer, Placement, Topology

Reply = TypeVar("Reply")
REFRESH_EVERY_S = 0.1
"""How often the topology is asked at most."""
FIRST_PAUSE_S, MAX_PAUSE_S = 0.02, 0.25


class RoutedClient(AsyncCoreCommands):
    """A client of several servers, for `commands.Client`.

    Args:
        open_server: a plain client of one server, which does not repeat commands.
        patience_s: how long a command is repeated.
        replicas: how many of them have to confirm what must survive the loss of a primary.
        wait_ms: how long that may take.
    """

    _event_dispatcher: Any = None

    def __init__(
        self, topology: Topology, *, open_server: OpenServer, patience_s: float, replicas: int = 0,
        wait_ms: int = 1_000,
    ) -> None:  # fmt: skip
        self._topology = topology
        self._open_server = open_server
        self._patience_s = patience_s
        self.replicas = replicas
        self._wait_ms = wait_ms
        self._clients: dict[Address, Any] = {}
        self._former: list[Any] = []
        self._placement: Placement | None = None
        self._suspects: set[Address] = set()
        self._refreshing = asyncio.Lock()
        self._refreshed = 0.0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command where its key is; without a key on every primary, and return the first
        reply (of DBSIZE the sum)."""
        command = Command(args, options, key_of(args))
        if command.key is not None:
            return await self.repeat(lambda: self._run(command))
        replies = [
            await self._run_at(server, command) for server in (await self.placement()).servers()
        ]
        return sum(replies) if str(args[0]).upper() == "DBSIZE" else replies[0]

    async def execute_durably(self, *args: Any) -> Any:
        """Run a command with a key, and wait until the replicas have confirmed it.

        Raises:
            TooFewReplicas: it may be lost if its primary is.
        """
        command = Command(args, {}, key_of(args))
        if not self.replicas:
            return await self.repeat(lambda: self._run(command))
        reply, confirmed = await self.repeat(lambda: self._run_durably(command))
        if confirmed < self.replicas:
            raise TooFewReplicas(
                f"{confirmed} of {self.replicas} replicas confirmed a write in {self._wait_ms} ms"
            )
        return reply

    def pipeline(self, transaction: bool = True) -> RoutedPipeline:
        """Commands that `execute` sends together; those of a transaction are on one server."""
        return RoutedPipeline(self, is_atomic=transaction)

    def pubsub(self, *, ignore_subscribe_messages: bool) -> RoutedPubSub:
        """A subscription; channels are where keys of their names would be."""
        return RoutedPubSub(self, ignore_subscribe_messages=ignore_subscribe_messages)

    async def scan_iter(  # type: ignore[override]
        self, match: str | None = None, count: int | None = None
    ) -> AsyncIterator[bytes]:
        """The keys of all primaries, one primary after the other."""
        for server in (await self.placement()).servers():
            async for key in self.at(server).scan_iter(match=match, count=count):
                yield key

    async def primaries(self) -> list[tuple[Address, Any]]:
        """Each primary and its plain client."""
        return [(server, self.at(server)) for server in (await self.placement()).servers()]

    async def aclose(self) -> None:
        """Close the connections to all servers."""
        for client in (*self._clients.values(), *self._former):
            await client.aclose()
        self._clients.clear()
        self._former.clear()
        await self._topology.aclose()

    def at(self, server: Address) -> Any:
        """The plain client of one server."""
        if server not in self._clients:
            self._clients[server] = self._open_server(server)
        return self._clients[server]

    async def placement(self) -> Placement:
        """Where keys are, as far as is known. Raises RedisError if it never was."""
        if self._placement is None:
            await self._refresh()
        if self._placement is None:
            raise RedisConnectionError("it is not known where the primaries are")
        return self._placement

    async def repeat(self, attempt: Callable[[], Awaitable[Reply]]) -> Reply:
        """Repeat an attempt until it succeeds, fails for good, or patience ends."""
        until, pause_s = time.monotonic() + self._patience_s, FIRST_PAUSE_S
        while True:
            try:
                return await attempt()
            except PASSING:
                # Also for the next command.
                await self._refresh()
                if time.monotonic() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def send(
        self, server: Address, commands: Sequence[Command], *, is_atomic: bool
    ) -> list[Any]:
        """The replies of one server to commands that are sent together, or what it raised in place
        of each."""
        pipe = self.at(server).pipeline(transaction=is_atomic)
        for command in commands:
            pipe.execute_command(*command.args, **command.options)
        try:
            replies: list[Any] = await pipe.execute(raise_on_error=is_atomic)
        except (RedisConnectionError, RedisTimeoutError) as exc:
            self._suspects.add(server)
            return [exc] * len(commands)
        except ResponseError as exc:
            return [exc] * len(commands)
        return replies

    async def ask(self, reply: Any, *commands: Command) -> list[Any]:
        """The replies of the server that a reply names, to which the slot of the first command is
        moving: that has to come behind ASKING, on one connection."""
        asking = Command(("ASKING",), {}, None)
        server = Address(reply.host, reply.port)
        _, *replies = await self.send(server, [asking, *commands], is_atomic=False)
        return replies

    async def _run(self, command: Command) -> Any:
        server = (await self.placement()).of(command.key or b"")
        try:
            return await self._run_at(server, command)
        except ResponseError as exc:
            if not is_ask(exc):
                raise
            (reply,) = await self.ask(exc, command)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _run_at(self, server: Address, command: Command) -> Any:
        try:
            return await self.at(server).execute_command(*command.args, **command.options)
        except (RedisConnectionError, RedisTimeoutError):
            self._suspects.add(server)
            raise

    async def _run_durably(self, command: Command) -> tuple[Any, int]:
        """(reply, number of replicas). WAIT is about the writes of its own connection alone."""
        wait = Command(("WAIT", self.replicas, self._wait_ms), {}, None)
        server = (await self.placement()).of(command.key or b"")
        reply, confirmed = await self.send(server, [command, wait], is_atomic=False)
        if is_ask(reply):
            reply, confirmed = await self.ask(reply, command, wait)
        for each in (reply, confirmed):
            if isinstance(each, Exception):
                raise each
        return reply, confirmed

    async def _refresh(self) -> None:
        """Ask where the primaries are, unless that was done just now."""
        asked = time.monotonic()
        async with self._refreshing:
            if self._placement and self._refreshed > asked - REFRESH_EVERY_S:
                return
            try:
                self._placement = await self._topology.place(self.at, frozenset(self._suspects))
            except RedisError:
                if self._placement is None:
                    raise
                return
            finally:
                self._refreshed = time.monotonic()
            self._suspects.clear()
            await self._leave(self._clients.keys() - set(self._placement.servers()))

    async def _leave(self, servers: Iterable[Address]) -> None:
        """Disconnect from servers that are no primaries any more: blocked reads would wait there.
        What was just connecting is closed the next time."""
        while self._former:
            await self._former.pop().aclose()
        for server in servers:
            client = self._clients.pop(server)
            self._former.append(client)
            await client.connection_pool.disconnect()


class RoutedPubSub:
    """A subscription on the primary that has the channels."""

    def __init__(self, client: RoutedClient, *, ignore_subscribe_messages: bool) -> None:
        self._client = client
        self._ignores = ignore_subscribe_messages
        self._pubsub: Any = None

    async def subscribe(self, *channels: str) -> None:
        """Subscribe to channels of one server."""
        server = (await self._client.placement()).of(channels[0].encode())
        self._pubsub = self._client.at(server).pubsub(ignore_subscribe_messages=self._ignores)
        await self._pubsub.subscribe(*channels)

    async def get_message(
        self,
        *,
        timeout: float,  # noqa: ASYNC109 -- redis-py's name
    ) -> dict[str, Any] | None:
        """The next message, or None after the timeout."""
        message: dict[str, Any] | None = await self._pubsub.get_message(timeout=timeout)
        return message

    async def aclose(self) -> None:
        """End the subscription, if one was made."""
        if self._pubsub is not None:
            await self._pubsub.aclose()
