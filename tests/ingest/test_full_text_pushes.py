"""Full texts of articles that a hub pushes."""

from __future__ import annotations

import pytest

from service.settings import Settings
from service.storage.store import Store
from tests.conftest import Clock
from tests.fakes import FakeSite
from tests.ingest.polling import RSS, again, articles, polling
from tests.ingest.test_websub import Hub, hub, site, subscribing
from tests.waiting import wait_until

__all__ = ("hub", "site")  # Fixtures.


@pytest.mark.parametrize("is_failing", [False, True])
async def test_a_push_of_teasers_is_polled_for_so_that_their_pages_are_fetched(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, hub: Hub, is_failing: bool
) -> None:
    """Its article is published once, with the text of its page; while polls fail, with its own."""
    item = f"<item><title>T</title><guid>urn:t</guid><link>{site.url}/page</link>"
    item += "<description>Words and [&amp;#8230;]</description></item>"
    feed = RSS.replace("<item>", f"{item}<item>", 1)
    words = "".join(f"<p>Sentence {n} of a page that is long enough.</p>" for n in range(30))
    site.put("/page", f"<html><body><article>{words}</article></body></html>")
    settings = settings.model_copy(update={"poll_spacing_s": 0.0})
    async with polling(store, settings, clock):
        source_id, form = await subscribing(store, site, clock, hub)
        await hub.verify(form, lease_seconds="8640000")
        if is_failing:
            site.put("/f", status=500)
            await again(store, clock, source_id, "answered 500", after_s=settings.poll_max_s)
        else:
            site.put("/f", feed)
        assert 202 == await hub.push(form, feed)

        async def arrived() -> bool:
            return any(article.title == "T" for article in await articles(store))

        await wait_until(arrived)
        (article,) = [article for article in await articles(store) if article.title == "T"]
    assert (1, not is_failing) == (article.revision, "Sentence 29" in article.content_html)
