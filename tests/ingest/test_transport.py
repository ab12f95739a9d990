"""How the requests of a source are sent: proxies, certificates, user agent and cookies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from service.articles.times import to_ms
from service.settings import Settings
from service.sources.schedule import Poll
from service.sources.source import make_source
from service.storage.store import Store
from tests import certificates
from tests.certificates import Certificates
from tests.conftest import LOOPBACK, Clock
from tests.fakes import FakeSite
from tests.ingest.polling import RSS, articles, polled, polling
from tests.proxy import FakeProxy
from tests.waiting import wait_until

SCHEMES = ["http", "socks5", "socks5h"]


async def first_poll(
    store: Store, settings: Settings, clock: Clock, url: str, **fields: object
) -> Poll:
    """The first poll of a source with these settings."""
    source = make_source({"url": url, **fields}, created=clock())
    await store.sources.add(source, due_ms=to_ms(clock()))
    async with polling(store, settings, clock):

        async def done() -> Poll | None:
            poll = await store.sources.poll(source.id)
            return poll if poll.polled else None

        poll = await wait_until(done)
    assert isinstance(poll, Poll)
    return poll


@asynccontextmanager
async def tls_site(made: Certificates) -> AsyncIterator[tuple[int, list[web.BaseRequest]]]:
    """A site with TLS that answers RSS: its port, and the requests."""
    requests: list[web.BaseRequest] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        requests.append(request)
        if request.path == "/moved":
            return web.Response(status=302, headers={"Location": request.query["to"]})
        return web.Response(text=RSS)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 0, ssl_context=made.server).start()
    yield runner.addresses[0][1], requests
    await runner.cleanup()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("login", ["", "me:s%40cret"])
async def test_a_proxy_is_used_and_resolves_names(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, scheme: str, login: str
) -> None:
    """Also names that nobody else knows; with the name and password that it wants."""
    site.put("/f", RSS)
    port = int(site.url.rpartition(":")[2])
    async with FakeProxy(login=login.replace("%40", "@")) as proxy:
        url = proxy.url(scheme).replace("s@cret", "s%40cret")
        poll = await first_poll(store, settings, clock, f"http://hidden.onion:{port}/f", proxy=url)
    assert "1 articles, 1 new" in poll.result
    assert [("http" if scheme == "http" else "socks", "hidden.onion", port)] == proxy.asked


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_that_refuses_is_a_failure_without_its_password(
    store: Store, settings: Settings, clock: Clock, scheme: str
) -> None:
    """The poll's result is shown to everybody who may see sources."""
    async with FakeProxy(login="me:other") as proxy:
        url = proxy.url(scheme).replace("other", "secret")
        poll = await first_poll(store, settings, clock, "https://x.example/f", proxy=url)
    assert 1 == poll.failures
    assert "proxy" in poll.result
    assert "secret" not in poll.result
    assert [] == proxy.asked


@pytest.mark.parametrize("scheme", ["http", "socks5"])
@pytest.mark.parametrize(
    "target", ["http://10.0.0.1/", "http://127.1:8080/", "http://0x7f.1/", "http://[::1]:9/"]
)
async def test_a_proxy_is_not_asked_for_what_strangers_may_not_reach(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, scheme: str, target: str
) -> None:
    """It may stand where those addresses lead somewhere."""
    site.put("/f", status=302, Location=target)
    port = int(site.url.rpartition(":")[2])
    async with FakeProxy() as proxy:
        poll = await first_poll(
            store, settings, clock, f"http://hidden.example:{port}/f", proxy=proxy.url(scheme)
        )
    assert "is not a public address" in poll.result
    assert 1 == len(proxy.asked)


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_a_proxy_itself_is_judged_as_what_the_operator_typed(
    store: Store, settings: Settings, clock: Clock, scheme: str
) -> None:
    """A private one needs ALLOWED_NETWORKS."""
    closed = settings.model_copy(update={"allowed_networks": ()})
    async with FakeProxy() as proxy:
        poll = await first_poll(store, closed, clock, "http://x.example/f", proxy=proxy.url(scheme))
    assert "is not a public address; DATELINE_ALLOWED_NETWORKS" in poll.result
    assert [] == proxy.asked


