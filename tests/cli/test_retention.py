"""`dateline retention`: what the archive keeps, and what a policy would remove."""

from __future__ import annotations

from typing import Any

import pytest

from service.articles.retention import RetentionPolicy
from service.errors import InvalidSettings
from service.settings import Settings
from service.storage.removals import Pass
from service.storage.store import Store
from tests.cli.test_commands import dateline, on_store, publish, redis_url, shown

__all__ = ["redis_url"]
POLICY = "90d, News/Local=5 articles"


def test_what_is_kept_is_shown(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything by default; else the rules in one spelling, and the last pass."""
    assert "policy         keep everything" in dateline("retention").stdout
    monkeypatch.setenv("DATELINE_RETENTION", POLICY)
    done = Pass(ended="2026-11-28T12:00:00Z", policy="all=90d", removed=3, examined=9)

    async def work(store: Store) -> None:
        await store.removals.note_pass(done)

    on_store(redis_url, work)
    result: Any = shown("retention")
    assert "all=90d, news/local=5 articles" == result["policy"]
    assert {"ended": done.ended, "policy": "all=90d", "removed": 3, "examined": 9} == (
        result["last_pass"]
    )
    status: Any = shown("status")
    assert (3, 0) == (status["retention"]["removed"], status["erasing"])


def test_a_dry_run_names_what_would_go(redis_url: str) -> None:
    """By category, with dates and examples, and nothing goes; rules need not be the setting's."""
    publish(redis_url, "Fog", "Tide", "Gale")
    result: Any = shown("retention", "--dry-run", "--policy", "1 article")
    assert (3, 2) == (result["examined"], result["removed"])
    assert ["media/news"] == list(result["categories"])
    loss = result["categories"]["media/news"]
    assert 2 == loss["count"]
    assert loss["oldest"] <= loss["newest"]
    assert 2 == len(loss["examples"])
    assert set(" ".join(loss["examples"]).split()) & {"Fog", "Tide", "Gale"}
    text = dateline("retention", "--dry-run", "--policy", "1 article").stdout
    assert "categories     media/news count 2, oldest 20" in text
    kept: Any = shown("retention", "--dry-run", "--policy", "keep")
    assert (3, 0) == (kept["examined"], kept["removed"])
    status: Any = shown("status")
    assert 3 == status["articles"]


@pytest.mark.usefixtures("redis_url")
def test_rules_that_are_not_clear_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a dry run and as a setting, where every fault is listed at the start."""
    result = dateline("retention", "--dry-run", "--policy", "365")
    assert 1 == result.exit_code
    assert "--policy: needs an age" in result.stderr
    assert 1 == dateline("retention", "--policy", "365d").exit_code
    monkeypatch.setenv("DATELINE_RETENTION", "365d, news=7")
    result = dateline("status")
    assert 1 == result.exit_code
    assert "DATELINE_RETENTION='365d, news=7': in 'news=7': needs an age" in result.stderr


def test_the_setting_reaches_child_processes() -> None:
    """`dateline up` hands it on to its workers in the environment."""
    settings = Settings.from_env({"DATELINE_RETENTION": POLICY}, env_file=None)
    again = Settings.from_env(settings.to_env(), env_file=None)
    assert RetentionPolicy.parse(POLICY) == again.retention
    with pytest.raises(InvalidSettings, match="has two rules"):
        Settings.from_env({"DATELINE_RETENTION": "7d, 8d"}, env_file=None)
