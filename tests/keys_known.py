"""Which keys a test may leave behind: those that `service/storage/keys.py` describes, and of those
with a TTL none without."""

from __future__ import annotations

import inspect
import os
import re
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
        if function is not keys.shard_of:
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
    found = []
    async for key in client.scan_iter():
        name = key.decode()
        ttl = [has for pattern, has in KNOWN.items() if re.fullmatch(pattern, name)]
        if not ttl or (all(ttl) and await client.ttl(name) == -1):
            found.append(name)
    return found
