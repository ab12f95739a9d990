"""API tokens in Redis, each under its folded name, so that no two have one name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from service.articles.json_text import decode_stored
from service.articles.times import to_rfc3339
from service.logs import Throttle
from service.storage import keys
from service.storage.client import Script, lua_script, wrong_type_as_unavailable
from service.storage.commands import Client
from service.storage.stored import typed
from service.tokens.token import Token

logger = logging.getLogger(__name__)

_NOTE_USED = """
-- KEYS 1 tokens 2 times of last use  ARGV pairs: field, RFC 3339. Skips tokens that were revoked.
for i = 1, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  end
end
return 1
"""


def _checked() -> AbstractContextManager[None]:
    return wrong_type_as_unavailable(keys.TOKENS, keys.TOKENS_USED)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownToken:
    """A token that was not revoked, and when it was used."""

    token: Token
    last_used: str
    """RFC 3339, up to a minute old; empty for never."""


class Tokens:
    """API tokens, and when each was last used."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._revoke: Script[int] = lua_script(client, "revoke_token")
        self._note_used: Script[int] = Script(client, _NOTE_USED)
        self._throttle = Throttle()

    async def add(self, token: Token) -> bool:
        """Keep a token; False if another one has its name.

        A call that is sent again after a lost reply finds its own token: that is no other one.
        """
        row = orjson.dumps(token.to_json())
        with _checked():
            if await self._client.hsetnx(keys.TOKENS, token.key, row):
                return True
        stored = await self._get(token.key)
        return stored is not None and stored.id == token.id

    async def count(self) -> int:
        """How many are kept, first tokens that were revoked included."""
        with _checked():
            return await self._client.hlen(keys.TOKENS)

    async def all(self) -> list[KnownToken]:
        """Every token that was not revoked, oldest first; expired ones, too."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hgetall(keys.TOKENS)
        pipe.hgetall(keys.TOKENS_USED)
        with _checked():
            rows, used = await pipe.execute()
        known = [
            KnownToken(token=token, last_used=used.get(key, b"").decode("utf-8", "replace"))
            for key, row in rows.items()
            if (token := self._read(key, row)) and not token.revoked
        ]
        return sorted(known, key=lambda each: (each.token.created, each.token.key))

    async def was_revoked(self, first: Token) -> bool:
        """Whether a first token was registered and revoked before."""
        stored = await self._get(first.key)
        return stored is not None and bool(stored.revoked)

    async def revoke(self, token: Token, *, now: datetime, keep_admin: bool) -> bool:
        """Revoke a token; False if it is the last admin token and one must be kept."""
        tombstone = b""
        if token.is_first:
            tombstone = orjson.dumps(replace(token, revoked=to_rfc3339(now)).to_json())
        with _checked():
            reply = await self._revoke(
                keys=[keys.TOKENS, keys.TOKENS_USED],
                args=[token.key, token.id, int(keep_admin), to_rfc3339(now), tombstone],
            )
        return bool(reply)

    async def note_used(self, moments: Mapping[str, datetime]) -> None:
        """Keep when tokens were last used, by their `key`."""
        args = [text for key, used in moments.items() for text in (key, to_rfc3339(used))]
        with _checked():
            await self._note_used(keys=[keys.TOKENS, keys.TOKENS_USED], args=args)

    async def _get(self, key: str) -> Token | None:
        with _checked():
            row = await self._client.hget(keys.TOKENS, key)
        return None if row is None else self._read(key.encode(), row)

    def _read(self, key: bytes, row: bytes) -> Token | None:
        """A stored token; None for what cannot be read: one row must not shut everybody out."""
        try:
            return typed(Token.from_json(decode_stored(row)))
        except (ValueError, TypeError, KeyError):
            if self._throttle.is_due():
                logger.warning(
                    "a stored token cannot be read", extra={"key": key.decode("utf-8", "replace")}
                )
            return None
