"""Bodies of webhook requests: events in the format that each webhook asked for. Pure.

    standard-webhooks   {"type", "timestamp", "data"}; of a batch, type BATCH_TYPE and in data a
                        list of {"id", "type", "timestamp", "data"}
    cloudevents         CloudEvents 1.0, structured; of a batch, the JSON Batch Format
    data                full: the article; summary: without its text; id: id, url, revision, status

Webhooks are many and events are few: each encoding of an event is made once for all webhooks.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from service.articles.event import JSON, Event

STANDARD, CLOUDEVENTS = FORMATS = ("standard-webhooks", "cloudevents")
FULL, SUMMARY, ID = PAYLOADS = ("full", "summary", "id")
BATCH_TYPE = "dateline.batch.v1"
TEST_TYPE = "dateline.webhook.test.v1"
_EVENT, _EVENTS = "application/cloudevents+json", "application/cloudevents-batch+json"
# Namespace of batch ids: the same webhook and the same events give the same id.
_BATCHES = uuid.UUID("6f5e1f0e-6a3c-5c5b-9a55-0d2b7f3f7d11")


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of one request."""

    id: str
    """Id of the event, the batch, or the test: the same at each attempt."""
    type: str
    content_type: str
    body: bytes
    events: Sequence[Event] = ()


def _encoded(event: Event, format: str, payload: str, *, is_one_of_many: bool) -> bytes:
    """Encode an event once for all webhooks with these settings."""
    key = (format, payload, is_one_of_many)
    encoded = event.payloads.get(key)
    if encoded is None:
        data = orjson.Fragment(_PAYLOADS[payload](event))
        encoded = orjson.dumps(_wrapped(event, data, format, is_one_of_many))
        event.payloads[key] = encoded
    return encoded


def _wrapped(event: Event, data: object, format: str, is_one_of_many: bool) -> dict[str, Any]:
    if format == CLOUDEVENTS:
        return {**event.envelope(), "data": data}
    message = {"type": event.type, "timestamp": event.time, "data": data}
    return {"id": event.id, **message} if is_one_of_many else message


def _summary(event: Event) -> bytes:
    fields = orjson.loads(event.data)
    fields.pop("content_html", None)
    return orjson.dumps(fields)


def _id(event: Event) -> bytes:
    fields = orjson.loads(event.data)
    return orjson.dumps({name: fields.get(name) for name in ("id", "url", "revision", "status")})


_PAYLOADS: dict[str, Callable[[Event], bytes]] = {
    FULL: lambda event: event.data,
    SUMMARY: _summary,
    ID: _id,
}


def take_fitting(
    events: Sequence[Event], *, format: str, payload: str, max_bytes: int
) -> Sequence[Event]:
    """Return the first events that fit into `max_bytes` together; at least one."""
    total = 0
    for count, event in enumerate(events):
        total += len(_encoded(event, format, payload, is_one_of_many=True)) + 1
        if count and total > max_bytes:
            return events[:count]
    return events


def single_payload(event: Event, *, format: str, payload: str) -> Payload:
    """Compose a request with one event."""
    return Payload(
        id=event.id,
        type=event.type,
        content_type=_EVENT if format == CLOUDEVENTS else JSON,
        body=_encoded(event, format, payload, is_one_of_many=False),
        events=(event,),
    )


def batch_payload(
    events: Sequence[Event], *, format: str, payload: str, endpoint_id: str
) -> Payload:
    """Compose a request with a list of events, even if there is only one."""
    first, last = events[0], events[-1]
    items = [_encoded(event, format, payload, is_one_of_many=True) for event in events]
    body = b"[" + b",".join(items) + b"]"
    if format == STANDARD:
        fields = {"type": BATCH_TYPE, "timestamp": last.time, "data": orjson.Fragment(body)}
        body = orjson.dumps(fields)
    name = f"{endpoint_id} {first.shard} {first.entry_id} {last.entry_id}"
    return Payload(
        id=str(uuid.uuid5(_BATCHES, name)),
        type=BATCH_TYPE,
        content_type=_EVENTS if format == CLOUDEVENTS else JSON,
        body=body,
        events=events,
    )


def test_payload(message_id: str, *, time: str, format: str, is_batch: bool) -> Payload:
    """Compose what `webhooks test` sends: an event of type TEST_TYPE, in the webhook's format."""
    event = Event(
        entry_id="0-0", shard=0, id=message_id, type=TEST_TYPE, subject="test", time=time,
        data=b'{"test":true}',
    )  # fmt: skip
    payload = (
        batch_payload([event], format=format, payload=FULL, endpoint_id=message_id)
        if is_batch
        else single_payload(event, format=format, payload=FULL)
    )
    return Payload(message_id, TEST_TYPE, payload.content_type, payload.body)
