"""`dateline sources preview`: its text, and what it says without a worker."""

from __future__ import annotations

import shlex

import orjson
import pytest

from service.cli.preview import show_preview
from service.storage import previews
from tests.cli.test_commands import dateline, redis_url

__all__ = ["redis_url"]

PREVIEW = {
    "url": "http://x.example/", "kind": "selected", "error": "", "next_page": "http://x.example/2",
    "counts": {"article": 2, "dropped": 0, "rejected": 1}, "selected": {"link": 2, "image": 0},
    "items": [
        {"number": 1, "status": "article", "reason": "", "raw": {"title": ["T"], "link": ["/1"]},
         "article": {"title": "T", "url": "http://x.example/1", "tags": ["Fog"]},
         "rules": ["tag Fog: added the tag Fog"]},
        {"number": 2, "status": "rejected", "reason": "no link", "raw": {"title": ["\x1b[31mX"]}},
    ],
    "proposals": [{"select": {"items": "a[b='c']"}, "items": 3, "titles": ["One"]}],
}  # fmt: skip


def test_a_preview_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What was found, each value beside what was read of it, and selectors that a shell takes."""
    show_preview(PREVIEW)
    lines = capsys.readouterr().out.splitlines()
    assert [
        "http://x.example/: selected, 2 articles, 0 dropped, 1 rejected",
        "  link       selected in 2 of 3 items",
        "  image      selected in 0 of 3 items  ← selects nothing",
        "next page: http://x.example/2",
        "1. article",
        "   title     T",
        "   link      /1",
        "             → http://x.example/1",
        "   tags      Fog",
        "   rule      tag Fog: added the tag Fog",
        "2. rejected: no link",
        "   title     \\x1b[31mX",
        "… and 1 more; --limit shows up to 100",
        "proposal 1: 3 items, such as 'One'",
    ] == lines[:-1]
    option, text = shlex.split(lines[-1])
    assert ("--select", {"items": "a[b='c']"}) == (option, orjson.loads(text))


@pytest.mark.usefixtures("redis_url")
def test_a_preview_needs_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One clear line without it, and for a wrong option."""
    monkeypatch.setattr(previews, "TAKE_S", 0)
    result = dateline("sources", "preview", "http://x.example/", "--guess")
    assert (1, True) == (result.exit_code, "no ingest worker takes previews" in result.stderr)
    result = dateline("sources", "preview", "http://x.example/", "--limit", "0")
    assert "dateline: --limit: must be a number from 1 to 100" in result.stderr
