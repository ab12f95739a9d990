"""Everything that a server shows of its articles, read by parsers that forgive nothing.

Each reader returns what tests compare: the ids of the articles that an output holds.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from tests.served import NS

_UNREADABLE = frozenset(
    character
    for character in map(chr, range(0x110000))
    if character not in "\t\n\r"
    and (
        unicodedata.category(character) in ("Cc", "Cs")
        or ord(character) & 0xFFFE == 0xFFFE
        or 0xFDD0 <= ord(character) <= 0xFDEF
    )
)
_UNREADABLE_PATTERN = re.compile("[" + "".join(map(re.escape, sorted(_UNREADABLE))) + "]")
_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]+)|([0-9]+));?")
_ARTICLE_PATH = re.compile(r"/articles/([0-9a-f-]{36})")


def check_text(text: str, *, where: str) -> str:
    """Return a text in which no character is a control, a surrogate or a non-character."""
    match = _UNREADABLE_PATTERN.search(text)
    assert not match, f"{where}: {text[max(0, match.start() - 40) : match.end() + 40]!r}"
    return text


def json_value(body: bytes, *, where: str) -> Any:
    """Decode JSON (RFC 8259): UTF-8, every name once, no NaN, no unreadable character."""

    def constant(name: str) -> None:
        raise AssertionError(f"{where}: {name}")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        assert len(pairs) == len(fields), f"{where}: {pairs}"
        return fields

    value = json.loads(body.decode(), parse_constant=constant, object_pairs_hook=once)
    # Together: most strings are short, and there are hundreds of thousands.
    check_text("\n".join(_strings(value)), where=where)
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def xml_root(body: bytes, *, where: str) -> Any:
    """Parse XML 1.0, with nothing recovered."""
    check_text(body.decode(), where=where)
    root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, recover=False))
    for element in root.iter():
        for text in (element.text, element.tail, *element.attrib.values()):
            check_text(str(text or ""), where=where)
    return root


def feed_ids(body: bytes, extension: str, *, where: str) -> list[str]:
    """Ids of the articles in an RSS, Atom or JSON feed, in its order."""
    if extension == "json":
        ids = [item["id"] for item in json_value(body, where=where)["items"]]
    else:
        root = xml_root(body, where=where)
        ids = root.xpath("channel/item/guid/text() | a:entry/a:id/text()", namespaces=NS)
    return [str(name).removeprefix("urn:uuid:") for name in ids]


def page_ids(body: bytes, *, where: str) -> list[str]:
    """Ids of the articles that an HTML page shows; the page is whole and has no script."""
    text = check_text(body.decode(), where=where)
    for match in _REFERENCE.finditer(text):
        code = int(match[1], 16) if match[1] else int(match[2])
        assert code < 0x110000, where
        check_text(chr(code), where=where)
    assert text.rstrip().endswith("</html>"), where
    root = lxml_html.document_fromstring(body, parser=lxml_html.HTMLParser(encoding="utf-8"))
    assert 1 == len(root.xpath("//main")), where
    assert [] == root.xpath("//script | //iframe | //object | //*[@onerror or @onload]"), where
    for url in root.xpath("//@href | //@src"):
        assert url.startswith(("/", "http://", "https://", "mailto:", "#")), (where, url)
    stories = root.xpath("//article[contains(@class, 'story')]")
    # Markup of an article that ended early would leave its story, or the page's own frame.
    assert all(story.xpath("ancestor::main") for story in stories), where
    links = [story.xpath(".//h2/a/@href") for story in stories]
    return [_ARTICLE_PATH.fullmatch(href[0])[1] for href in links if href]  # type: ignore[index]


def event_frames(stream: str) -> list[dict[str, str]]:
    """The events of a stream, as WHATWG HTML 9.2.6 reads them: `id`, `event`, `data`."""
    frames, frame = [], dict[str, str]()
    for line in re.split(r"\r\n|\n|\r", stream):
        name, _, value = line.partition(":")
        if line and name:
            frame[name] = f"{frame[name]}\n{value[1:]}" if name in frame else value[1:]
        elif not line:
            frames += [frame] if "data" in frame else []
            frame = {}
    return frames
