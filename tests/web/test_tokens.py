"""/api/v1/tokens: add, list, revoke; what a token is held to; the last admin token."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from service.errors import InvalidInput
from service.manage import tokens as manage_tokens
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.conftest import NOON, TOKEN, Clock
from tests.web.token_calls import Client, add, call, server

FIRST = "a-token-of-the-first-start"


async def test_a_token_is_added_listed_and_revoked(client: Client) -> None:
    """Its text is shown once; afterwards it opens nothing."""
    added = await add(client, name="Harbour desk", scope="read publish", expires="90d")
    text = added.pop("token")
    expected = {
        "id": added["id"], "name": "Harbour desk", "scope": "read publish", "categories": [],
        "source": None, "created": "2026-01-05T12:00:00.000Z",
        "expires": "2026-04-05T12:00:00.000Z", "last_used": None,
    }  # fmt: skip
    assert expected == added
    assert (200, [expected]) == await call(client, "GET", "tokens")
    assert 200 == (await call(client, "GET", "sources", token=text))[0]
    assert (204, None) == await call(client, "DELETE", f"tokens/{added['id']}")
    assert 401 == (await call(client, "GET", "sources", token=text))[0]
    assert (200, []) == await call(client, "GET", "tokens")
    assert 404 == (await call(client, "DELETE", f"tokens/{added['id']}"))[0]


async def test_only_hashes_are_stored(client: Client, redis: Redis) -> None:
    """Nothing in Redis opens anything."""
    text = (await add(client))["token"]
    async for key in redis.scan_iter():
        dump = await redis.dump(key)
        assert text.encode() not in dump
        assert TOKEN.encode() not in dump


@pytest.mark.parametrize("name", ["desk", "DESK", " desk ", "ｄｅｓｋ"])
async def test_two_tokens_never_have_one_name(client: Client, name: str) -> None:
    """Nor names that read alike; of many that come at once one is added."""
    await add(client)
    status, problem = await call(client, "POST", "tokens", {"name": name, "scope": "read"})
    assert (400, "name") == (status, problem["field"])
    statuses = []

    async def race() -> None:
        statuses.append((await call(client, "POST", "tokens", {"name": "x", "scope": "read"}))[0])

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(race())
    assert [201] + [400] * 9 == sorted(statuses)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"name": "a"}, "scope"), ({"scope": "read"}, "name"), ([], "body"), ("x", "body"),
     ({"name": "a", "scope": "read", "token": "mine"}, "token"),
     ({"name": "\u0000", "scope": "read"}, "name")],
)  # fmt: skip
async def test_wrong_fields_are_named(client: Client, body: object, field: str) -> None:
    """400, and nothing is added."""
    status, problem = await call(client, "POST", "tokens", body)
    assert (400, field) == (status, problem["field"])
    assert (200, []) == await call(client, "GET", "tokens")


async def test_names_of_all_scripts(client: Client) -> None:
    """They come back as they are, in NFC."""
    names = ["دفتر الميناء", "Hafenbu\u0308ro", "港湾 🚢", "a/b?c=d&e"]
    for name in names:
        await add(client, name=name)
    _, listed = await call(client, "GET", "tokens")
    names[1] = "Hafenbüro"
    assert sorted(names) == sorted(each["name"] for each in listed)


async def test_there_is_a_most_of_tokens(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is loaded by each server every two seconds."""
    monkeypatch.setattr(keys, "TOKENS_MAX", 1)
    await add(client)
    status, problem = await call(client, "POST", "tokens", {"name": "b", "scope": "read"})
    assert (400, "name") == (status, problem["field"])
    assert "there are 1 tokens" in problem["detail"]


async def test_an_article_outside_the_categories_is_refused_by_name(client: Client) -> None:
    """One by one in a batch, 403 alone; subcategories are inside, no category is outside."""
    text = (await add(client, categories=["Media Center/News", "Sport"]))["token"]
    listed = [
        ["Media Center/News"], ["media-center/news/harbour", "Sport"], ["Media Center"],
        ["Sport", "Politics"], [], ["Sports"],
    ]  # fmt: skip
    items = [{"title": f"t{n}", "categories": names} for n, names in enumerate(listed)]
    status, answers = await call(client, "POST", "articles", [*items, {"titel": 1}], token=text)
    assert 200 == status
    assert ["created"] * 2 + ["rejected"] * 5 == [answer["status"] for answer in answers]
    errors = [answer["error"] for answer in answers[2:]]
    assert [403, 403, 403, 403, 400] == [error["status"] for error in errors]
    values = ["'media-center'", "'politics'", "''", "'sports'"]
    assert [("categories", value) for value in values] == [
        (error["field"], error["value"]) for error in errors[:4]
    ]
    status, problem = await call(client, "POST", "articles", items[3], token=text)
    assert (403, "categories", "'politics'") == (status, problem["field"], problem["value"])


