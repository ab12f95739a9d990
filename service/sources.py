"""Sources: what is polled, and when next. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from service import articles as article_rules
from service import categories
from service.errors import InvalidInput
from service.settings import Settings

MAX_URL_CHARS = 2_000
_FIELDS = ("url", "category")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A feed or page that is polled."""

    id: str
    url: str
    category: str = ""
    """Category for its articles instead of those that they name; empty: theirs."""
    paused: bool = False
    created: str = ""
    """RFC 3339."""

    def shown(self) -> dict[str, Any]:
        """As API and CLI show it."""
        return {
            "id": self.id,
            "url": self.url,
            "category": self.category,
            "paused": self.paused,
            "created": self.created,
        }

    def with_paused(self, paused: bool) -> Source:
        """The same source, paused or not."""
        return replace(self, paused=paused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poll:
    """What the polls of a source left behind."""

    etag: str = ""
    """Validators of the last document that was taken in whole, byte-exact."""
    last_modified: str = ""
    failures: int = 0
    """In a row."""
    polled: str = ""
    """When, RFC 3339."""
    result: str = ""
    """In words."""
    due_ms: int = 0


def make(fields: Mapping[str, object], *, created: datetime) -> Source:
    """Check what a client asks for; the same URL always gives the same id.

    Raises:
        InvalidInput: naming the field.
    """
    for name in fields:
        if name not in _FIELDS:
            raise InvalidInput(name, fields[name], f"no such field; known: {', '.join(_FIELDS)}")
    url, category = fields.get("url"), fields.get("category") or ""
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise InvalidInput("url", url, "must be an http:// or https:// URL")
    url = url.partition("#")[0]
    if len(url) > MAX_URL_CHARS or "@" in url.split("/", 3)[2]:
        raise InvalidInput("url", url, f"no user name, and at most {MAX_URL_CHARS} characters")
    if not isinstance(category, str):
        raise InvalidInput("category", category, "must be a string")
    if category:
        categories.parse(category)
    return Source(
        id=f"src_{uuid.uuid5(article_rules.NAMESPACE, f'source:{url}').hex}",
        url=url,
        category=category,
        created=article_rules.to_rfc3339(created),
    )


def next_delay_s(
    *, failures: int, retry_after_s: float, settings: Settings, chance: float
) -> float:
    """Seconds until the next poll: the default after a success, doubled at each failure, never
    under what the server asks for, never given up.

    Args:
        failures: in a row; 0 after a success.
        retry_after_s: of a 429 or 503; 0 if not given.
        chance: from 0 to 1, evenly spread; the jitter of ± 10 %.
    """
    delay = min(settings.poll_default_s * 2.0 ** min(failures, 16), settings.poll_max_s)
    delay = max(delay, settings.poll_min_s, min(retry_after_s, settings.poll_max_s))
    return delay * (0.9 + 0.2 * chance)
