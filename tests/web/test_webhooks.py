"""Webhooks over HTTP: the routes of the API, and the pages that show states and attempts."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from service.settings import Settings
from service.storage.store import Store
from tests.conftest import AUTH, TOKEN
from tests.deliver.working import QUICK, delivered, delivering, operations, publish, subscribe
from tests.receiver import FakeReceiver
from tests.waiting import wait_until

Client = TestClient[Any, Any]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings for quick retries."""
    return settings.model_copy(update=QUICK)


async def test_everything_by_the_api(
    store: Store, settings: Settings, receiver: FakeReceiver, client: Client
) -> None:
    """The API changes, resumes and replays webhooks, and lists what happened to deliveries."""
    webhook_id = await subscribe(store, receiver)
    path = f"/api/v1/webhooks/{webhook_id}"
    receiver.answers = [410]
    (event_id,) = await publish(store, "a")

    async def ask(method: str, path: str, status: int, body: object = None) -> Any:
        async with client.request(method, path, json=body, headers=AUTH) as response:
            assert status == response.status, await response.text()
            return await response.json()

    changed = await ask("PATCH", path, 200, {"batch": 5, "linger_ms": 10})
    assert (5, "active", 1) == (changed["batch"], changed["state"], changed["waiting"])
    async with delivering(store, settings):

        async def is_disabled() -> bool:
            return bool((await ask("GET", path, 200))["state"] == "disabled")

        await wait_until(is_disabled)
        assert {"from": "cursor", "gap": False} == await ask("POST", f"{path}/resume", 202)
        await delivered(receiver, 1)
        assert {"ranges": 1} == await ask("POST", f"{path}/replay", 202, {"event": event_id})
        await delivered(receiver, 2)
    log = await ask("GET", f"{path}/deliveries?limit=2", 200)
    assert [200, 200] == [attempt["status"] for attempt in log]
    assert [] == await ask("GET", f"{path}/dead-letters", 200)
    (operation,) = await ask("GET", "/api/v1/operations", 200)
    assert "dateline.webhook.disabled.v1" == operation["type"]
    for wrong in ("0", "x", "1000"):
        assert "limit" == (await ask("GET", f"{path}/deliveries?limit={wrong}", 400))["field"]
    assert "from" == (await ask("POST", f"{path}/resume", 400, {"from": "x"}))["field"]
    assert "batch" == (await ask("PATCH", path, 400, {"batch": 0}))["field"]
    await ask("PATCH", "/api/v1/webhooks/x", 404, {"batch": 1})


@pytest.mark.parametrize("path", ["/webhooks", "/webhooks/x"])
async def test_the_pages_are_for_those_who_have_the_token(client: Client, path: str) -> None:
    """The pages need the token as the password of Basic authorization, which browsers ask for."""
    for headers in ({}, AUTH, {"Authorization": "Basic !"}, {"Authorization": "Basic eDp5"}):
        async with client.get(path, headers=headers) as response:
            assert 401 == response.status
            assert 'Basic realm="dateline"' == response.headers["WWW-Authenticate"]


async def test_the_pages_show_states_and_attempts(
    store: Store, settings: Settings, receiver: FakeReceiver, client: Client
) -> None:
    """The pages show states and attempts; they are not cached and contain no secrets."""
    webhook_id = await subscribe(store, receiver, headers={"X-Key": "hush"})
    receiver.answers = [500, 500, 500]
    await publish(store, "a")
    async with delivering(store, settings):
        await delivered(receiver, 1)
        await operations(store, "failing", "recovered")
    credentials = base64.b64encode(f"me:{TOKEN}".encode()).decode()
    headers = {"Authorization": f"Basic {credentials}"}
    async with client.get("/webhooks", headers=headers) as response:
        text = await response.text()
        assert (200, "no-store") == (response.status, response.headers["Cache-Control"])
    assert f'href="/webhooks/{webhook_id}"' in text
    assert "dateline.webhook.recovered.v1" in text
    assert "failing since: 20" in text
    async with client.get(f"/webhooks/{webhook_id}", headers=headers) as response:
        text = await response.text()
    assert "500 500" in text
    assert "whsec_" not in text
    assert "hush" not in text
    async with client.get("/webhooks/none", headers=headers) as response:
        assert 404 == response.status
