"""A webhook receiver on a real socket, whose signatures the `standardwebhooks` library judges."""

from __future__ import annotations

from typing import Any, Self

import aiohttp
import orjson
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.running import Running
from tests.waiting import answer_late, wait_until


class FakeReceiver:
    """Takes messages, answers as told, and remembers what came."""

    def __init__(self) -> None:
        self.secret = ""
        self.messages: list[dict[str, Any]] = []
        """What was accepted, in the order of its coming."""
        self.ids: list[str] = []
        """Message id of each."""
        self.answers: list[int] = []
        """Statuses for the next requests; 200 when there is none left."""
        self.headers: dict[str, str] = {}
        """Sent with each answer that is not 200."""
        self.delay_s = 0.0
        self.seen: list[str] = []
        """Message id of every request, accepted or not."""
        self.request_headers: list[dict[str, str]] = []
        """Of every request."""
        self.forged = 0
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """The URL of the webhook."""
        return f"http://127.0.0.1:{self._port}/hook"

    @property
    def events(self) -> list[str]:
        """Ids of all events that came, those in batches one by one."""
        found: list[str] = []
        for message_id, message in zip(self.ids, self.messages, strict=True):
            is_batch = isinstance(message["data"], list)
            found += [each["id"] for each in message["data"]] if is_batch else [message_id]
        return found

    @property
    def subjects(self) -> set[str]:
        """Ids of all articles that came."""
        return {message["data"].get("id", "") for message in self.messages}

    async def subscribe(self, dateline: Running, **fields: object) -> str:
        """Have a running dateline tell us; the webhook's id."""
        headers = {"Authorization": f"Bearer {dateline.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{dateline.url}/api/v1/webhooks", json={"url": self.url, **fields}) as r,
        ):
            assert 201 == r.status, await r.text()
            made = await r.json()
        self.secret = made["secret"]
        return str(made["id"])

    async def first_time(self) -> str:
        """Timestamp of the first message, once there is one."""

        async def some() -> list[dict[str, Any]]:
            return self.messages

        await wait_until(some)
        return str(self.messages[0]["timestamp"])

    async def _take(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(request.headers["webhook-id"])
        self.request_headers.append(dict(request.headers))
        await answer_late(self.delay_s)
        if self.answers:
            status = self.answers.pop(0)
            return web.Response(status=status, headers=self.headers, text=f"{status} " * 1_000)
        try:
            Webhook(self.secret).verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.forged += 1
            return web.Response(status=400)
        self.messages.append(orjson.loads(body))
        self.ids.append(request.headers["webhook-id"])
        return web.Response()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def open(self) -> None:
        """Listen; on the same port as before, if it did once."""
        self._runner = web.ServerRunner(web.Server(self._take))
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        assert self._runner.addresses
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening: connections are refused until `open`."""
        assert self._runner
        await self._runner.cleanup()

    async def __aexit__(self, *_: object) -> None:
        await self.close()
