"""Which keys a test may leave behind: those of `service/storage/keys.py`, with its TTLs."""

from __future__ import annotations

import re
from typing import Any

# Pattern → whether the key must have a TTL.
KNOWN = {
    r"dateline:\{0\}:(layout|counters|endpoints|asked|subscriptions|pushes|private)": False,
    r"dateline:\{0\}:(probe|faults)": True,
    r"dateline:\{\d+\}:events:(dead|tries)": False,
    r"dateline:\{0\}:(operations|deliverers|endpoints:changes)": False,
    r"dateline:\{0\}:(subscribers|hub:(asked|host:.+))": False,
    r"dateline:\{0\}:views(:(changes|built))?": False,
    r"dateline:\{0\}:sources(:(due|polls|hosts))?": False,
    r"dateline:\{\d+\}:(events|trimmed|dirty|categories)": False,
    r"dateline:\{\d+\}:(article|category|versions|gone|aliases):.+": False,
    r"dateline:\{\d+\}:rendered:.+": True,
    r"dateline:\{0\}:(lease|bands):.+": True,
    r"dateline:\{0\}:(twins|urls):.+": False,
    r"dateline:\{0\}:(epoch|endpoint|attempts|dead|replays):.+": False,
}


async def unknown_keys(client: Any) -> list[str]:
    """Keys that keys.py does not declare, or that live longer than declared."""
    found = []
    async for key in client.scan_iter():
        name = key.decode()
        ttl = [has for pattern, has in KNOWN.items() if re.fullmatch(pattern, name)]
        if not ttl or (ttl[0] and await client.ttl(name) == -1):
            found.append(name)
    return found
