"""The words of the house: one name a noun, and plain English for readers of all countries."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.running import ROOT

# Name of before → the one that stands for it now.
NAMES = {
    "AckWriter": "Acks", "ArchiveLinks": "Chain", "ArticleCache": "Shelf", "Backlog": "Past",
    "CachingConnection, CachingSite": "Repeated", "Cursor": "Line",
    "DeliverWorker": "Deliverer", "DeliveryContext": "Means", "Detail": "Form",
    "Endpoint": "Sender", "EncodedArticle": "Packed", "Event": "Message", "HubClient, "
    "TopicSubscription, HubSubscription": "Subscriber|Subscribers", "IndexChange": "Touch",
    "LargeBodyPermit": "Leave", "PageCursor": "Place", "PageLoader": "Documents",
    "ParserPool": "Readers", "Payload": "Parcel", "poll_once": "Taker",
    "PushConsumer": "Pushed", "redis_errors_as_unavailable": "translated",
    "SelectionGroup": "Group", "SlotPool, Slots": "Lane|Lanes", "WebhookEndpoint": "Hook|Hooks",
    "to_public": "shown_once|all_shown", "aliases_of": "kin_of", "fingerprint": "likeness",
}  # fmt: skip
PHRASES = (
    "for ever", "(?:is|are|was|were) told", "(?:who|Who) polls", "sees? to", "put off",
    "comes to be",
    "is no URL",
    "(?:whoever|Whoever)",
)  # fmt: skip
CODE = [path for folder in ("service", "workers") for path in (ROOT / folder).rglob("*.py")]
# This file names the phrases; decisions.md is a diary: it says what was said then.
TESTS = [
    path
    for folder in ("tests", "chaos")
    for path in (ROOT / folder).rglob("*.py")
    if path != Path(__file__)
]
PROSE = [*CODE, *TESTS, ROOT / "README.md", ROOT / "CHANGELOG.md"] + [
    path for path in (ROOT / "docs").glob("*.md") if path.name != "decisions.md"
]


@cache
def text_of(path: Path) -> str:
    """The text of a file, which is read once for all words."""
    return path.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_noun_has_one_name(name: str) -> None:
    """No class, function or import of the old name is left."""
    old = re.compile(rf"\b(?:class|def|import)\s(?:[\w, ]*\b)?(?:{NAMES[name]})\b")
    assert [] == [f"{p.relative_to(ROOT)}: {m}" for p in CODE for m in old.findall(text_of(p))]


@pytest.mark.parametrize("phrase", PHRASES)
def test_plain_english(phrase: str) -> None:
    """Is notified, clients that poll, handle, forever, postponed, becomes, is not."""
    found = re.compile(rf"\b{phrase}\b")
    assert [] == [
        f"{path.relative_to(ROOT)}: {line}"
        for path in PROSE
        if found.search(text_of(path))
        for line in text_of(path).splitlines()
        if found.search(line)
    ]
