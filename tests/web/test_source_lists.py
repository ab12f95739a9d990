"""Lists of sources by the API, in parts."""

from __future__ import annotations

import orjson
import pytest

from service.articles.times import to_ms
from service.sources.source import make_source
from service.storage.store import Store
from service.web.request import paging
from tests.conftest import AUTH, NOON, Get


async def add_many(store: Store, count: int) -> set[str]:
    """Sources on a host each; their ids."""
    added = [make_source({"url": f"http://h{n}.example/f"}, created=NOON) for n in range(count)]
    await store.sources.add_all(added, due_ms=to_ms(NOON))
    return {source.id for source in added}


async def test_next_leads_through_all_sources(store: Store, get: Get) -> None:
    """Each once, in parts of at most `limit`."""
    ids = await add_many(store, 25)
    listed: list[str] = []
    path: str | None = "/api/v1/sources?limit=10"
    while path:
        part = orjson.loads(await get(path, **AUTH))
        assert len(part["sources"]) <= 10
        listed += [source["id"] for source in part["sources"]]
        path = part["next"]
    assert (ids, 25) == ({*listed}, len(listed))


async def test_a_short_list_is_an_array(
    store: Store, get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it was before there were parts; one that is too long for that says what to do."""
    ids = await add_many(store, 3)
    listed = orjson.loads(await get("/api/v1/sources", **AUTH))
    assert ids == {source["id"] for source in listed}
    monkeypatch.setattr(paging, "MAX_WHOLE", 10)
    await add_many(store, 11)
    problem = orjson.loads(await get("/api/v1/sources", 400, **AUTH))
    assert "limit" in problem["detail"]
    await get("/api/v1/sources?limit=2&after=x", 400, **AUTH)


async def test_an_export_has_all_sources(store: Store, get: Get) -> None:
    """It is sent while it is read."""
    await add_many(store, 450)
    document = await get("/api/v1/sources.opml", **AUTH)
    assert 450 == document.count(b"<outline ")
    assert document.endswith(b"</opml>\n")
