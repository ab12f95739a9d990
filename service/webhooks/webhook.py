"""Webhooks as their owners set them up: which events, where to, in which format. Pure.

Signatures are in `signing`, bodies in `payloads`, what answers mean in `retry`. A webhook is an
endpoint with a position in the event stream: everything is sent to it in order, one
request at a time, and the position moves only when the request before it is settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import orjson

from service.articles import categories, times
from service.articles.event import EVENT_TYPES, Event
from service.articles.json_text import decode_stored
from service.errors import InvalidInput, refuse_unknown_fields
from service.feeds.query import Query, parse_query
from service.http import checked_headers, checked_url
from service.webhooks import payloads, signing
from service.webhooks.payloads import Payload
from service.webhooks.selection import ALL_EVENTS, Selection
from service.webhooks.signing import Key

BLOCK, SKIP = ON_FAILURE = ("block", "skip")
# The one in use included: a webhook may be rotated again before the last overlap ended.
MAX_KEYS = 3
DEFAULT_OVERLAP_S = 86_400.0
MAX_OVERLAP_S = 30 * 86_400.0
MAX_BATCH = 1_000
MAX_LINGER_MS = 60_000
MIN_BYTES, MAX_BYTES, DEFAULT_BYTES = 1_000, 5_000_000, 256_000
MAX_RATE = 1_000.0
# Headers that dateline sets itself.
_OUR_HEADERS = (
    "content-type", "user-agent", "webhook-id", "webhook-timestamp", "webhook-signature",
)  # fmt: skip
_CHANGEABLE = (
    "url", "categories", "types", "query", "view", "payload", "format", "batch", "linger_ms",
    "max_bytes", "headers", "rate_per_s", "on_failure", "paused",
)  # fmt: skip
_CHOSEN = ("categories", "types", "query", "view")
_FIELDS = (*_CHANGEABLE, "signature", "secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """The settings of one webhook."""

    id: str
    url: str
    keys: tuple[Key, ...]
    """The keys that sign, newest first."""
    selection: Selection = ALL_EVENTS
    payload: str = payloads.FULL
    format: str = payloads.STANDARD
    batch: int = 1
    """Most events in a request; if it is over 1, even one event is sent as a list."""
    linger_ms: int = 0
    """How long a batch that is not full waits for more events."""
    max_bytes: int = DEFAULT_BYTES
    """Largest batch; an event that is larger is sent alone."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with each request; they may contain secrets."""
    rate_per_s: float = 0
    """Most requests a second; 0 for no limit."""
    on_failure: str = BLOCK
    """block: nothing overtakes what fails; skip: after the whole schedule it becomes a dead letter
    and the next is sent."""
    paused: bool = False
    created: str = ""
    """Time of its creation, RFC 3339."""

    def to_json(self) -> bytes:
        """Encode it for storage, with its secrets."""
        return orjson.dumps(self)

    @classmethod
    def from_json(cls, data: bytes) -> Webhook:
        """Decode what `to_json` of this version, or of one before November 2026, has stored."""
        fields = decode_stored(data)
        # Until November 2026 there was one secret.
        stored = fields.pop("keys", None) or [{"secret": fields.pop("secret")}]
        fields["keys"] = tuple(Key(**key) for key in stored)
        # At that time these two were not in a selection.
        chosen = fields.pop("selection", None) or {
            name: fields.pop(name) for name in ("categories", "types")
        }
        chosen = {name: tuple(v) if isinstance(v, list) else v for name, v in chosen.items()}
        return cls(**fields, selection=Selection(**chosen))

    def payload_for(self, waiting: Sequence[Event]) -> Payload:
        """Compose the next request of events that wait, oldest first."""
        if self.batch == 1:
            return payloads.single_payload(waiting[0], format=self.format, payload=self.payload)
        fitting = payloads.take_fitting(
            waiting, format=self.format, payload=self.payload, max_bytes=self.max_bytes
        )
        return payloads.batch_payload(
            fitting, format=self.format, payload=self.payload, endpoint_id=self.id
        )

    def test(self, message_id: str, *, time: str) -> Payload:
        """Compose a test message."""
        return payloads.test_payload(
            message_id, time=time, format=self.format, is_batch=self.batch > 1
        )

    def request_headers(self, payload: Payload, *, now: datetime) -> dict[str, str]:
        """Return all headers of a request except the User-Agent."""
        signed = signing.headers(
            self.keys, message_id=payload.id, attempted=now, payload=payload.body
        )
        return {**self.headers, "Content-Type": payload.content_type, **signed}

    def to_public(self) -> dict[str, Any]:
        """Show it without its secrets, which are shown once, when they are created."""
        return {
            "id": self.id,
            **{
                name: getattr(self.selection if name in _CHOSEN else self, name)
                for name in _CHANGEABLE
            },
            "headers": dict.fromkeys(self.headers, "***"),
            "signature": self.keys[0].version,
            "public_keys": [key.public for key in self.keys if key.public],
            "created": self.created,
        }

    def to_public_once(self) -> dict[str, Any]:
        """Show it with the secret that a receiver of v1 needs; v1a needs none."""
        key = self.keys[0]
        return {**self.to_public(), **({} if key.public else {"secret": key.secret})}

    def rotated(self, key: Key, *, overlap_s: float, now: datetime) -> Webhook:
        """Return it with a new key; the previous ones keep signing beside it for `overlap_s`."""
        end = now + timedelta(seconds=overlap_s)
        old = [each.ending(end) for each in self.keys if each.is_live(now)]
        return replace(self, keys=(key, *old)[:MAX_KEYS])


