"""Settings that decide how a source is polled: checks, secrets, and their way through OPML."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from service.errors import InvalidInput
from service.feeds.opml import FeedLink
from service.manage import sources
from service.settings import Settings
from service.sources.source import make_source
from service.storage.store import Store
from tests import certificates
from tests.conftest import NOON
from tests.fakes import FakeSite
from tests.ingest.test_importer import take
from tests.sources.test_source import WHEN

PEM = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
SECRETS = {
    "headers": {"X-Key": "secret1"},
    "cookies": {"sid": "secret2", "b": ""},
    "proxy": "socks5://me:secret3@proxy.example:1081",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user_agent", "a\r\nHost: b"), ("user_agent", "ü"), ("user_agent", 5),
        ("user_agent", "a" * 301),
        ("cookies", "a=b"), ("cookies", {"a b": "c"}), ("cookies", {"a": "secret; d=e"}),
        ("cookies", {"a": "secret\r\n"}), ("cookies", {"a": 5}), ("cookies", {"": "b"}),
        ("proxy", "proxy.example:1080"), ("proxy", "ftp://a:secret@x.example"), ("proxy", 7),
        ("proxy", "socks5://"), ("proxy", "http://a:secret@x.example/path"),
        ("proxy", "http://x.example:99999"), ("proxy", "http://a:***@x.example:1"),
        ("proxy", "socks4://x.example:1"), ("proxy", "http://a\n.example"),
        ("tls_ca", "secret"), ("tls_ca", PEM.format("AAAA")), ("tls_ca", 5),
        ("tls_fingerprint", "ab"), ("tls_fingerprint", "z" * 64), ("tls_fingerprint", 5),
        ("window", "now"), ("window", 8), ("summary_only", "yes"), ("history", "all"),
        ("history", 1), ("full_text", "always"), ("full_text", 1), ("selector", "a[[b"),
        ("selector", "//a["), ("selector", 5),
    ],
)  # fmt: skip
def test_what_is_refused(name: str, value: object) -> None:
    """With the field's name, and no secret in the message."""
    with pytest.raises(InvalidInput) as caught:
        make_source({"url": "http://x.example/", name: value}, created=WHEN)
    assert name == caught.value.field
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("proxy", "http://Proxy.example", "http://proxy.example:8080"),
        ("proxy", "socks5h://a:b%40c@[::1]:9050/", "socks5h://a:b%40c@[::1]:9050"),
        ("proxy", "", ""), ("proxy", None, ""), ("user_agent", " X/1 ", "X/1"),
        ("tls_fingerprint", "SHA256:" + "AB:" * 31 + "AB", "ab" * 32),
        ("tls_fingerprint", None, ""), ("tls_ca", "", ""), ("window", " 8-18 ", "8-18"),
    ],
)  # fmt: skip
def test_what_is_taken(name: str, value: object, expected: str) -> None:
    """In several spellings, which are kept as one."""
    source = make_source({"url": "http://x.example/", name: value}, created=WHEN)
    assert expected == getattr(source, name)


def test_an_authority_and_a_fingerprint_exclude_each_other(tmp_path: Path) -> None:
    """Only one of them would count. Of an authority only certificates are kept, and no key."""
    made = certificates.made_in(tmp_path)
    text = f"words\n{(tmp_path / 'server.pem').read_text()}{made.ca}"
    source = make_source({"url": "https://x.example/", "tls_ca": text}, created=WHEN)
    assert (2, True) == (source.tls_ca.count("BEGIN CERTIFICATE"), made.ca in source.tls_ca)
    assert "KEY" not in source.tls_ca
    with pytest.raises(InvalidInput, match="tls_fingerprint"):
        make_source(
            {"url": "https://x.example/", "tls_ca": made.ca, "tls_fingerprint": "ab" * 32},
            created=WHEN,
        )


def test_secrets_are_never_shown() -> None:
    """Names of headers and cookies are, and a proxy without its password."""
    source = make_source({"url": "http://x.example/f", **SECRETS}, created=WHEN)
    shown = source.to_public()
    assert b"secret" not in orjson.dumps(shown)
    assert (["b", "sid"], ["X-Key"]) == (shown["cookies"], shown["headers"])
    assert "socks5://me:***@proxy.example:1081" == shown["proxy"]
    assert "secret" not in repr(source.transport)
    assert {"X-Key": "secret1", "Cookie": "sid=secret2; b="} == source.private_headers
    moved = source.moved("http://y.example/f", "")
    assert ({}, source.proxy) == (moved.private_headers, moved.transport.proxy)


