"""What is odd in a request is refused by name; what is shown of it is harmless."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st

from service.printable import printable
from service.web.serving.conditional import is_not_modified
from tests.conftest import AUTH, Get, Publish
from tests.web.odd_requests import ODD_DATES

Client = TestClient[Any, Any]
ONE = b'{"title": "One", "guid": "1"}'
_DATES = st.text() | st.sampled_from([date.decode("latin-1") for date in ODD_DATES])


@given(date=_DATES)
def test_any_text_can_be_a_date(date: str) -> None:
    """A date that cannot be read, or is out of the years 1 to 9999, is ignored."""
    assert is_not_modified(
        if_none_match=None, if_modified_since=date, etag="e", changed_s=10**12
    ) in (True, False)


@given(text=st.text())
def test_printable_text_has_no_controls(text: str) -> None:
    """Any text becomes one that can be encoded, and that a terminal shows as it is."""
    shown = printable(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in shown)
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069")
    assert shown == shown.encode().decode()


def test_printable_text_keeps_words() -> None:
    """Spaces of all widths and joiners are a part of words."""
    words = "一\u3000二 a\u00a0b می\u200cخواهم é"
    assert words == printable(words)
    assert r"\x1b[31m\u202e\x00\ud800" == printable("\x1b[31m\u202e\x00\ud800")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/v1/articles?limit=1&limit=2", {}),
        ("/api/v1/articles?category=a&category=b", {}),
        ("/api/v1/articles?since=2017-12-22T00:00:00Z&since=2017-12-22T00:00:00Z", {}),
        ("/api/v1/operations?limit=1&limit=2", AUTH),
        ("/events?last-event-id=1-1&last-event-id=2-2", {}),
        ("/websub/x?hub.mode=subscribe&hub.mode=denied", {}),
        ("/feeds/all.rss?limit=1&limit=2", {}),
    ],
)
async def test_a_repeated_parameter_is_refused_by_name(
    client: Client, publish: Publish, path: str, headers: dict[str, str]
) -> None:
    """Where one value is meant, 400 names the parameter."""
    await publish()
    async with client.get(path, headers=headers) as response:
        assert 400 == response.status
        assert path.partition("?")[2].partition("=")[0] in await response.text()


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=UTF-8", 201),
        ('application/json;charset="utf-8"', 201),
        ("application/feed+json", 201),
        ("application/octet-stream", 201),
        ("application/x-ndjson", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 201),
        ("multipart/form-data; boundary=x", 415),
        ("application/json; charset=utf-16", 415),
        ("application/json; charset=\u0436", 415),
        ("text/xml", 415),
    ],
)
async def test_a_body_of_json_says_so(client: Client, media_type: str, status: int) -> None:
    """Nothing that a form of a browser can send is taken for an article."""
    headers = AUTH | {"Content-Type": media_type}
    async with client.post("/api/v1/articles", data=ONE, headers=headers) as response:
        assert status == response.status, await response.text()


async def test_a_form_of_a_browser_is_not_an_article(client: Client) -> None:
    """What a browser makes of a form whose field holds JSON does not parse."""
    headers = AUTH | {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"%7B%22title%22%3A%22One%22%7D="
    async with client.post("/api/v1/articles", data=body, headers=headers) as response:
        assert 400 == response.status


@pytest.mark.parametrize("path", ["/api/v1/sources", "/api/v1/webhooks", "/api/v1/private-feeds"])
async def test_settings_are_not_taken_from_forms(client: Client, path: str) -> None:
    """The same rule holds for everything that is JSON."""
    headers = AUTH | {"Content-Type": "text/plain"}
    async with client.post(path, data=b"{}", headers=headers) as response:
        assert 415 == response.status


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", "javascript:alert(1)"),
        ("url", "no url"),
        ("image", "http://["),
        ("enclosures[0].url", "file:///etc/passwd"),
    ],
)
async def test_a_bad_url_in_a_push_is_refused_by_name(
    client: Client, field: str, value: str
) -> None:
    """It is not dropped in silence, as its publisher meant something by it."""
    fields: dict[str, Any] = {"title": "One", "guid": "1", field: value}
    if field.startswith("enclosures"):
        fields = {"title": "One", "guid": "1", "enclosures": [{"url": value}]}
    async with client.post("/api/v1/articles", json=fields, headers=AUTH) as response:
        assert 400 == response.status
        assert field == (await response.json(content_type=None))["field"]


@pytest.mark.parametrize("path", ["/api/v1/articles/%00%1B%E2%80%AE%FF", "/news/%00%1B%E2%80%AE"])
async def test_errors_do_not_repeat_control_characters(client: Client, path: str) -> None:
    """Pages and problems show them as escapes."""
    async with client.get(path) as response:
        assert 404 == response.status
        assert not set("\0\x1b\u202e") & set(await response.text())
        assert "nosniff" == response.headers["X-Content-Type-Options"]


@pytest.mark.parametrize(
    "path", ["/feeds/all.rss", "/feeds/all.atom", "/feeds.opml", "/sitemap.xml", "/static/icon.svg"]
)
async def test_xml_in_a_browser_runs_no_script(
    client: Client, publish: Publish, get: Get, path: str
) -> None:
    """Every XML document has a policy and its type is not guessed; also as browsers ask for it."""
    await publish()
    for headers in ({}, {"Sec-Fetch-Dest": "document"}):
        async with client.get(path, headers=headers) as response:
            assert 200 == response.status
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert "nosniff" == response.headers["X-Content-Type-Options"]
