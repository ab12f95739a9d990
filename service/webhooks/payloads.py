"""What webhooks are sent: events in the form that each endpoint asked for. Pure.

    standard-webhooks   {"type", "timestamp", "data"}; of a batch, type BATCH_TYPE and in data a
                        list of {"id", "type", "timestamp", "data"}
    cloudevents         CloudEvents 1.0, structured; of a batch, the JSON Batch Format
    data                full: the article; summary: without its text; id: id, url, revision, status

Endpoints are many and events are few: each form of an event is made once, whoever is sent it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from service.articles import categories
from service.articles.article import Article

STANDARD, CLOUDEVENTS = FORMATS = ("standard-webhooks", "cloudevents")
FULL, SUMMARY, ID = PAYLOADS = ("full", "summary", "id")
BATCH_TYPE = "dateline.batch.v1"
TEST_TYPE = "dateline.webhook.test.v1"
JSON = "application/json"
_EVENT, _EVENTS = "application/cloudevents+json", "application/cloudevents-batch+json"
_LAST_OF_MS = 2**64 - 1
# Of the ids of batches: the same endpoint and the same events give the same id.
_BATCHES = uuid.UUID("6f5e1f0e-6a3c-5c5b-9a55-0d2b7f3f7d11")


@dataclass(frozen=True, slots=True)
class Parcel:
    """The body of one request."""

    id: str
    """Of the event, of the batch, or of the test: the same at each attempt."""
    type: str
    content_type: str
    body: bytes
    messages: Sequence[Message] = ()


class Message:
    """An event, read once and written once for each form of it."""

    def __init__(
        self, *, entry_id: str, shard: int, id: str, type: str, subject: str, time: str, data: bytes
    ) -> None:
        self.entry_id = entry_id
        self.position = position(entry_id)
        self.shard = shard
        self.id = id
        self.type = type
        self.subject = subject
        self.time = time
        self.data = data
        self._forms: dict[tuple[str, str, bool], bytes] = {}

    @cached_property
    def article(self) -> Article | None:
        """None for what somebody else put on the stream and nobody can read."""
        try:
            return Article.from_json(self.data) if self.type else None
        except (ValueError, KeyError, TypeError):
            return None

    @cached_property
    def places(self) -> frozenset[str]:
        """The article's categories and those above them."""
        found = self.article.categories if self.article else ()
        return frozenset(categories.with_ancestors(found))

    def form(self, format: str, payload: str, *, is_one_of_many: bool) -> bytes:
        """The event as an endpoint wants it."""
        key = (format, payload, is_one_of_many)
        made = self._forms.get(key)
        if made is None:
            data = orjson.Fragment(_PAYLOADS[payload](self))
            made = self._forms[key] = orjson.dumps(_wrapped(self, data, format, is_one_of_many))
        return made


def _wrapped(message: Message, data: object, format: str, is_one_of_many: bool) -> dict[str, Any]:
    if format == CLOUDEVENTS:
        return {
            "specversion": "1.0",
            "id": message.id,
            "source": "/articles",
            "type": message.type,
            "subject": message.subject,
            "time": message.time,
            "datacontenttype": JSON,
            "data": data,
        }
    found = {"type": message.type, "timestamp": message.time, "data": data}
    return {"id": message.id, **found} if is_one_of_many else found


def _summary(message: Message) -> bytes:
    fields = orjson.loads(message.data)
    fields.pop("content_html", None)
    return orjson.dumps(fields)


def _id(message: Message) -> bytes:
    fields = orjson.loads(message.data)
    return orjson.dumps({name: fields.get(name) for name in ("id", "url", "revision", "status")})


_PAYLOADS: dict[str, Callable[[Message], bytes]] = {
    FULL: lambda message: message.data,
    SUMMARY: _summary,
    ID: _id,
}


def position(entry_id: str) -> tuple[int, int]:
    """A stream entry's id as numbers, for ordering."""
    ms, _, sequence = entry_id.partition("-")
    return int(ms), int(sequence)


def before(entry_id: str) -> str:
    """The greatest id that is smaller; `0-0`, which no entry has, if there is none."""
    ms, sequence = position(entry_id)
    if (ms, sequence) <= (0, 1):
        return "0-0"
    return f"{ms}-{sequence - 1}" if sequence else f"{ms - 1}-{_LAST_OF_MS}"


def fitting(
    messages: Sequence[Message], *, format: str, payload: str, max_bytes: int
) -> Sequence[Message]:
    """The first of them that fit into `max_bytes` together; one at least."""
    total = 0
    for count, message in enumerate(messages):
        total += len(message.form(format, payload, is_one_of_many=True)) + 1
        if count and total > max_bytes:
            return messages[:count]
    return messages


def single(message: Message, *, format: str, payload: str) -> Parcel:
    """One event in one request."""
    return Parcel(
        id=message.id,
        type=message.type,
        content_type=_EVENT if format == CLOUDEVENTS else JSON,
        body=message.form(format, payload, is_one_of_many=False),
        messages=(message,),
    )


def batch(messages: Sequence[Message], *, format: str, payload: str, endpoint_id: str) -> Parcel:
    """Some events in one request; a list even if there is one."""
    first, last = messages[0], messages[-1]
    forms = [message.form(format, payload, is_one_of_many=True) for message in messages]
    body = b"[" + b",".join(forms) + b"]"
    if format == STANDARD:
        fields = {"type": BATCH_TYPE, "timestamp": last.time, "data": orjson.Fragment(body)}
        body = orjson.dumps(fields)
    name = f"{endpoint_id} {first.shard} {first.entry_id} {last.entry_id}"
    return Parcel(
        id=str(uuid.uuid5(_BATCHES, name)),
        type=BATCH_TYPE,
        content_type=_EVENTS if format == CLOUDEVENTS else JSON,
        body=body,
        messages=messages,
    )


def test(message_id: str, *, time: str, format: str, is_batch: bool) -> Parcel:
    """What `webhooks test` sends: an event of its own type, in the endpoint's form."""
    message = Message(
        entry_id="0-0", shard=0, id=message_id, type=TEST_TYPE, subject="test", time=time,
        data=b'{"test":true}',
    )  # fmt: skip
    parcel = (
        batch([message], format=format, payload=FULL, endpoint_id=message_id)
        if is_batch
        else single(message, format=format, payload=FULL)
    )
    return Parcel(message_id, TEST_TYPE, parcel.content_type, parcel.body)
