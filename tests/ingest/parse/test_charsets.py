"""Charsets and links: what parsers share."""

from __future__ import annotations

import pytest

from workers.ingest.parse import parse
from workers.ingest.parse.charsets import decode
from workers.ingest.parse.links import absolute, resolved


@pytest.mark.parametrize(
    ("body", "labels", "expected"),
    [
        (b"", [], ""),
        (b"abc", ["utf-16"], "abc"),
        ("é".encode(), ["iso-8859-1"], "é"),
        ("\ufeffé".encode(), [], "é"),
        ("é".encode("latin-1"), [], "é"),
        ("“é”".encode("cp1252"), ["ISO-8859-1 "], "“é”"),
        ("Ω".encode("iso-8859-7"), ["iso-8859-7", "iso-8859-1"], "Ω"),
        ("Ω".encode("iso-8859-7"), ["", "nonsense", "iso-8859-7"], "Ω"),
        ("Ω".encode("iso-8859-7"), ["hex", "idna", "undefined", "iso-8859-7"], "Ω"),
        ("日本".encode("iso-2022-jp"), ["iso-2022-jp"], "日本"),
        ("日本".encode("shift_jis"), ["utf-8", "shift_jis"], "日本"),
        ("hé".encode("utf-16-le"), ["utf-16-le"], "hé"),
        ("éééé".encode()[:-1], ["utf-8"], "ééé\ufffd"),
        ("éééé".encode() + b"\xe9", ["latin-1"], "Ã©Ã©Ã©Ã©é"),
        ("caf\xe9 \xe0".encode("latin-1"), ["utf-8"], "café à"),
        ("朱镕基与堃".encode("gb18030"), ["gb2312"], "朱镕基与堃"),
        ("①港の㈱".encode("cp932"), ["Shift_JIS"], "①港の㈱"),
        ("똠방각하".encode("cp949"), ["EUC-KR"], "똠방각하"),
        ("Новости".encode("cp1251"), ["cp-1251"], "Новости"),
        ("Новости".encode("cp1251"), ["win1251"], "Новости"),
        ("Новости".encode("cp1251"), ["iso-8859-1", "windows-1251"], "Новости"),
        ("Älvik".encode("cp850"), ["ibm850"], "Älvik"),
        (
            "港".encode("euc_jp") + b"\xff" + "ニュース".encode("euc_jp"),
            ["euc_jp"],
            "港\ufffdニュース",
        ),
        ("Новости порта".encode("cp1251"), [], "Новости порта"),
        (
            "渡轮在昨晚的风暴后返回港口".encode("gb18030"),
            ["nonsense"],
            "渡轮在昨晚的风暴后返回港口",
        ),
        ("フェリーは港に戻った".encode("euc_jp"), [], "フェリーは港に戻った"),
        ("Größe im Café".encode("cp1252"), [], "Größe im Café"),
        (b"\xff\xfe" + "hé".encode("utf-16-le"), ["iso-8859-1"], "hé"),
    ],
)
def test_decode(body: bytes, labels: list[str], expected: str) -> None:
    """UTF-8 if it can be, else the first label that works, else what the bytes look like."""
    assert expected == decode(body, *labels)


@pytest.mark.parametrize(
    ("declared", "charset", "content_type"),
    [
        ("iso-8859-1", "utf-8", "text/xml; charset=utf-8"),
        ("iso-8859-1", "utf-8", "text/xml"),
        ("gb2312", "gb18030", "text/xml"),
        ("utf-8", "cp1251", "text/xml; charset=windows-1251"),
        ("windows-1251", "cp1251", "text/xml; charset=ISO-8859-1"),
        ("cp-1251", "cp1251", "application/rss+xml"),
        ("utf-16", "utf-8", "text/xml"),
    ],
)
def test_feeds(declared: str, charset: str, content_type: str) -> None:
    """Header, declaration and bytes disagree; the title is read all the same, by any parser."""
    title = "香港" if charset == "gb18030" else "Порт"
    rss = f"<rss><channel><item><title>{title}</title></item></channel></rss>"
    body = f'<?xml version="1.0" encoding="{declared}"?>{rss}'.encode(charset)
    assert [title] == [entry.title for entry in parse(body, content_type=content_type).entries]
    json = f'{{"version":"","items":[{{"id":"1","title":"{title}"}}]}}'.encode(charset)
    content_type = f"application/json; charset={charset}"
    assert [title] == [entry.title for entry in parse(json, content_type=content_type).entries]


@pytest.mark.parametrize(
    ("base", "link", "expected"),
    [
        ("http://a.example/b/c", " d ", "http://a.example/b/d"),
        ("http://a.example/b/c", "//o.example/d", "http://o.example/d"),
        ("http://a.example/b", "", "http://a.example/b"),
        ("http://a.example/b", "http://[x", "http://a.example/b"),
        ("", "http://[x", ""),
        ("http://[x", "d", "http://[x"),
        ("", "/d", "/d"),
    ],
)
def test_absolute(base: str, link: str, expected: str) -> None:
    """A link that cannot be read counts as absent: the result is the base."""
    assert expected == absolute(base, link)


@pytest.mark.parametrize(
    ("link", "expected"), [("d", "http://a.example/d"), ("", ""), ("//[x", "")]
)
def test_resolved(link: str, expected: str) -> None:
    """Without a link the result is empty."""
    assert expected == resolved("http://a.example/", link)
