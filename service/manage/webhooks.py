"""Webhooks: add, change, show, resume and replay them, for API and CLI."""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from service.articles.event import Event, before, position
from service.articles.times import from_ms, from_rfc3339, to_ms, to_rfc3339
from service.errors import InvalidInput, NotFound, refuse_unknown_fields
from service.feeds.view import View
from service.storage import keys
from service.storage.store import Store
from service.storage.webhooks import Range, State
from service.webhooks.selection import Selection
from service.webhooks.webhook import Webhook, change_webhook, make_webhook, rotate_webhook

MAX_LISTED, MAX_WHOLE = 100, 1_000
# How many of the newest events are examined to say how far behind a webhook is.
MAX_COUNTED = 1_000
CURSOR, NOW = "cursor", "now"


async def add(store: Store, fields: Mapping[str, object], *, now: datetime) -> dict[str, Any]:
    """Create a webhook that gets the events from now on.

    Returns:
        The webhook as a JSON object with its secret, which is never shown again.

    Raises:
        InvalidInput: names the field.
    """
    webhook = make_webhook(fields, webhook_id=_new_id("wh"), created=now)
    await _check_view(store, webhook)
    await store.webhooks.add(webhook, await _ends(store))
    return webhook.to_public_once()


async def find(store: Store, webhook_id: str) -> Webhook:
    """The webhook of this id. Raises NotFound."""
    webhook = await store.webhooks.get(webhook_id)
    if webhook is None:
        raise NotFound(f"{webhook_id}: no such webhook")
    return webhook


async def change(store: Store, webhook_id: str, fields: Mapping[str, object]) -> dict[str, Any]:
    """Change the named settings of a webhook; its cursors stay.

    Returns:
        The changed webhook, as by `to_public`.

    Raises:
        InvalidInput, NotFound.
    """
    while True:
        webhook = await find(store, webhook_id)
        changed = change_webhook(webhook, fields)
        await _check_view(store, changed)
        if changed == webhook or await store.webhooks.replace(webhook, changed):
            return (await to_public(store, [changed]))[0]


async def all_public(store: Store) -> list[dict[str, Any]]:
    """All webhooks, oldest first, each as by `to_public`."""
    webhooks = [webhook async for webhook in store.webhooks.all()]
    return await to_public(store, sorted(webhooks, key=lambda w: (w.created, w.id)))


async def part_public(store: Store, *, after: str, limit: int) -> tuple[list[dict[str, Any]], str]:
    """The first webhooks after an id, each as by `to_public`, at most `limit`.

    Returns:
        The webhooks, and the id after which the list continues; empty at its end.
    """
    webhooks = await store.webhooks.part(after=after, limit=limit + 1)
    last = webhooks[limit - 1].id if len(webhooks) > limit else ""
    return await to_public(store, webhooks[:limit]), last


async def parts_public(store: Store) -> AsyncIterator[list[dict[str, Any]]]:
    """All webhooks, each as by `to_public`: up to MAX_WHOLE in one part, oldest first; of more a
    part at a time, in the order of `part_public`."""
    if await store.webhooks.count() <= MAX_WHOLE:
        yield await all_public(store)
        return
    after = ""
    while True:
        shown, after = await part_public(store, after=after, limit=MAX_WHOLE)
        yield shown
        if not after:
            return


async def to_public(store: Store, webhooks: Sequence[Webhook]) -> list[dict[str, Any]]:
    """Webhooks as JSON objects with state and number of waiting events, without secrets."""
    states = await store.webhooks.states([webhook.id for webhook in webhooks])
    recent = {
        shard: await store.event_stream.newest(shard, count=MAX_COUNTED)
        for shard in store.event_stream.shards
    }
    waiting = _Waiting(recent, {view.name: view for view in await store.views.all()})
    return [
        {**webhook.to_public(), **_state_shown(webhook, state), **waiting.to_public(webhook, state)}
        for webhook, state in zip(webhooks, states, strict=True)
    ]


def _state_shown(webhook: Webhook, state: State) -> dict[str, Any]:
    is_retrying = bool(state.failures) and not state.disabled
    first_ms = state.first_failure_ms
    return {
        "state": _state(webhook, state),
        "disabled": state.disabled or None,
        "failures": state.failures,
        "failing_since": to_rfc3339(from_ms(first_ms)) if first_ms else None,
        "next_attempt": to_rfc3339(from_ms(state.next_ms)) if is_retrying else None,
        "gaps": state.gaps,
        "replaying": bool(state.replays),
    }


