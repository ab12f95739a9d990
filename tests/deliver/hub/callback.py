"""A subscriber to our hub on a real socket, and a hub with something published."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import parse_qs

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.web.app import create_app
from tests.conftest import TOKEN
from tests.deliver.working import delivering, publish
from tests.loops import at_work
from tests.waiting import wait_until
from workers.aggregate.aggregator import Aggregator
from workers.runtime import now

Client = TestClient[Any, Any]
TOPIC = "http://news.example/feeds/all.rss"


class Callback:
    """A subscriber that confirms if `confirms`, and records all requests."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self.queries: list[dict[str, str]] = []
        """The query of every GET, oldest first."""
        self.contents: list[tuple[bytes, dict[str, str]]] = []
        """(body, headers) of every POST."""
        self.path = "/callback?its=own"
        self.paths: list[str] = []
        """Path and query of every request, as they were spelled."""
        self.confirms = True
        self.status = 200
        """Status of the answers to pushes."""
        self.answers: list[web.Response] = []
        """Answers to the next GETs, instead of the challenge."""
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Where it listens, with a query that it chose itself."""
        return f"http://{self._host}:{self._port}{self.path}"

    async def modes(self, *expected: str) -> list[dict[str, str]]:
        """Wait until the queries have these modes; return them."""

        async def there() -> bool:
            return [query["hub.mode"] for query in self.queries] == [*expected]

        await wait_until(there)
        return self.queries

    async def came(self, count: int) -> list[tuple[bytes, dict[str, str]]]:
        """Wait until there are so many contents; return all."""

        async def there() -> bool:
            return len(self.contents) >= count

        await wait_until(there)
        return self.contents

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        self.paths.append(request.raw_path)
        if request.method == "POST":
            self.contents.append((await request.read(), dict(request.headers)))
            return web.Response(status=self.status)
        self.queries.append(
            {name: values[0] for name, values in parse_qs(request.query_string).items()}
        )
        if self.answers:
            return self.answers.pop(0)
        if self.queries[-1]["hub.mode"] == "denied":
            return web.Response()
        return web.Response(text=self.queries[-1]["hub.challenge"] if self.confirms else "no")

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._take))
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()


@asynccontextmanager
async def hub(store: Store, settings: Settings) -> AsyncIterator[Client]:
    """Server, aggregate and deliver worker, with something published before."""

    async def nobody_listens() -> bool:
        ((_, count),) = await store.client.pubsub_numsub(keys.CHANGED)
        return not count

    # Connections of the test before would be taken for those of this one.
    await wait_until(nobody_listens)
    await publish(store, "Before")
    app = create_app(settings, token=TOKEN)
    async with (
        TestClient(TestServer(app)) as client,
        at_work(Aggregator(store, settings, now=now).run),
        delivering(store, settings),
    ):
        yield client


async def ask(client: Client, callback: Callback, status: int = 202, /, **fields: object) -> str:
    """Send a request as subscribers do, and return the text of the answer."""
    form = {
        "hub.mode": "subscribe", "hub.callback": callback.url, "hub.topic": TOPIC,
        **{f"hub.{name}": str(value) for name, value in fields.items()},
    }  # fmt: skip
    async with client.post("/hub", data=form) as response:
        text = await response.text()
        assert status == response.status, text
        assert response.headers["Content-Type"].startswith("text/plain")
        return text


async def subscribed(client: Client, store: Store, callback: Callback, **fields: object) -> None:
    """Subscribe a callback and wait until that is confirmed."""
    before = len(await store.hub_subscriptions.all())
    await ask(client, callback, **fields)

    async def there() -> bool:
        return len(await store.hub_subscriptions.all()) > before

    await wait_until(there)
