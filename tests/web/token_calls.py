"""Calls of the API with one token or another, and more servers on one Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp.test_utils import TestClient, TestServer

from service.settings import Settings
from service.web.app import create_app
from tests.conftest import TOKEN, Clock

Client = TestClient[Any, Any]


async def call(
    client: Client, method: str, path: str, body: object = None, *, token: str = TOKEN
) -> tuple[int, Any]:
    """(status, decoded answer) of a call of the API."""
    options = {} if body is None else {"json": body}
    headers = {"Authorization": f"Bearer {token}"}
    async with client.request(method, f"/api/v1/{path}", headers=headers, **options) as response:
        text = await response.read()
        return response.status, orjson.loads(text) if text else None


async def add(client: Client, **fields: Any) -> dict[str, Any]:
    """A token made by the API; it publishes if the fields do not say otherwise."""
    body = {"name": "desk", "scope": "publish", **fields}
    status, added = await call(client, "POST", "tokens", body)
    assert 201 == status, added
    assert isinstance(added, dict)
    return added


@asynccontextmanager
async def server(settings: Settings, clock: Clock, *, token: str = "") -> AsyncIterator[Client]:
    """One more server on the same Redis; without a token of its settings if none is named."""
    async with TestClient(TestServer(create_app(settings, token=token, now=clock))) as opened:
        yield opened