def _state(webhook: Webhook, state: State) -> str:
    if state.resume:
        return "resuming"
    if state.disabled:
        return "disabled"
    if webhook.paused:
        return "paused"
    return "failing" if state.first_failure_ms else "active"


class _Waiting:
    """Counts the newest events that wait for a webhook, once for webhooks of one selection."""

    def __init__(self, recent: Mapping[int, Sequence[Event]], views: Mapping[str, View]) -> None:
        self._recent = recent
        self._views = views
        self._positions: dict[tuple[Selection, int], list[tuple[int, int]]] = {}

    def to_public(self, webhook: Webhook, state: State) -> dict[str, Any]:
        """`waiting` and `waiting_since`; the count has a `+` if older events were not counted."""
        count, oldest_ms, is_more = 0, 0, False
        for shard, cursor in state.cursors.items():
            events = self._recent.get(shard, ())
            if not events or events[-1].position <= position(cursor):
                continue
            wanted = self._wanted(webhook.selection, shard)
            after = wanted[bisect_right(wanted, position(cursor)) :]
            count += len(after)
            oldest_ms = min(oldest_ms or after[0][0], after[0][0]) if after else oldest_ms
            is_more |= len(events) == MAX_COUNTED and events[0].position > position(cursor)
        return {
            "waiting": f"{count}+" if is_more else count,
            "waiting_since": to_rfc3339(from_ms(oldest_ms)) if count else None,
        }

    def _wanted(self, selection: Selection, shard: int) -> list[tuple[int, int]]:
        key = (selection, shard)
        if key not in self._positions:
            events = self._recent[shard]
            self._positions[key] = [m.position for m in events if selection.matches(m, self._views)]
        return self._positions[key]


async def request_test(store: Store, webhook_id: str) -> str:
    """Order a test event; returns its id, or that of a waiting test event. Raises NotFound."""
    await find(store, webhook_id)
    message_id = (await store.webhooks.state(webhook_id)).test or _new_id("test")
    await store.webhooks.order(webhook_id, test=message_id)
    return message_id


async def resume(
    store: Store, webhook_id: str, fields: Mapping[str, object], *, now: datetime
) -> dict[str, Any]:
    """Resume deliveries to a webhook, disabled or not.

    Field `from`: `cursor` (the default: where it stopped), `now`, a time, or the id of an event
    after which it continues.

    Returns:
        `from`, and `gap`: whether the stream dropped events that the webhook did not get.

    Raises:
        InvalidInput, NotFound.
    """
    refuse_unknown_fields(fields, ("from",))
    await find(store, webhook_id)
    start = fields.get("from", CURSOR)
    if not isinstance(start, str):
        raise InvalidInput("from", start, "must be cursor, now, a time or the id of an event")
    # Its cursors move while deliveries run: only its worker knows them exactly.
    cursors = {} if start == CURSOR else await _cursors(store, start)
    order = {"at": to_rfc3339(now), **{str(shard): cursor for shard, cursor in cursors.items()}}
    await store.webhooks.order(webhook_id, resume=orjson.dumps(order).decode())
    cursors = cursors or (await store.webhooks.state(webhook_id)).cursors
    gap = [await store.event_stream.is_behind(shard, cursor) for shard, cursor in cursors.items()]
    return {"from": start, "gap": any(gap)}


async def _cursors(store: Store, start: str) -> Mapping[int, str]:
    if start == NOW:
        return await _ends(store)
    moment = _moment(start)
    if moment:
        cursor = _before(moment)
        return dict.fromkeys(store.event_stream.shards, cursor)
    event = await store.event_stream.find(start)
    if event is None:
        reason = "give cursor, now, an RFC 3339 time, or the id of an event still on the stream"
        raise InvalidInput("from", start, reason)
    # Shards have no common order: the others continue from the time of that event.
    ms = event.position[0]
    others = dict.fromkeys(store.event_stream.shards, before(f"{ms}-0"))
    return {**others, event.shard: event.entry_id}


