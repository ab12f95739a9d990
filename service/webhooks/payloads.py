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
from typing import Any

import orjson

from service.articles.event import JSON, Event

STANDARD, CLOUDEVENTS = FORMATS = ("standard-webhooks", "cloudevents")
FULL, SUMMARY, ID = PAYLOADS = ("full", "summary", "id")
BATCH_TYPE = "dateline.batch.v1"
TEST_TYPE = "dateline.webhook.test.v1"
_EVENT, _EVENTS = "application/cloudevents+json", "application/cloudevents-batch+json"
# Of the ids of batches: the same endpoint and the same events give the same id.
_BATCHES = uuid.UUID("6f5e1f0e-6a3c-5c5b-9a55-0d2b7f3f7d11")


@dataclass(frozen=True, slots=True)
class Payload:
    """The body of one request."""

    id: str
    """Of the event, of the batch, or of the test: the same at each attempt."""
    type: str
    content_type: str
    body: bytes
    events: Sequence[Event] = ()


def _written(event: Event, format: str, payload: str, *, is_one_of_many: bool) -> bytes:
    """The event as an endpoint wants it."""
    key = (format, payload, is_one_of_many)
    written = event.payloads.get(key)
    if written is None:
        data = orjson.Fragment(_PAYLOADS[payload](event))
        written = orjson.dumps(_wrapped(event, data, format, is_one_of_many))
        event.payloads[key] = written
    return written


def _wrapped(event: Event, data: object, format: str, is_one_of_many: bool) -> dict[str, Any]:
    if format == CLOUDEVENTS:
        return {**event.envelope(), "data": data}
    found = {"type": event.type, "timestamp": event.time, "data": data}
    return {"id": event.id, **found} if is_one_of_many else found


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
    """The first of them that fit into `max_bytes` together; one at least."""
    total = 0
    for count, event in enumerate(events):
        total += len(_written(event, format, payload, is_one_of_many=True)) + 1
        if count and total > max_bytes:
            return events[:count]
    return events


def single_payload(event: Event, *, format: str, payload: str) -> Payload:
    """One event in one request."""
    return Payload(
        id=event.id,
        type=event.type,
        content_type=_EVENT if format == CLOUDEVENTS else JSON,
        body=_written(event, format, payload, is_one_of_many=False),
        events=(event,),
    )


def batch_payload(
    events: Sequence[Event], *, format: str, payload: str, endpoint_id: str
) -> Payload:
    """Some events in one request; a list even if there is one."""
    first, last = events[0], events[-1]
    forms = [_written(event, format, payload, is_one_of_many=True) for event in events]
    body = b"[" + b",".join(forms) + b"]"
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
    """What `webhooks test` sends: an event of its own type, in the endpoint's form."""
    event = Event(
        entry_id="0-0", shard=0, id=message_id, type=TEST_TYPE, subject="test", time=time,
        data=b'{"test":true}',
    )  # fmt: skip
    parcel = (
        batch_payload([event], format=format, payload=FULL, endpoint_id=message_id)
        if is_batch
        else single_payload(event, format=format, payload=FULL)
    )
    return Payload(message_id, TEST_TYPE, parcel.content_type, parcel.body)