def make_webhook(fields: Mapping[str, object], *, webhook_id: str, created: datetime) -> Webhook:
    """Check what a client asks for; a key is created unless the client brings one.

    Raises:
        InvalidInput: naming the field.
    """
    refuse_unknown_fields(fields, _FIELDS)
    if "url" not in fields:
        raise InvalidInput("url", None, "must be an http:// or https:// URL")
    settings = {name: value for name, value in fields.items() if name in _CHANGEABLE}
    url = checked_url(settings["url"], instead="headers")
    key = _key(fields, "v1")
    bare = Webhook(id=webhook_id, url=url, keys=(key,), created=times.to_rfc3339(created))
    return change_webhook(bare, settings)


def change_webhook(webhook: Webhook, fields: Mapping[str, object]) -> Webhook:
    """Return the webhook with other settings; `null` resets one to its default.

    Raises:
        InvalidInput: naming the field.
    """
    refuse_unknown_fields(fields, _CHANGEABLE)
    changed: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    for name, value in fields.items():
        is_reset = value is None and name in _DEFAULTS
        checked = _DEFAULTS[name] if is_reset else _CHECKS[name](name, value)
        (chosen if name in _CHOSEN else changed)[name] = checked
    selection = replace(webhook.selection, **chosen)
    return replace(webhook, selection=selection, **changed)


def rotate_webhook(webhook: Webhook, fields: Mapping[str, object], *, now: datetime) -> Webhook:
    """Return the webhook with a new key, of the same version unless a client asks for another.

    Raises:
        InvalidInput: naming the field.
    """
    refuse_unknown_fields(fields, ("signature", "secret", "overlap_s"))
    value = fields.get("overlap_s")
    overlap_s = (
        DEFAULT_OVERLAP_S if value is None else _number("overlap_s", value, 0, MAX_OVERLAP_S)
    )
    key = _key(fields, webhook.keys[0].version)
    return webhook.rotated(key, overlap_s=overlap_s, now=now)


def _key(fields: Mapping[str, object], version: str) -> Key:
    version = str(fields.get("signature") or version)
    secret = fields.get("secret")
    if secret is None or secret == "":
        return signing.new_key(version)
    if version != "v1":
        raise InvalidInput("secret", "***", "only v1 signs with a secret that both sides know")
    return signing.given_key(secret)


def _url(name: str, value: object) -> str:
    return checked_url(value, field=name, instead="headers")


def _paths(name: str, value: object) -> tuple[str, ...]:
    spellings = _strings(name, value)
    if categories.ALL in spellings:
        return ()
    return tuple(sorted({categories.parse(spelling).path for spelling in spellings}))


def _types(name: str, value: object) -> tuple[str, ...]:
    return tuple(sorted({str(_one_of(EVENT_TYPES)(name, kind)) for kind in _strings(name, value)}))


def _query(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a query as feeds have it: lang=en&q=fog")
    query = parse_query(value.removeprefix("?"), zone=UTC)
    if query != Query(filter=query.filter):
        reason = "a webhook selects by what articles are: no since, until, limit, before, content"
        raise InvalidInput(name, value, reason)
    return str(query)


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a string")
    return value


def _headers(name: str, value: object) -> Mapping[str, str]:
    return checked_headers(value, ours=_OUR_HEADERS)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput(name, value, "must be true or false")
    return value


def _one_of(known: tuple[str, ...]) -> Any:
    def check(name: str, value: object) -> str:
        if value not in known:
            raise InvalidInput(name, value, f"must be one of {', '.join(known)}")
        return str(value)

    return check


def _whole(low: int, high: int) -> Any:
    def check(name: str, value: object) -> int:
        number = _number(name, value, low, high)
        if number != int(number):
            raise InvalidInput(name, value, "must be a whole number")
        return int(number)

    return check


def _number(name: str, value: object, low: float, high: float) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and low <= cast("float", value) <= high:
        return cast("float", value)
    raise InvalidInput(name, value, f"must be a number from {low:.0f} to {high:.0f}")


def _strings(name: str, value: object) -> list[str]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise InvalidInput(name, value, "must be a list of strings")
    return [str(each) for each in value]


_CHECKS: Mapping[str, Any] = {
    "url": _url,
    "categories": _paths,
    "types": _types,
    "query": _query,
    "view": _text,
    "payload": _one_of(payloads.PAYLOADS),
    "format": _one_of(payloads.FORMATS),
    "batch": _whole(1, MAX_BATCH),
    "linger_ms": _whole(0, MAX_LINGER_MS),
    "max_bytes": _whole(MIN_BYTES, MAX_BYTES),
    "headers": _headers,
    "rate_per_s": lambda name, value: _number(name, value, 0, MAX_RATE),
    "on_failure": _one_of(ON_FAILURE),
    "paused": _flag,
}
_DEFAULTS: Mapping[str, Any] = {
    "categories": (), "types": (), "query": "", "view": "", "payload": payloads.FULL,
    "format": payloads.STANDARD, "batch": 1, "linger_ms": 0, "max_bytes": DEFAULT_BYTES,
    "headers": {}, "rate_per_s": 0, "on_failure": BLOCK, "paused": False,
}  # fmt: skip
