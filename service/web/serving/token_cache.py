"""The API tokens that a server process holds, so that a request needs no read of Redis.

They are loaded anew every REFRESH_S, and before an unknown token is refused, because it may have
just been made. So a token that was revoked elsewhere is refused after REFRESH_S and the time of one
load. While Redis is away, what was loaded last counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from service.articles.times import from_rfc3339
from service.errors import Unavailable
from service.feeds.private_feed import token_hash
from service.logs import Throttle
from service.process import sleep
from service.storage.client import redis_errors_as_unavailable
from service.storage.tokens import KnownToken, Tokens
from service.tokens.token import Token, settings_token

logger = logging.getLogger(__name__)

REFRESH_S = 2.0
# Pause between two loads for unknown tokens: a stranger who sends many causes four reads a second.
MIN_LOAD_S = 0.25
WAIT_S = 3.0
USED_EVERY = timedelta(minutes=1)


class TokenCache:
    """API tokens by the hash of their text.

    Args:
        settings_token: text of an admin token besides those in Redis; empty for none.
        now: the clock, for what expires.
    """

    def __init__(self, tokens: Tokens, *, settings_token: str, now: Callable[[], datetime]) -> None:
        self._tokens = tokens
        self._now = now
        self._fixed = _fixed(settings_token)
        self._by_hash: dict[str, Token] = dict(self._fixed)
        self._used: dict[str, datetime] = {}
        """Token key → its last use, of those used since the last load."""
        self._next_load: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the next load that begins succeeds."""
        self._wanted = asyncio.Event()
        self._closed = asyncio.Event()
        self._throttle = Throttle()

    def held(self, text: str) -> Token | None:
        """The token with this text if it was loaded already, also if it has expired."""
        return self._by_hash.get(token_hash(text))

    async def find(self, text: str) -> Token | None:
        """The token with this text, also if it has expired; None if it does not exist.

        The text itself is compared with nothing: what a look-up of its hash takes says nothing
        about the texts of others.

        Raises:
            Unavailable: it is not known here, and Redis cannot be read.
        """
        digest = token_hash(text)
        if digest not in self._by_hash:
            await self.load()
        return self._by_hash.get(digest)

    def note_use(self, token: Token) -> None:
        """Remember that a token was used; it is written to Redis within REFRESH_S."""
        if token.id:
            self._used[token.key] = self._now()

    async def load(self) -> None:
        """Wait for a load that begins after this call. Raises Unavailable if it fails."""
        self._wanted.set()
        is_loaded = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                is_loaded = await asyncio.shield(self._next_load)
        if not is_loaded:
            raise Unavailable("the tokens cannot be read now")

    async def run(self) -> None:
        """Load the tokens again and again, until `close`."""
        while not self._closed.is_set():
            self._wanted.clear()
            await self._load_once()
            await sleep(self._closed, MIN_LOAD_S)
            await sleep(self._wanted, REFRESH_S - MIN_LOAD_S)
        self._next_load.set_result(False)

    def close(self) -> None:
        """Have `run` return without another load."""
        self._closed.set()
        self._wanted.set()

    async def _load_once(self) -> None:
        loading, self._next_load = self._next_load, asyncio.get_running_loop().create_future()
        is_loaded = False
        try:
            with redis_errors_as_unavailable():
                known = await self._tokens.all()
                self._by_hash = {each.token.hash: each.token for each in known} | self._fixed
                is_loaded = True
                # Those who wait for the tokens do not wait for what is written.
                loading.set_result(True)
                await self._write_uses(known)
        except Unavailable as exc:
            if self._throttle.is_due():
                logger.warning("tokens were not loaded", extra={"reason": str(exc)})
        except Exception:  # The border: a bug here must not end the server.
            if self._throttle.is_due():
                logger.exception("tokens were not loaded")
        finally:
            if not is_loaded:
                loading.set_result(False)

    async def _write_uses(self, known: Sequence[KnownToken]) -> None:
        """Write the last uses of tokens whose last known use is a minute ago."""
        uses, self._used = self._used, {}
        last = {each.token.key: each.last_used for each in known}
        due = {key: used for key, used in uses.items() if _is_due(used, last.get(key, ""))}
        if due:
            await self._tokens.note_used(due)


def _fixed(text: str) -> dict[str, Token]:
    token = settings_token(text) if text else None
    return {token.hash: token} if token else {}


def _is_due(used: datetime, last: str) -> bool:
    try:
        # The clock may have jumped: what lies far ahead is replaced, too.
        return abs(used - from_rfc3339(last)) >= USED_EVERY
    except ValueError:
        return True  # Nothing is stored, or nothing that can be read.