async def test_the_note_of_missing_secrets_goes_as_they_are_set(store: Store) -> None:
    """One by one; what else it says stays, and other changes do not touch it."""
    lacks = "was exported without what is secret: set its "
    unknown = "this version does not know its colour"
    link = FeedLink(
        url="http://x.example/f", settings={"omitted": ["cookies", "headers"], "colour": "red"}
    )
    (answer,) = await sources.add_links(store, [link], now=NOON)
    notes = [
        (await sources.change(store, answer["id"], fields, now=NOON)).note
        for fields in ({"window": "8-18"}, {"cookies": {"a": "b"}}, {"auth": "me:secret"})
    ]
    assert [
        f"{lacks}cookies, headers; {unknown}", f"{lacks}headers; {unknown}", unknown
    ] == notes  # fmt: skip


async def test_settings_go_out_as_opml_and_come_back(store: Store, tmp_path: Path) -> None:
    """All that is not secret; what was left out is named. With secrets, all of it."""
    fields = {
        "url": "http://x.example/f", "categories": ["A", "B/C"], "mapping": {"a": "D"},
        "interval_s": 900.0, "paused": True, "history": "paged", "user_agent": "123",
        "tls_ca": certificates.made_in(tmp_path).ca, "window": "mon-fri 8-18",
        "summary_only": True, **SECRETS,
    }  # fmt: skip
    source, _ = await sources.add(store, fields, now=NOON)
    plain, _ = await sources.add(store, {"url": "http://y.example/f"}, now=NOON)
    for with_secrets in (False, True):
        document = await sources.exported(store, with_secrets=with_secrets)
        assert with_secrets is (b"secret" in document)
        for each in (source, plain):
            await store.sources.remove(each.id)
        answers = await sources.add_all(store, document, now=NOON)
        assert ["created"] * 2 == [answer["status"] for answer in answers]
        assert plain == await store.sources.get(plain.id)
        back = await store.sources.get(source.id)
        assert back
        if with_secrets:
            assert source == back
        else:
            hidden = {"headers": [], "cookies": [], "proxy": ""}
            note = "was exported without what is secret: set its cookies, headers, proxy"
            assert {**source.to_public(), **hidden, "note": note} == back.to_public()
            await store.sources.replace(source, now_ms=0)


async def test_a_list_with_a_wrong_setting_costs_that_feed_alone(store: Store) -> None:
    """Its setting is named; a feed without it would be polled in another way than was meant. What a
    later version has is noted."""
    attributes = (
        'proxy="nowhere"', 'unknown="1"', 'window="8-18"', 'url="http://z.example/"',
        'categories="[1]"', 'category="A"',
    )  # fmt: skip
    outlines = "".join(
        f'<outline text="{n}" xmlUrl="http://{n}.example/f" d:{attribute}/>'
        for n, attribute in enumerate(attributes)
    )
    body = f'<opml version="2.0" xmlns:d="urn:dateline:source"><body>{outlines}</body></opml>'
    answers = await sources.add_all(store, body.encode(), now=NOON)
    statuses = [answer["status"] for answer in answers]
    assert ["rejected", *["created"] * 4, "rejected"] == statuses
    assert answers[0]["error"].startswith("proxy: ")
    notes = {source.url: source.note for source in await store.sources.all()}
    assert {f"http://{n}.example/f" for n in (1, 2, 3, 4)} == notes.keys()
    assert "this version does not know its unknown" == notes["http://1.example/f"]


async def test_settings_of_a_list_that_was_fetched_are_not_taken(
    store: Store, settings: Settings
) -> None:
    """Its publisher must not send our requests through his proxy."""
    outline = '<outline text="A" xmlUrl="http://a.example/f" d:proxy="http://evil.example:8080"/>'
    body = f'<opml version="2.0" xmlns:d="urn:dateline:source"><body>{outline}</body></opml>'
    async with FakeSite() as site:
        site.put("/list", body)
        await take(store, settings, f"{site.url}/list")
    (source,) = await store.sources.all()
    assert ("http://a.example/f", "") == (source.url, source.proxy)
