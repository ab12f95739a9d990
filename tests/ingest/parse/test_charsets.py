"""Charsets and links: what parsers share."""

from __future__ import annotations

import pytest

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
    ],
)
def test_decode(body: bytes, labels: list[str], expected: str) -> None:
    """UTF-8 if it can be, else the first label that works, else the better guess of two."""
    assert expected == decode(body, *labels)


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
