"""Webhooks: what is sent, how it is signed, and what an answer means. Pure.

Sources: Standard Webhooks 1.0.0 (headers, signature, retries) and CloudEvents 1.0 (the names of
what happened). A webhook is an endpoint with a position in the event stream: everything is sent to
it in order, one request at a time, and a position moves only when the request before it is settled.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import orjson

from service import articles as article_rules
from service import categories
from service.errors import InvalidInput
from service.retries import retry_after_s

SECRET_PREFIX = "whsec_"  # noqa: S105 -- what secrets start with, not one
SECRET_BYTES = 32
TYPES = (
    "dateline.article.published.v1",
    "dateline.article.updated.v1",
    "dateline.article.withdrawn.v1",
)
TEST_TYPE = "dateline.webhook.test.v1"
# ± this part of a delay, so that endpoints that failed together do not come back together.
JITTER = 0.2
# A receiver may stretch our delay up to twice (Svix does the same), never stop us for ever.
MAX_STRETCH = 2.0
MAX_URL_CHARS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint as its owner set it up."""

    id: str
    url: str
    secret: str
    """`whsec_` and base64 of SECRET_BYTES random bytes."""
    categories: tuple[str, ...] = ()
    """Paths; an article matches if it is in one of them or below. Empty: everything."""
    types: tuple[str, ...] = ()
    """Event types; empty: all."""
    created: str = ""
    """RFC 3339."""

    def to_json(self) -> bytes:
        """As kept, with the secret."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Webhook:
        """The inverse of `to_json`."""
        fields = orjson.loads(data)
        for name in ("categories", "types"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def shown(self) -> dict[str, Any]:
        """As the API shows it: without the secret, which is shown once, when it is made."""
        return {
            "id": self.id,
            "url": self.url,
            "categories": self.categories,
            "types": self.types,
            "created": self.created,
        }


class Verdict(Enum):
    """What an answer means for the endpoint."""

    DELIVERED = "delivered"
    RETRY = "retry"
    GONE = "gone"
    """410: the receiver wants no more; disabled at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back from one attempt."""

    status: int
    """HTTP status; 0 if there was no answer."""
    error: str = ""
    """Why there was none."""
    retry_after: str = ""
    """The header, as it stood there."""
    duration_ms: int = 0


def new_secret() -> str:
    """A fresh signing secret."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def make(
    fields: Mapping[str, object], *, webhook_id: str, secret: str, created: datetime
) -> Webhook:
    """Check what a client asks for.

    Raises:
        InvalidInput: naming the field.
    """
    unknown = fields.keys() - {"url", "categories", "types"}
    if unknown:
        name = min(unknown)
        raise InvalidInput(name, fields[name], "no such field; known: url, categories, types")
    url = fields.get("url")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise InvalidInput("url", url, "must be an http:// or https:// URL")
    if len(url) > MAX_URL_CHARS or "@" in url.split("/", 3)[2]:
        raise InvalidInput("url", url, f"no user name, and at most {MAX_URL_CHARS} characters")
    wanted = [categories.parse(spelling).path for spelling in _strings(fields, "categories")]
    types = _strings(fields, "types")
    for kind in types:
        if kind not in TYPES:
            raise InvalidInput("types", kind, f"must be one of {', '.join(TYPES)}")
    return Webhook(
        id=webhook_id,
        url=url,
        secret=secret,
        categories=tuple(wanted),
        types=tuple(types),
        created=article_rules.to_rfc3339(created),
    )


def _strings(fields: Mapping[str, object], name: str) -> list[str]:
    values = fields.get(name) or []
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, str) for v in values):
        raise InvalidInput(name, values, "must be a list of strings")
    return [str(value) for value in values]


def matches(webhook: Webhook, *, event_type: str, paths: Sequence[str]) -> bool:
    """Whether an event of this type on an article in these categories goes to the webhook."""
    if webhook.types and event_type not in webhook.types:
        return False
    if not webhook.categories:
        return True
    return any(is_within(wanted, paths) for wanted in webhook.categories)


def is_within(wanted: str, paths: Sequence[str]) -> bool:
    """Whether one of the category paths is the wanted one or below it."""
    return any(path == wanted or path.startswith(f"{wanted}/") for path in paths)


def body(*, event_type: str, time: str, data: bytes) -> bytes:
    """The payload: `{"type", "timestamp", "data"}`, `data` being JSON already."""
    return orjson.dumps({"type": event_type, "timestamp": time, "data": orjson.Fragment(data)})


def headers(secret: str, *, message_id: str, attempted: datetime, payload: bytes) -> dict[str, str]:
    """Headers of one attempt; the timestamp is the attempt's, the id stays over all attempts."""
    timestamp = str(article_rules.to_ms(attempted) // 1000)
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": sign(
            secret, message_id=message_id, timestamp=timestamp, payload=payload
        ),
    }


def sign(secret: str, *, message_id: str, timestamp: str, payload: bytes) -> str:
    """`v1,` and base64 of HMAC-SHA256 over `{id}.{timestamp}.{body}`."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{timestamp}.".encode() + payload
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def judge(answer: Answer) -> Verdict:
    """2xx alone is success; redirects are failures and never followed; 410 is final."""
    if 200 <= answer.status < 300:
        return Verdict.DELIVERED
    return Verdict.GONE if answer.status == 410 else Verdict.RETRY


def retry_delay_s(
    attempt: int,
    *,
    schedule_s: Sequence[float],
    retry_after: str,
    now: datetime,
    chance: float,
) -> float:
    """Seconds until the next attempt.

    Args:
        attempt: failed attempts so far, from 1. Past the end of the schedule its last step repeats:
            giving up is decided by time, not by count.
        schedule_s: delay after the first, second, … failure.
        retry_after: the receiver's header; waits longer than ours, up to MAX_STRETCH.
        chance: from 0 to 1, evenly spread; the jitter.
    """
    delay = schedule_s[min(attempt, len(schedule_s)) - 1]
    asked = retry_after_s(retry_after, now)
    if asked is not None:
        delay = min(max(delay, asked), delay * MAX_STRETCH)
    return delay * (1 - JITTER + 2 * JITTER * chance)
