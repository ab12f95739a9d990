"""A pipeline over several servers: split by server, its replies put together in order.

What fails for a while is sent again without the rest; what was done stays done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.commands.core import AsyncCoreCommands
from redis.exceptions import TryAgainError

from service.redis_url import Address
from service.storage.routes import PASSING, CrossesSlots, is_ask, key_of
from service.storage.topologies import Placement


@dataclass(frozen=True, slots=True)
class Command:
    """A command and the options of redis-py for its reply."""

    args: tuple[Any, ...]
    options: Mapping[str, Any]
    key: bytes | None


class Servers(Protocol):
    """What a pipeline needs of the client."""

    async def placement(self) -> Placement:
        """Where keys are, as far as is known."""

    async def send(self, server: Address, commands: Sequence[Command], *, is_atomic: bool) -> Any:
        """The replies of one server, or what it raised in place of each."""

    async def ask(self, reply: Any, *commands: Command) -> list[Any]:
        """The replies of the server that a reply names, or what it raised in place of each."""

    async def repeat(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Repeat an attempt until it succeeds, fails for good, or patience ends."""


@dataclass(slots=True)
class _Batch:
    """What one server gets of a pipeline."""

    commands: list[Command] = field(default_factory=list)
    places: list[int] = field(default_factory=list)


class RoutedPipeline(AsyncCoreCommands):
    """Commands for several servers."""

    _event_dispatcher: Any = None

    def __init__(self, servers: Servers, *, is_atomic: bool) -> None:
        self._servers = servers
        self._is_atomic = is_atomic
        self._commands: list[Command] = []

    def execute_command(self, *args: Any, **options: Any) -> RoutedPipeline:
        """Add a command; one without a key goes to each server that gets another one."""
        self._commands.append(Command(args, options, key_of(args)))
        return self

    async def execute(self) -> list[Any]:
        """Send all commands, and return their replies in order.

        Raises:
            RedisError: that of the first command that failed.
        """
        commands, self._commands = self._commands, []
        replies: list[Any] = [TryAgainError("not sent yet")] * len(commands)

        async def attempt() -> None:
            wanted = [n for n, reply in enumerate(replies) if isinstance(reply, PASSING)]
            batches = self._batches(commands, wanted, await self._servers.placement())
            async with asyncio.TaskGroup() as group:
                for server, batch in batches.items():
                    group.create_task(self._run(server, batch, replies))
            for reply in replies:
                if isinstance(reply, PASSING):
                    raise reply

        try:
            await self._servers.repeat(attempt)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def _batches(
        self, commands: Sequence[Command], wanted: Sequence[int], placement: Placement
    ) -> dict[Address, _Batch]:
        of = {n: placement.of(key) for n in wanted if (key := commands[n].key) is not None}
        servers = dict.fromkeys(of.values()) or dict.fromkeys(placement.servers()[:1])
        if self._is_atomic and len(servers) > 1:
            raise CrossesSlots(f"a transaction has keys on {len(servers)} servers")
        batches = {server: _Batch() for server in servers}
        for number, command in enumerate(commands):
            # A script is loaded again with each repetition.
            targets = servers if command.key is None else filter(None, [of.get(number)])
            for server in targets:
                batches[server].commands.append(command)
                batches[server].places.append(number)
        return batches

    async def _run(self, server: Address, batch: _Batch, replies: list[Any]) -> None:
        answers = await self._servers.send(server, batch.commands, is_atomic=self._is_atomic)
        for place, command, reply in zip(batch.places, batch.commands, answers, strict=True):
            replies[place] = await self._answer(command, reply)

    async def _answer(self, command: Command, reply: Any) -> Any:
        if not is_ask(reply):
            return reply
        if self._is_atomic:
            # ASKING does not hold for the commands of a transaction: it waits for the whole slot.
            return TryAgainError(str(reply))
        return (await self._servers.ask(reply, command))[0]
