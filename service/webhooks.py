"""Webhooks: what is sent, and what an answer means. Pure; signatures are in `signing`.

Sources: Standard Webhooks 1.0.0 (headers, retries) and CloudEvents 1.0 (the names of
what happened). A webhook is an endpoint with a position in the event stream: everything is sent to
it in order, one request at a time, and a position moves only when the request before it is settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, cast

import orjson

from service import articles as article_rules
from service import categories, signing
from service.errors import InvalidInput
from service.retries import retry_after_s
from service.signing import Key

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
# With the one in use: rotated again before the last one's overlap ended.
MAX_KEYS = 3
DEFAULT_OVERLAP_S = 86_400.0
MAX_OVERLAP_S = 30 * 86_400.0
_FIELDS = ("url", "categories", "types", "signature", "secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An endpoint as its owner set it up."""

    id: str
    url: str
    keys: tuple[Key, ...]
    """What signs, the newest first."""
    categories: tuple[str, ...] = ()
    """Paths; an article matches if it is in one of them or below. Empty: everything."""
    types: tuple[str, ...] = ()
    """Event types; empty: all."""
    created: str = ""
    """RFC 3339."""

    def to_json(self) -> bytes:
        """As kept, with the secrets."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Webhook:
        """The inverse of `to_json`."""
        fields = orjson.loads(data)
        # Until November 2026 there was one secret.
        kept = fields.pop("keys", None) or [{"secret": fields.pop("secret")}]
        fields["keys"] = tuple(Key(**key) for key in kept)
        for name in ("categories", "types"):
            fields[name] = tuple(fields[name])
        return cls(**fields)

    def shown(self) -> dict[str, Any]:
        """As the API shows it: without its secrets, which are shown once, when they are made."""
        return {
            "id": self.id,
            "url": self.url,
            "categories": self.categories,
            "types": self.types,
            "signature": self.keys[0].version,
            "public_keys": [key.public for key in self.keys if key.public],
            "created": self.created,
        }

    def shown_once(self) -> dict[str, Any]:
        """The same with the secret that the receiver needs; of v1a it needs none."""
        key = self.keys[0]
        return {**self.shown(), **({} if key.public else {"secret": key.secret})}

    def rotated(self, key: Key, *, overlap_s: float, now: datetime) -> Webhook:
        """With a new key; those before go on signing beside it for `overlap_s`."""
        end = now + timedelta(seconds=overlap_s)
        old = [each.ending(end) for each in self.keys if each.is_live(now)]
        return replace(self, keys=(key, *old)[:MAX_KEYS])


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


def make(fields: Mapping[str, object], *, webhook_id: str, created: datetime) -> Webhook:
    """Check what a client asks for; its key is made here if the client brings none.

    Raises:
        InvalidInput: naming the field.
    """
    _check_names(fields, _FIELDS)
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
        keys=(_key(fields, "v1"),),
        categories=tuple(wanted),
        types=tuple(types),
        created=article_rules.to_rfc3339(created),
    )


def rotate(webhook: Webhook, fields: Mapping[str, object], *, now: datetime) -> Webhook:
    """The webhook with another key, of its own version unless a client asks for the other.

    Raises:
        InvalidInput: naming the field.
    """
    _check_names(fields, ("signature", "secret", "overlap_s"))
    overlap_s = _overlap_s(fields.get("overlap_s", DEFAULT_OVERLAP_S))
    key = _key(fields, webhook.keys[0].version)
    return webhook.rotated(key, overlap_s=overlap_s, now=now)


def _overlap_s(value: object) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and 0 <= cast("float", value) <= MAX_OVERLAP_S:
        return cast("float", value)
    reason = f"must be seconds from 0 to {MAX_OVERLAP_S:.0f}"
    raise InvalidInput("overlap_s", value, reason)


def _key(fields: Mapping[str, object], version: str) -> Key:
    version = str(fields.get("signature") or version)
    secret = fields.get("secret")
    if secret is None or secret == "":
        return signing.new_key(version)
    if version != "v1":
        raise InvalidInput("secret", "***", "only v1 signs with a secret that both sides know")
    return signing.given_key(secret)


def _check_names(fields: Mapping[str, object], known: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            raise InvalidInput(name, fields[name], f"no such field; known: {', '.join(known)}")


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
