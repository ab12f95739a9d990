"""The categories that pushes may create, for each source URI and each token."""

from __future__ import annotations

from typing import Any

from service.settings import Settings
from service.storage.store import Store
from tests.conftest import TOKEN, Clock
from tests.web.token_calls import add, call, server


def pushed(guid: str, category: str, source: str = "http://one.example") -> dict[str, Any]:
    """An article to push."""
    return {"guid": guid, "title": guid, "source": source, "categories": [category]}


async def test_each_source_uri_has_its_own_count(
    settings: Settings, store: Store, clock: Clock
) -> None:
    """A push past it is accepted, in no category; the metrics count the source."""
    settings = settings.model_copy(update={"max_categories_per_source": 1})
    async with server(settings, clock, token=TOKEN) as client:
        batch = [pushed("1", "A"), pushed("2", "B"), pushed("3", "C", "http://two.example")]
        status, receipts = await call(client, "POST", "articles", batch)
        assert (200, ["created"] * 3) == (status, [each["status"] for each in receipts])
        articles = await store.articles.get([each["id"] for each in receipts])
        assert [("a",), (), ("c",)] == [each.categories for each in articles if each]
        status, again = await call(client, "POST", "articles", batch[1])
        assert (200, "unchanged") == (status, again["status"])
        async with client.get("/metrics") as response:
            assert "dateline_sources_at_category_limit 1.0" in await response.text()


async def test_a_token_can_send_its_articles_again(
    settings: Settings, store: Store, clock: Clock
) -> None:
    """What it cannot create is filed in its own category, not outside of it."""
    settings = settings.model_copy(update={"max_categories_per_source": 0})
    async with server(settings, clock, token=TOKEN) as client:
        token = (await add(client, categories=["News/Sport"]))["token"]
        article = pushed("1", "News/Sport/Match 1")
        assert 201 == (await call(client, "POST", "articles", article, token=token))[0]
        status, again = await call(client, "POST", "articles", article, token=token)
        assert (200, "unchanged") == (status, again["status"])
        (stored,) = await store.articles.get([again["id"]])
        assert stored
        assert ("news/sport",) == stored.categories
