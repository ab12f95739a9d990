"""Claims: which worker polls which source when, over all workers.

Each due source goes to one worker, with at most AT_ONCE requests at a time to one host and a delay
between them (claim.lua); finish.lua stores what a poll left. Both hold because all sources of a
host are in one shard. The cost of a call depends on the number of due sources, not on the number of
all sources; and of many shards only those are asked that may have any.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import orjson

from service.sources.schedule import Poll
from service.sources.source import Source
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Value
from service.storage.shards import Shards
from service.storage.source_moves import SourceMoves
from service.storage.source_rows import is_elsewhere, to_poll, to_source
from service.storage.source_urls import SourceUrls
from service.storage.stored import decoded

# Concurrent requests to a host (RFC 9112 9.4 gives no number; browsers use 6, good pollers 2).
AT_ONCE = 2
# A shard without due sources is asked again after this time: others may have added some.
ASK_AGAIN_S = 0.25
# Where the limit was cut into parts, the shards that have more get the rest.
ROUNDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A source that only the claiming worker polls until the claim lapses."""

    source: Source
    poll: Poll
    shard: int
    lapse_ms: int
    stored: bytes
    """The source as it was stored at the claim."""
    server_run: bytes
    """Which run of which Redis server the claim was made in."""
    known: bytes = b""
    """What is remembered of the entries of its last document (`known_entries`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The result of a claim."""

    claim: Claim
    poll: Poll
    due_ms: int | None
    """None: the source is no longer polled."""
    source: Source | None = None
    """The changed source; None if it did not change."""
    spare_ms: int = 0
    """Until when no request goes to its host; 0 if requests are allowed."""
    known: bytes = b""
    """What is remembered of the entries of this document; empty if that of before stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """A process that claims sources."""

    ordinal: int
    """WORKER_ORDINAL: the next process with this number takes over from it."""
    token: str
    """Unique to the process; without spaces."""

    def __str__(self) -> str:
        return f"{self.ordinal}:{self.token}"


@dataclass(slots=True)
class _Shard:
    """What this process knows of a shard since it asked it."""

    server_run: bytes = b""
    next_ms: int | None = None
    """When its next source is due."""
    asked: float | None = None
    """Monotonic; None if it is to be asked."""

    def may_have_due(self, now_ms: int) -> bool:
        """Whether a source of it may be due."""
        if self.asked is None or self.asked + ASK_AGAIN_S <= time.monotonic():
            return True
        return self.has_due(now_ms)

    def has_due(self, now_ms: int) -> bool:
        """Whether a source of it was still due when it was asked."""
        return self.next_ms is not None and self.next_ms <= now_ms


@dataclass(slots=True, kw_only=True)
class _Call:
    """One call that claims sources."""

    claimant: Claimant
    now_ms: int
    lapse_ms: int
    spacing_ms: int
    claims: dict[bytes, Claim] = field(default_factory=dict)
    """By id; those of a shard are answered again if it is asked again."""
    counts: dict[int, int] = field(default_factory=dict)
    """Shard → how many of its sources were claimed, also of those that cannot be polled."""
    misplaced: dict[int, list[bytes]] = field(default_factory=dict)
    """Shard → ids of sources that were claimed there and belong elsewhere."""


class Claims:
    """The claims of all workers, made by this process."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._shards = shards
        self._moves = SourceMoves(client, shards=shards)
        self._urls = SourceUrls(client, shards=shards)
        self._states = {shard: _Shard() for shard in shards}
        self._first = 0
        """Index of the shard that has its turn first."""
        self._lapse_ms = 0
        """Of the last call."""
        self._claim: Script[list[bytes]] = lua_script(client, "host", "server", "claim")
        self._finish: Script[int] = lua_script(client, "host", "server", "finish")
        self._turn: Script[int] = lua_script(client, "host", "turn")
        self._release: Script[int] = lua_script(client, "host", "release")

    async def claim(
        self, *, claimant: Claimant, now_ms: int, limit: int, lapse_ms: int, spacing_ms: int
    ) -> tuple[list[Claim], int | None]:
        """Claim due sources for this caller only; call `finish` with each of them.

        Args:
            claimant: the caller.
            lapse_ms: when an unfinished claim is due again, in ms since the epoch; different in
                each call. A call without an answer may have claimed sources: the next one with the
                same `lapse_ms` returns these, too.
            spacing_ms: time between the starts of two requests to one host.

        Returns:
            The claims, and when the next source is due in ms since the epoch (None without one).
        """
        await self._moves.complete_own()
        call = _Call(claimant=claimant, now_ms=now_ms, lapse_ms=lapse_ms, spacing_ms=spacing_ms)
        may_have_due = [s for s in self._in_turn() if self._states[s].may_have_due(now_ms)]
        # Any shard may have claims of a call without an answer.
        is_repeated = lapse_ms == self._lapse_ms
        asked = self._in_turn() if is_repeated or not may_have_due else may_have_due
        self._first, self._lapse_ms = self._first + 1, lapse_ms
        for _ in range(ROUNDS):
            await self._ask(call, asked, limit - sum(call.counts.values()))
            asked = [shard for shard in asked if self._states[shard].has_due(now_ms)]
            if not asked or sum(call.counts.values()) >= limit:
                break
        dues = [state.next_ms for state in self._states.values() if state.next_ms is not None]
        if await self._move(call):
            dues.append(now_ms)
        return list(call.claims.values()), min(dues, default=None)

    def _in_turn(self) -> list[int]:
        tags = self._shards.tags
        first = self._first % len(tags)
        return [*tags[first:], *tags[:first]]

    async def _ask(self, call: _Call, shards: Sequence[int], limit: int) -> None:
        """Claim so many sources of these shards in all, of each an equal part."""
        part, rest = divmod(max(limit, 0), len(shards))
        calls: list[tuple[Sequence[str], Sequence[Value]]] = []
        for place, shard in enumerate(shards):
            # What an answer names again counts, too.
            most = part + (place < rest) + call.counts.get(shard, 0)
            calls.append(
                (
                    _keys(shard),
                    [call.now_ms, most, call.lapse_ms, call.spacing_ms, AT_ONCE,
                     str(call.claimant)],
                )
            )  # fmt: skip
        for shard in shards:
            self._states[shard].asked = None
        answers = await self._claim.run_all(calls)
        for shard, answer in zip(shards, answers, strict=True):
            await self._note(call, shard, answer)

    async def _note(self, call: _Call, shard: int, answer: Sequence[bytes]) -> None:
        next_ms, server_run, *flat = answer
        state = self._states[shard]
        if state.server_run not in (b"", server_run):
            # It may have kept a claim and lost its end, for which nobody would come back; what is
            # still at work is not stored anyway (finish.lua).
            names = f"{call.claimant.ordinal}:"
            await self._release(keys=_keys(shard), args=[call.now_ms, names, call.lapse_ms])
        state.server_run = server_run
        state.next_ms = int(float(next_ms)) if next_ms else None
        state.asked = time.monotonic()
        call.counts[shard] = len(flat) // 4
        call.misplaced[shard] = []
        for name, stored, poll, known in zip(
            flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True
        ):
            if name.isascii() and is_elsewhere(self._shards, shard, stored):
                call.misplaced[shard].append(name)
                continue
            source = decoded(to_source, stored, what=f"source {name!r}")
            # A poll that cannot be decoded is replaced; a source that cannot be decoded is skipped.
            if source:
                call.claims[name] = Claim(
                    source=source,
                    poll=decoded(to_poll, poll, what=f"poll of {name!r}") or Poll(),
                    shard=shard,
                    lapse_ms=call.lapse_ms,
                    stored=stored,
                    server_run=server_run,
                    known=known,
                )

    async def _move(self, call: _Call) -> bool:
        """Send the claimed sources that belong elsewhere to the shard of their host, where they are
        due now; whether there were any."""
        misplaced = {shard: names for shard, names in call.misplaced.items() if names}
        for shard, names in misplaced.items():
            await self._moves.move(
                [name.decode() for name in names], shard=shard, due_ms=call.now_ms
            )
            self._forget(self._shards)
        return bool(misplaced)

    def _forget(self, shards: Iterable[int]) -> None:
        for shard in shards:
            self._states[shard].asked = None

    async def release(self, ordinal: int, *, now_ms: int) -> int:
        """Make the sources due that processes with this number have claimed and not finished,
        because they were killed; returns how many there are."""
        await self._moves.complete()
        counts = await self._release.run_all(
            [(_keys(shard), [now_ms, f"{ordinal}:", ""]) for shard in self._shards]
        )
        self._forget(self._shards)
        return sum(counts)

    async def complete_moves(self) -> None:
        """End the moves of sources that other processes began and were killed in."""
        await self._moves.complete()

    async def turn(self, host: str, *, now_ms: int, spacing_ms: int) -> int:
        """Take the next turn of a request to a host among the polls of all workers; in how many ms
        it is."""
        name = keys.sources_hosts(self._shards.of(host))
        return await self._turn(keys=[name], args=[now_ms, spacing_ms, host])

    async def end_turns(self, host: str, *, now_ms: int) -> None:
        """Forget the turns of a host that are over; one that has sources is left as it is."""
        name = keys.sources_hosts(self._shards.of(host))
        await self._turn(keys=[name], args=[now_ms, -1, host])

    async def finish(self, results: Sequence[Finished], *, now_ms: int) -> None:
        """Store the results of polls, except of sources that were removed, paused or claimed by
        another worker in the meantime. A source whose host changed stays in its shard until its
        next claim."""
        await self._urls.note(result.source for result in results if result.source)
        by_shard: dict[int, list[Finished]] = {}
        for result in results:
            by_shard.setdefault(result.claim.shard, []).append(result)
        await self._finish.run_all(
            [(_keys(shard), _arguments(each, now_ms)) for shard, each in by_shard.items()]
        )
        self._forget(by_shard)
        await self._urls.forget(
            each.claim.source
            for each in results
            if each.source and each.source.url != each.claim.source.url
        )


def _arguments(results: Sequence[Finished], now_ms: int) -> list[Value]:
    """What finish.lua is called with."""
    argv: list[Value] = [now_ms]
    for result in results:
        claim = result.claim
        argv += [
            claim.server_run,
            claim.source.id,
            claim.source.host,
            claim.lapse_ms,
            orjson.dumps(result.poll),
            "" if result.due_ms is None else result.due_ms,
            claim.stored,
            orjson.dumps(result.source) if result.source else "",
            result.spare_ms,
            result.known,
        ]
    return argv


def _keys(shard: int) -> list[str]:
    return [
        keys.sources_due(shard), keys.sources(shard), keys.sources_polls(shard),
        keys.sources_hosts(shard), keys.sources_claims(shard), keys.sources_known(shard),
    ]  # fmt: skip