async def test_a_push_outside_the_source_is_refused_by_name(client: Client) -> None:
    """The source must be named, and exactly."""
    text = (await add(client, source="http://desk.example/feed"))["token"]
    sources = ["http://desk.example/feed", "http://desk.example/feed/", None, "urn:dateline:push"]
    items = [{"title": f"t{n}", "source": source} for n, source in enumerate(sources)]
    _, answers = await call(client, "POST", "articles", items, token=text)
    assert ["created"] + ["rejected"] * 3 == [answer["status"] for answer in answers]
    assert ["source"] * 3 == [answer["error"]["field"] for answer in answers[1:]]
    alone = {"title": "a", "source": sources[0]}
    assert 201 == (await call(client, "POST", "articles", alone, token=text))[0]
    assert 403 == (await call(client, "POST", "articles", {"title": "b"}, token=text))[0]


async def test_a_bounded_token_neither_takes_over_nor_withdraws_what_is_outside(
    client: Client,
) -> None:
    """An article of another category cannot be moved into the token's, nor revived there."""
    _, politics = await call(
        client, "POST", "articles", {"guid": "1", "title": "A", "categories": ["Politics"]}
    )
    _, sport = await call(
        client, "POST", "articles", {"guid": "2", "title": "B", "categories": ["Sport"]}
    )
    text = (await add(client, categories=["Sport"]))["token"]
    moved = {"guid": "1", "title": "A", "categories": ["Sport"]}
    status, problem = await call(client, "POST", "articles", moved, token=text)
    assert (403, "'politics'") == (status, problem["value"])
    path = f"articles/{politics['id']}"
    assert 403 == (await call(client, "DELETE", path, token=text))[0]
    assert ["politics"] == (await call(client, "GET", path))[1]["categories"]
    assert 404 == (await call(client, "DELETE", "articles/none", token=text))[0]
    assert 200 == (await call(client, "DELETE", f"articles/{sport['id']}", token=text))[0]
    assert 200 == (await call(client, "DELETE", path))[0]
    assert 403 == (await call(client, "POST", "articles", moved, token=text))[0]


async def test_the_first_token_administers_until_it_is_revoked(
    settings: Settings, store: Store, clock: Clock
) -> None:
    """The last admin token stays; one that was revoked stays revoked, whatever starts."""
    await manage_tokens.register_first(store, FIRST, now=NOON)
    await manage_tokens.register_first(store, FIRST, now=NOON)
    async with server(settings, clock) as client:
        _, (first,) = await call(client, "GET", "tokens", token=FIRST)
        await call(client, "POST", "tokens", {"name": "r", "scope": "read"}, token=FIRST)
        status, problem = await call(client, "DELETE", f"tokens/{first['id']}", token=FIRST)
        assert (400, "token") == (status, problem["field"])
        assert "is the last admin token" in problem["detail"]
        fields = {"name": "a", "scope": "admin", "expires": "1h"}
        _, other = await call(client, "POST", "tokens", fields, token=FIRST)
        clock.move(hours=2)
        assert 400 == (await call(client, "DELETE", f"tokens/{first['id']}", token=FIRST))[0]
        clock.move(hours=-2)
        # Itself; then the other one is the last.
        assert 204 == (await call(client, "DELETE", f"tokens/{first['id']}", token=FIRST))[0]
        await manage_tokens.register_first(store, FIRST, now=NOON)
        assert 401 == (await call(client, "GET", "tokens", token=FIRST))[0]
        path = f"tokens/{other['id']}"
        assert 400 == (await call(client, "DELETE", path, token=other["token"]))[0]
    with_token = settings.model_copy(update={"api_token": TOKEN})
    async with server(with_token, clock, token=TOKEN) as client:
        assert (204, None) == await call(client, "DELETE", path, token=other["token"])
        assert ["r"] == [each["name"] for each in (await call(client, "GET", "tokens"))[1]]


async def test_two_admins_cannot_revoke_each_other(store: Store) -> None:
    """The second is refused, however close they are."""
    settings = Settings()
    refused: list[str] = []

    async def revoke(token_id: str) -> None:
        try:
            await manage_tokens.revoke(store, token_id, settings, now=NOON)
        except InvalidInput:
            refused.append(token_id)

    for _ in range(20):
        admins = [{"name": name, "scope": "admin"} for name in ("a", "b")]
        added = [await manage_tokens.add(store, each, settings, now=NOON) for each in admins]
        async with asyncio.TaskGroup() as group:
            for token in added:
                group.create_task(revoke(token["id"]))
        await manage_tokens.revoke(store, refused.pop(), Settings(api_token="x" * 16), now=NOON)
        assert ([], []) == (refused, await store.tokens.all())
