"""A site on a real socket, which answers as a test tells it and remembers what was asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

Answer = Callable[[web.BaseRequest], web.StreamResponse | Awaitable[web.StreamResponse]]


class FakeSite:
    """Path → answer; 404 for the rest."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[web.BaseRequest] = []
        self.raw: bytes = b""
        """Sent as it is instead of any answer, and the connection closed."""
        self._runner: web.ServerRunner | None = None
        self.url = ""

    def put(self, path: str, body: str | bytes = b"", status: int = 200, **headers: str) -> None:
        """Answer this path; underscores in header names are hyphens."""
        data = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}

        def answer(_: web.BaseRequest) -> web.StreamResponse:
            return web.Response(body=data, status=status, headers=named)

        self.answers[path] = answer

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        if self.raw:
            assert request.transport
            request.transport.write(self.raw)
            request.transport.close()
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response(status=404)
        made = answer(request)
        return made if isinstance(made, web.StreamResponse) else await made

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._answer))
        await self._runner.setup()
        # Any address of 127.0.0.0/8 is another host.
        await web.TCPSite(self._runner, "0.0.0.0", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()