async def replay(store: Store, webhook_id: str, fields: Mapping[str, object]) -> dict[str, Any]:
    """Order events to be sent again under the same ids, in parallel with new events.

    Fields: one `event`; `since` a time (optionally before `until`); or `failures_since` a time, for
    events whose delivery was given up since then.

    Returns:
        `ranges`: how many ranges of the stream will be replayed.

    Raises:
        InvalidInput, NotFound.
    """
    refuse_unknown_fields(fields, ("event", "since", "until", "failures_since"))
    webhook = await find(store, webhook_id)
    ranges = await _ranges(store, webhook, fields)
    if ranges and not await store.webhooks.replay(webhook_id, ranges):
        reason = f"more than {keys.REPLAYS_MAX} ranges would wait: try again later"
        raise InvalidInput("webhook", webhook_id, reason)
    return {"ranges": len(ranges)}


async def _ranges(store: Store, webhook: Webhook, fields: Mapping[str, object]) -> list[Range]:
    chosen = [name for name in ("event", "since", "failures_since") if fields.get(name)]
    if len(chosen) != 1 or ("until" in fields and chosen != ["since"]):
        reason = "give one of event, since (with until, if you like) and failures_since"
        raise InvalidInput("replay", dict(fields), reason)
    if chosen == ["event"]:
        event = await _event(store, "event", fields["event"])
        views = {view.name: view for view in await store.views.all()}
        if not webhook.selection.matches(event, views):
            raise InvalidInput("event", event.id, "is not an event that this webhook gets")
        return [Range(event.shard, before(event.entry_id), event.entry_id)]
    since = _needed_moment(chosen[0], fields[chosen[0]])
    if chosen == ["failures_since"]:
        letters = await store.webhooks.dead_letters(webhook.id, limit=keys.DEAD_LETTERS_MAX)
        return [
            Range(int(letter["shard"]), before(str(letter["first"])), str(letter["last"]))
            for letter in reversed(letters)
            if int(letter["time_ms"]) >= to_ms(since)
        ]
    ends = await _ends(store)
    if fields.get("until"):
        last = _before(_needed_moment("until", fields["until"]))
        ends = {s: min(end, last, key=position) for s, end in ends.items()}
    after = _before(since)
    return [Range(s, after, end) for s, end in ends.items() if position(end) > position(after)]


async def rotate(
    store: Store, webhook_id: str, fields: Mapping[str, object], *, now: datetime
) -> dict[str, Any]:
    """Give a webhook another secret.

    Returns:
        The webhook as a JSON object with the secret, which is never shown again.

    Raises:
        InvalidInput, NotFound.
    """
    while True:
        webhook = await find(store, webhook_id)
        rotated = rotate_webhook(webhook, fields, now=now)
        if await store.webhooks.replace(webhook, rotated):
            return rotated.to_public_once()


async def remove(store: Store, webhook_id: str) -> None:
    """Delete a webhook and all state of its deliveries. Raises NotFound."""
    if not await store.webhooks.remove(webhook_id):
        raise NotFound(f"{webhook_id}: no such webhook")


async def _check_view(store: Store, webhook: Webhook) -> None:
    view = webhook.selection.view
    if view and await store.views.get(view) is None:
        raise InvalidInput("view", view, "no such view; see /api/v1/views")


async def _ends(store: Store) -> dict[int, str]:
    return {shard: await store.event_stream.last_id(shard) for shard in store.event_stream.shards}


async def _event(store: Store, field: str, event_id: object) -> Event:
    event = await store.event_stream.find(event_id) if isinstance(event_id, str) else None
    if event is None:
        raise InvalidInput(field, event_id, "is not an event that is still on the stream")
    return event


def _before(moment: datetime) -> str:
    """Id of the last stream entry that can have been written before a moment, at least 1970."""
    return before(f"{max(to_ms(moment), 0)}-0")


def _moment(text: str) -> datetime | None:
    try:
        return from_rfc3339(text)
    except ValueError:
        return None


def _needed_moment(field: str, value: object) -> datetime:
    moment = _moment(value) if isinstance(value, str) else None
    if moment is None or moment.tzinfo is None:
        raise InvalidInput(field, value, "must be a time such as 2026-01-05T12:00:00Z")
    return moment


def _new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"
