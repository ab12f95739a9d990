"""Ids of events: the same for the same data, another for other data."""

from __future__ import annotations

from dataclasses import replace

from service.articles.article import Draft, Entry
from service.articles.compose import compose
from service.storage import keys
from service.storage.store import Store
from tests.conftest import NOON


def draft() -> Draft:
    """A draft."""
    return compose(Entry(guid="1", title="Words", categories=("News",)), source="s")


async def test_an_event_id_never_names_two_contents(store: Store) -> None:
    """A revision that comes again after a loss with other data has another id; both are found."""
    (first,) = await store.articles.append([draft()], now=NOON)
    await store.client.delete(keys.article(store.event_stream.shards.of(first.id), first.id))
    other = replace(draft(), title="Other words")
    (second,) = await store.articles.append([other], now=NOON)
    assert (first.id, first.revision) == (second.id, second.revision)
    assert first.event_id != second.event_id
    for receipt in (first, second):
        event = await store.event_stream.find(receipt.event_id)
        assert event
        assert receipt.event_id == event.id


async def test_an_event_of_an_older_version_is_found_by_its_id(store: Store) -> None:
    """Its id ends with the revision."""
    old = {"id": "a-1_7", "type": "t", "subject": "a-1", "time": "", "data": "{}"}
    await store.client.xadd(keys.stream(store.event_stream.shards.of("a-1")), old)
    event = await store.event_stream.find("a-1_7")
    assert event
    assert "a-1" == event.subject
