"""Which keys a test may leave behind: those that `service/storage/keys.py` describes, and of those
with a TTL none without."""

from __future__ import annotations

import inspect
import os
import re
from functools import lru_cache
from typing import Any

from service.storage import keys

_SHARD = "dateline:{0}:"


def known_keys() -> dict[str, bool]:
    """Pattern of the names of a key → whether it must have a TTL, read from keys.py."""
    known = {}
    source = inspect.getsource(keys)
    for comment, name in re.findall(r"((?:^#.*\n)+)([A-Z_]+) = \"dateline:", source, re.MULTILINE):
        known[re.escape(getattr(keys, name))] = "TTL" in comment
    for _, function in inspect.getmembers(keys, inspect.isfunction):
        known[_pattern(function)] = "TTL" in (function.__doc__ or "")
    return known


def _pattern(function: Any) -> str:
    parameters = inspect.signature(function, eval_str=True).parameters
    names = [
        function(**{n: 0 if n == "n" else kind(sample) for n, kind in _kinds(parameters)})
        for sample in ("0", "65535")
    ]
    prefix = re.escape(os.path.commonprefix(names))  # noqa: RUF071 -- names of keys
    if "n" in parameters:
        prefix = prefix.replace(re.escape(_SHARD), r"dateline:\{\d+\}:", 1)
    return prefix if names[0] == names[1] else f"{prefix}.*"


def _kinds(parameters: Any) -> list[tuple[str, Any]]:
    return [(name, parameter.annotation) for name, parameter in parameters.items()]


KNOWN = known_keys()


async def unknown_keys(client: Any) -> list[str]:
    """Keys that nobody declared, or that live longer than declared."""
    names = [key.decode() async for key in client.scan_iter(count=1_000)]
    wrong = [name for name in names if not _declared(name)]
    expiring = [name for name in names if _declared(name) and all(_declared(name))]
    pipe = client.pipeline(transaction=False)
    for name in expiring:
        pipe.ttl(name)
    lives_s = await pipe.execute() if expiring else []
    return wrong + [name for name, s in zip(expiring, lives_s, strict=True) if s == -1]


@lru_cache(10_000)
def _declared(name: str) -> tuple[bool, ...]:
    """Whether each declaration that fits the name of a key wants a TTL."""
    return tuple(has for pattern, has in KNOWN.items() if re.fullmatch(pattern, name))
