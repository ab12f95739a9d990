"""Who may call what: each route with each kind of token, and every form of the header."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from service.web.request.problems import MEDIA_TYPE
from service.web.routes import ROUTES
from tests.conftest import AUTH, TOKEN, Clock
from tests.waiting import within

Client = TestClient[Any, Any]
# Every other route needs a token; one more here is a decision.
PUBLIC = {
    "GET /", "GET /api/v1/articles", "GET /api/v1/articles/{id}", "GET /articles/{name}",
    "GET /categories",
    "GET /events", "GET /feeds.opml", "GET /feeds/{path:.+}", "GET /livez", "GET /metrics",
    "GET /news-sitemap.xml", "GET /news/{path:.+}", "GET /private/{name}", "GET /readyz",
    "GET /robots.txt", "GET /sitemap.xml", "GET /sitemaps/{name}", "GET /static/{name}",
    "GET /websub/{id}", "OPTIONS /feeds/{path:.+}", "POST /hub", "POST /websub/{id}",
}  # fmt: skip
PUBLISH = {"POST /api/v1/articles", "DELETE /api/v1/articles/{id}"}
READ = {"GET /webhooks", "GET /webhooks/{id}"}
ADMIN = {"GET /api/v1/tokens"}


def name_of(route: web.AbstractRouteDef) -> str:
    """`GET /livez`."""
    assert isinstance(route, web.RouteDef)
    return f"{route.method} {route.path}"


def scope_of(name: str) -> str:
    """What a route needs: reading and publishing as listed, everything else that changes, admin."""
    if name in PUBLISH:
        return "publish"
    is_read = name in READ or (name.startswith("GET /api/") and name not in ADMIN)
    return "read" if is_read else "admin"


def credentials(text: str, name: str) -> dict[str, str]:
    """The header that a route takes."""
    if name.split()[1].startswith("/webhooks"):
        return {"Authorization": f"Basic {base64.b64encode(f'me:{text}'.encode()).decode()}"}
    return {"Authorization": f"Bearer {text}"}


async def add(client: Client, **fields: Any) -> dict[str, Any]:
    """A token made by the API."""
    async with client.post("/api/v1/tokens", json=fields, headers=AUTH) as response:
        assert 201 == response.status, await response.text()
        added: dict[str, Any] = await response.json()
        return added


async def call(client: Client, name: str, **headers: str) -> tuple[int, str, str]:
    """(status, WWW-Authenticate, body) of a request without a body to a route."""
    method, path = name.split()
    path = re.sub(r"\{[^}]+\}", "none", path)
    async with client.request(method, path, headers=headers) as response:
        challenge = response.headers.get("WWW-Authenticate", "")
        if name == "GET /events":  # it never ends
            return response.status, challenge, ""
        return response.status, challenge, await response.text()


@pytest.mark.parametrize("name", sorted(name_of(route) for route in ROUTES))
async def test_every_route_names_the_scope_that_it_needs(client: Client, name: str) -> None:
    """401 to strangers, 403 with the scope's name to other tokens; the public ones are listed."""
    status, challenge, _ = await call(client, name)
    assert (name in PUBLIC) == (status != 401)
    if name in PUBLIC:
        return
    assert 'realm="dateline"' in challenge
    needed = scope_of(name)
    for scope in ("read", "publish", "admin"):
        text = (await add(client, name=scope, scope=scope))["token"]
        status, challenge, body = await call(client, name, **credentials(text, name))
        if scope in (needed, "admin"):
            assert status not in (401, 403)
        else:
            assert 403 == status
            assert f'error="insufficient_scope", scope="{needed}"' in challenge
            assert f"this needs a token with the scope {needed}" in body


async def test_a_403_is_a_problem_with_the_scope_as_a_member(client: Client) -> None:
    """For programs that ask for another token."""
    text = (await add(client, name="desk", scope="read"))["token"]
    headers = credentials(text, "POST /api/v1/sources")
    async with client.post("/api/v1/sources", json={}, headers=headers) as response:
        problem = await response.json(content_type=None)
        assert MEDIA_TYPE == response.content_type
    assert (403, "admin") == (problem["status"], problem["scope"])


