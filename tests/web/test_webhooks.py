"""Webhooks over HTTP: the routes of the API, and the pages that show states and attempts."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient

from service.cli.output import show_parts
from service.manage import webhooks
from service.settings import Settings
from service.storage.store import Store
from service.web.request import paging
from tests.conftest import AUTH, NOON, TOKEN
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


async def test_a_list_in_parts_names_each_webhook_once(store: Store, client: Client) -> None:
    """Whatever is removed meanwhile; a part says where the next one begins, the last one null."""
    ids = {await added(store) for _ in range(7)}
    listed: list[str] = []
    path: str | None = "/api/v1/webhooks?limit=3"
    while path:
        async with client.get(path, headers=AUTH) as response:
            assert 200 == response.status
            part = await response.json()
        assert len(part["webhooks"]) <= 3
        listed += [each["id"] for each in part["webhooks"]]
        if len(listed) == 3:
            await webhooks.remove(store, listed[-1])
        path = part["next"]
    assert (7, ids) == (len(listed), set(listed))


async def added(store: Store) -> str:
    """Add a webhook that nothing is sent to; its id."""
    made = await webhooks.add(store, {"url": "https://receiver.example/"}, now=NOON)
    return str(made["id"])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("limit=", "limit"),
        ("limit=1&limit=2", "limit"), ("after=a&after=b", "after"), (f"after={201 * 'x'}", "after"),
    ],
)  # fmt: skip
async def test_parameters_of_a_list_are_checked(client: Client, query: str, field: str) -> None:
    """The answer names the parameter."""
    async with client.get(f"/api/v1/webhooks?{query}", headers=AUTH) as response:
        assert (400, field) == (response.status, (await response.json())["field"])


async def test_a_list_that_is_too_long_must_be_read_in_parts(
    store: Store, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused by name, and not cut without a word."""
    monkeypatch.setattr(paging, "MAX_LISTED", 2)
    monkeypatch.setattr(paging, "MAX_WHOLE", 2)
    for _ in range(2):
        await added(store)
    async with client.get("/api/v1/webhooks", headers=AUTH) as response:
        assert (200, 2) == (response.status, len(await response.json()))
    await added(store)
    async with client.get("/api/v1/webhooks", headers=AUTH) as response:
        assert (400, "limit") == (response.status, (await response.json())["field"])


@pytest.mark.parametrize("most", [2, 5])
async def test_the_command_line_prints_a_long_list_part_by_part(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], most: int
) -> None:
    """As one JSON array, or a line each; a short one is sorted by age."""
    monkeypatch.setattr(webhooks, "MAX_WHOLE", most)
    await show_parts(webhooks.parts_public(store), "id", as_json=True)
    assert [] == orjson.loads(capsys.readouterr().out)
    ids = [await added(store) for _ in range(5)]
    await show_parts(webhooks.parts_public(store), "id", as_json=True)
    listed = [each["id"] for each in orjson.loads(capsys.readouterr().out)]
    assert sorted(ids) == sorted(listed)
    await show_parts(webhooks.parts_public(store), "id", as_json=False)
    assert listed == capsys.readouterr().out.split()
    sizes = [len(part) async for part in webhooks.parts_public(store)]
    assert ([5] if most == 5 else [2, 2, 1]) == sizes


@pytest.mark.parametrize("after", ["%ED%A0%80", "%00", "wh_", "%FF%FE", "sub_1"])
async def test_a_list_continues_after_any_text(store: Store, client: Client, after: str) -> None:
    """Also after what no webhook is called."""
    await added(store)
    async with client.get(f"/api/v1/webhooks?limit=9&after={after}", headers=AUTH) as response:
        assert (200, None) == (response.status, (await response.json())["next"])