@pytest.mark.parametrize("through", ["", "http", "socks5"])
@pytest.mark.parametrize(
    ("trust", "expected"),
    [
        ("tls_ca", "1 new"),
        ("tls_fingerprint", "1 new"),
        ("", "certificate"),
        ("wrong", "fingerprint"),
    ],
)
async def test_certificates_that_are_trusted(
    store: Store, settings: Settings, clock: Clock, tmp_path: Path, through: str, trust: str,
    expected: str,
) -> None:  # fmt: skip
    """By the authority that signed them, or by a fingerprint; also through a proxy."""
    made = certificates.made_in(tmp_path)
    fields: dict[str, object] = {
        "tls_ca": {"tls_ca": made.ca},
        "tls_fingerprint": {"tls_fingerprint": made.fingerprint.upper()},
        "": {},
        "wrong": {"tls_fingerprint": "0" * 64},
    }[trust]  # type: ignore[assignment]
    async with tls_site(made) as (port, requests), FakeProxy() as proxy:
        if through:
            fields["proxy"] = proxy.url(through)
        poll = await first_poll(store, settings, clock, f"https://127.0.0.1:{port}/f", **fields)
    assert expected in poll.result
    assert (1 if trust in ("tls_ca", "tls_fingerprint") else 0) == len(requests)
    assert bool(through) == bool(proxy.asked)


async def test_trust_and_cookies_are_for_the_own_host_and_the_user_agent_for_all(
    store: Store, settings: Settings, site: FakeSite, clock: Clock, tmp_path: Path
) -> None:
    """A redirect elsewhere is sent as any other request, under the source's name."""
    settings = settings.model_copy(update={"open_networks": LOOPBACK, "poll_spacing_s": 0.0})
    site.put("/f", RSS)
    made = certificates.made_in(tmp_path)
    async with tls_site(made) as (port, requests):
        url = f"https://127.0.0.1:{port}/moved?to="
        own = {"tls_ca": made.ca, "cookies": {"sid": "secret"}, "user_agent": "Reader/1"}
        poll = await first_poll(store, settings, clock, f"{url}{site.url}/f", **own)
        assert "1 new" in poll.result
        sent = [
            (r.headers["User-Agent"], r.headers.get("Cookie")) for r in requests + site.requests
        ]
        assert [("Reader/1", "sid=secret"), ("Reader/1", None)] == sent
        other = f"https://127.0.0.2:{port}/f"
        poll = await first_poll(store, settings, clock, url + other, **own)
        assert "certificate" in poll.result


async def test_a_source_that_may_not_be_polled_now_waits_for_its_window(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """From its first poll on; NOON is a Monday."""
    site.put("/f", RSS)
    source = make_source({"url": f"{site.url}/f", "window": "tue 8-9"}, created=clock())
    await store.sources.add(source, due_ms=to_ms(clock()))
    opens = clock().replace(day=6, hour=8)
    async with polling(store, settings, clock):

        async def postponed() -> bool:
            due = await store.client.zscore("dateline:{0}:sources:due", source.id)
            return due == to_ms(opens)

        await wait_until(postponed)
        assert [] == site.requests
        clock.time = opens
        poll = await polled(store, source.id, "1 new")
    assert to_ms(opens) < poll.due_ms < to_ms(opens.replace(hour=9))


async def test_only_a_summary_is_kept(
    store: Store, settings: Settings, site: FakeSite, clock: Clock
) -> None:
    """The content is in no field; the rest of the article is as ever."""
    content = f"<p>First words.</p><p>{'Later words. ' * 200}</p>"
    item = (
        f"<item><title>T</title><guid>g</guid><link>http://x.example/a</link><category>N</category>"
        f"<enclosure url='http://x.example/a.mp3' type='audio/mpeg'/>"
        f"<description><![CDATA[{content}]]></description></item>"
    )
    site.put("/f", f"<rss><channel><title>C</title>{item}</channel></rss>")
    await first_poll(store, settings, clock, f"{site.url}/f", summary_only=True)
    (article,) = await articles(store)
    assert article.summary.startswith("First words. Later words.")
    assert len(article.summary) <= 500
    assert f"<p>{article.summary}</p>" == article.content_html
    assert ("T", ("n",), 1) == (article.title, article.categories, len(article.enclosures))
