"""Claims whose end Redis has lost."""

from __future__ import annotations

from service.storage.claims import Claimant
from service.storage.embedded_redis import end
from service.storage.store import of_client
from tests.servers import connected, serving
from tests.sources.test_source import NOW_MS, add, claim


async def test_a_server_that_lost_the_end_of_a_poll_has_its_source_polled_again() -> None:
    """At once, not when the claim lapses: the worker believes that it was finished. What was
    claimed since stays claimed."""
    worker = Claimant(ordinal=1, token="a")
    async with serving() as server, connected(server.embedded.url) as client:
        store = of_client(client)
        lost, new = await add(store, "http://x.example/"), await add(store, "http://y.example/")
        first, second = await claim(store, claimant=worker)
        assert {lost, new} == {first.source.id, second.source.id}
        server.process.kill()
        await server.process.wait()
        process = await server.embedded.start()
        third = await add(store, "http://z.example/")
        assert [third] == [c.source.id for c in await claim(store, NOW_MS + 1, claimant=worker)]
        again = await claim(store, NOW_MS + 1_001, claimant=worker)
        assert {lost, new} == {c.source.id for c in again}
        assert [] == await claim(store, NOW_MS + 2_002, claimant=worker)
        await end(process)
