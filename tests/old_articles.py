"""Articles as versions before December 2026 stored them: hashes, with heads in JSON."""

from __future__ import annotations

from typing import Any

from service.storage import keys
from service.storage.client import Script, lua_text

_AS_HASH = """
-- KEYS 1 article. Returns 1; 0 if it is a hash already.
if redis.call('TYPE', KEYS[1]).ok == 'hash' then return 0 end
local head, _, stored = read_head(KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'doc', stored.doc, 'head', cjson.encode(head))
if stored.idx then redis.call('HSET', KEYS[1], 'idx', stored.idx) end
return 1
"""


async def as_hash(client: Any, name: str) -> dict[bytes, bytes]:
    """Store the article under this key as a hash; its fields."""
    script: Script[int] = Script(client, lua_text("article", "head") + _AS_HASH)
    await script(keys=[name])
    fields: dict[bytes, bytes] = await client.hgetall(name)
    return fields


async def all_as_hashes(client: Any) -> None:
    """Store every article as a hash."""
    async for name in client.scan_iter(match=keys.article(0, "*").replace("{0}", "{*}"), count=500):
        await as_hash(client, name.decode())


async def field_of(client: Any, name: str, field: str) -> bytes:
    """A part of an article as it is stored, in whichever form; empty if it is missing."""
    script: Script[list[bytes | None]] = Script(client, lua_text("article", "read"))
    (value,) = await script(keys=[name], args=[field])
    return value or b""


async def put_field(client: Any, name: str, field: str, value: bytes) -> None:
    """Replace a part of an article, which is a hash from now on."""
    await as_hash(client, name)
    await client.hset(name, field, value)
