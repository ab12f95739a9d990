"""`dateline erase`: asks, says what it removed, and refuses what is not known."""

from __future__ import annotations

from typing import Any

import orjson

from service.cli.main import main
from service.storage.store import Store
from tests.cli.test_commands import dateline, on_store, publish, redis_url, shown

__all__ = ["redis_url"]


def ids_in(redis_url: str) -> list[str]:
    """The ids of all articles."""

    async def work(store: Store) -> list[str]:
        return sorted([i async for chunk in store.articles.all_ids() for i in chunk])

    return on_store(redis_url, work)


def test_erasing_without_a_terminal_needs_yes(redis_url: str) -> None:
    """What would go is shown, and nothing is erased."""
    publish(redis_url, "Fog")
    (article_id,) = ids_in(redis_url)
    result = dateline("erase", article_id)
    assert 1 == result.exit_code
    assert f"{article_id}  Fog" in result.stderr
    assert "--yes" in result.stderr
    assert 0 == dateline("erase", article_id, "--yes").exit_code


def test_erasing_says_what_it_removed(redis_url: str) -> None:
    """Several at once, one named by its URL; again it changes nothing."""
    publish(redis_url, "Fog", "Tide")
    first, second = ids_in(redis_url)
    names = [first, f"http://news.example/articles/{second}", first]
    result: Any = shown("erase", *names, "--yes")
    assert [(first, "erased"), (second, "erased")] == [
        (article["id"], article["status"]) for article in result["articles"]
    ]
    assert 2 == result["deleted"]["events"]
    again: Any = shown("erase", first, "--yes")
    assert "unchanged" == again["articles"][0]["status"]
    text = dateline("erase", first, "--yes").stdout
    assert f"articles       id {first}, status unchanged" in text


def test_erasing_refuses_what_is_not_known(redis_url: str) -> None:
    """By name; what is no id at all, too."""
    publish(redis_url, "Fog")
    (known,) = ids_in(redis_url)
    unknown = "0279c64d-c2b4-54a6-91a0-27e24c50c73e"
    for name, reason in ((unknown, "no such article"), ("fog", "is not the id of an article")):
        result = dateline("erase", known, name, "--yes")
        assert 1 == result.exit_code
        assert name in result.stderr
        assert reason in result.stderr
    assert orjson.loads(dateline("status", "--json").stdout)["articles"] == 1
    assert "erase" in main.commands