async def raw(client: Client, *headers: bytes) -> bytes:
    """The status line and head of the answer to GET /api/v1/sources with these header lines."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    lines = [b"GET /api/v1/sources HTTP/1.1", b"Host: x", b"Connection: close", *headers, b"", b""]
    writer.write(b"\r\n".join(lines))
    async with within(5):
        answer = await reader.read()
    writer.close()
    return answer


GOOD = TOKEN.encode()


@pytest.mark.parametrize(
    ("headers", "status"),
    [([b"Authorization: Bearer " + GOOD], 200),
     ([b"authorization: bEARER   " + GOOD + b"  "], 200),
     ([b"Authorization: " + GOOD], 401),
     ([b"Authorization: Bearer"], 401),
     ([b"Authorization: Bearer "], 401),
     ([b"Authorization:"], 401),
     ([b"Authorization: Bearer\t" + GOOD], 401),
     ([b"Authorization: Bearer " + GOOD[:-1]], 401),
     ([b"Authorization: Bearer " + GOOD + b"\xff"], 401),
     ([b"Authorization: Bearer \xff\xfe\x80"], 401),
     ([b"Authorization: Bearer \xc3\xa9"], 401),
     ([b"Authorization: B\xc3\xa9arer " + GOOD], 401),
     ([b"Authorization: Bearer " + GOOD + b", Bearer x"], 401),
     ([b"Authorization: Bearer a b"], 401),
     ([b"Authorization: Bearer " + b"x" * 8_000], 401),
     ([b"Authorization: Basic " + base64.b64encode(b"me:" + GOOD)], 401),
     ([b"Authorization: Bearer x", b"Authorization: Bearer " + GOOD], 400),
     ([b"Authorization: Bearer " + GOOD, b"authorization: Bearer " + GOOD], 400)],
)  # fmt: skip
async def test_forms_of_the_header(client: Client, headers: list[bytes], status: int) -> None:
    """Any case of the scheme, any spaces after it; nothing else passes, and nothing is a 500."""
    assert (await raw(client, *headers)).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    ("password", "status"),
    [(f"me:{TOKEN}", 200), (f":{TOKEN}", 200), (TOKEN, 401), (f"{TOKEN}:me", 401), ("", 401),
     (f"me:{TOKEN}:", 401), ("é:ü", 401)],
)  # fmt: skip
async def test_passwords_of_browsers(client: Client, password: str, status: int) -> None:
    """The token is the password of any name."""
    encoded = base64.b64encode(password.encode()).decode()
    headers = {"Authorization": f"Basic {encoded}"}
    assert status == (await call(client, "GET /webhooks", **headers))[0]


@pytest.mark.parametrize("text", ["*", "=", "YQ", "/w==", "\udcff", "é"])
async def test_what_is_not_base64_is_no_password(client: Client, text: str) -> None:
    """401, and the browser asks again."""
    status, challenge, _ = await call(client, "GET /webhooks", Authorization=f"Basic {text}")
    assert (401, 'Basic realm="dateline"') == (status, challenge)


async def test_an_unknown_token_is_an_invalid_one(client: Client) -> None:
    """RFC 6750 3.1; without a token the challenge has no error."""
    _, challenge, _ = await call(client, "GET /api/v1/sources", Authorization="Bearer nonsense")
    assert 'Bearer realm="dateline", error="invalid_token"' == challenge
    _, challenge, _ = await call(client, "GET /api/v1/sources")
    assert 'Bearer realm="dateline"' == challenge


async def test_a_token_is_refused_once_it_has_expired(client: Client, clock: Clock) -> None:
    """At its moment, whatever this server holds; and a clock that is put back brings it back."""
    text = (await add(client, name="desk", scope="read", expires="1h"))["token"]
    headers = {"Authorization": f"Bearer {text}"}
    assert 200 == (await call(client, "GET /api/v1/sources", **headers))[0]
    clock.move(hours=1)
    status, challenge, body = await call(client, "GET /api/v1/sources", **headers)
    assert (401, True) == (status, 'error="invalid_token"' in challenge)
    assert "expired at 2026-01-05T13:00:00.000Z" in body
    clock.move(hours=-1)
    assert 200 == (await call(client, "GET /api/v1/sources", **headers))[0]
