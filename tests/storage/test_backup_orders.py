"""Orders for webhooks that wait, or are being carried out, while a backup is taken."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.articles.event import position
from service.manage import webhooks
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from tests.conftest import NOON
from tests.loops import at_work
from tests.receiver import FakeReceiver
from tests.storage.backups import backed_up, drafts, restored
from tests.waiting import wait_until
from workers.deliver.worker import DeliverWorker

pytestmark = pytest.mark.one_shard

AN_HOUR_MS = 3_600_000


async def with_orders(
    store: Store, receiver: FakeReceiver, *, letters: tuple[tuple[str, str], ...] = (), **state: str
) -> tuple[str, str]:
    """(id of a webhook that has been sent everything, its position), in a state as it is when
    events were published, and orders came, after the cut; `{late}` is a position among those."""
    added = await webhooks.add(store, {"url": receiver.url}, now=NOON)
    receiver.secret = added["secret"]
    await store.articles.append(drafts("One", "Two"), now=NOON)
    cut = await store.event_stream.last_id(0)
    late = f"{position(cut)[0] + AN_HOUR_MS}-0"
    client: Any = store.client
    planted = {name: text.replace("LATE", late).replace("CUT", cut) for name, text in state.items()}
    replay = planted.pop("replays", "")
    await client.hset(keys.endpoint(0, added["id"]), mapping={"cursor:0": cut, **planted})
    if replay:
        await client.rpush(keys.replays(0, added["id"]), replay)
    for first, last in letters:
        await client.xadd(
            keys.dead_letters(0, added["id"]),
            {"shard": "0", "first": {"CUT": cut, "LATE": late}[first], "last": late, "events": "2"}
            | ({"last": cut} if last == "CUT" else {}),
        )
    return added["id"], cut


async def sent_after(target: Store, settings: Settings, receiver: FakeReceiver) -> list[str]:
    """Titles that the webhook gets once an article is published in the restored archive."""

    async def came() -> bool:
        return "Three" in [message["data"]["title"] for message in receiver.messages]

    async with at_work(DeliverWorker(target, settings, now=lambda: datetime.now(UTC)).run):
        await target.articles.append(drafts("Three"), now=datetime.now(UTC))
        await wait_until(came)
    return [message["data"]["title"] for message in receiver.messages]


async def test_a_resume_from_now_passes_nothing_that_comes_after_the_restore(
    base: Path, store: Store, target: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """`now` was after the cut; in the restored archive it is the end of the stream."""
    webhook_id, cut = await with_orders(
        store, receiver, resume='{"at":"2026-01-05T12:00:00Z","0":"LATE"}', disabled="410"
    )
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    order = orjson.loads((await target.webhooks.state(webhook_id)).resume)
    assert {"at": "2026-01-05T12:00:00Z", "0": cut} == order
    assert ["Three"] == await sent_after(target, settings, receiver)


async def test_a_resume_from_before_is_left_as_it_is(
    base: Path, store: Store, target: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """It orders what is in the backup to be sent again."""
    await with_orders(store, receiver, resume='{"0":"1-0"}')
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    assert ["One", "Two", "Three"] == await sent_after(target, settings, receiver)


@pytest.mark.parametrize("until", ["cursor:0 LATE", "replay LATE"])
async def test_a_replay_under_way_ends_with_the_backup(
    base: Path, store: Store, target: Store, settings: Settings, receiver: FakeReceiver, until: str
) -> None:
    """Neither it nor a batch that failed waits for events that are not in the backup."""
    webhook_id, cut = await with_orders(
        store, receiver, replays="0 0-0 LATE", replay="LATE", until=until
    )
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    state = await target.webhooks.state(webhook_id)
    assert ("", cut) == (state.until, state.replay)
    assert [f"0 0-0 {cut}"] == [str(each) for each in state.replays]
    assert ["Three"] == await sent_after(target, settings, receiver)


async def test_dead_letters_name_events_of_the_backup_alone(
    base: Path, store: Store, target: Store, settings: Settings, receiver: FakeReceiver
) -> None:
    """A retry of what was given up sends what is there, and does not wait for the rest."""
    webhook_id, cut = await with_orders(
        store, receiver, letters=(("CUT", "CUT"), ("CUT", "LATE"), ("LATE", "LATE"))
    )
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    letters = await target.webhooks.dead_letters(webhook_id, limit=10)
    assert [(cut, cut)] * 2 == [(letter["first"], letter["last"]) for letter in letters]
    await webhooks.replay(target, webhook_id, {"failures_since": "2020-01-01T00:00:00Z"})

    async def is_over() -> bool:
        return not (await target.webhooks.state(webhook_id)).replays

    async with at_work(DeliverWorker(target, settings, now=lambda: datetime.now(UTC)).run):
        await wait_until(is_over)
    assert ["Two", "Two"] == [message["data"]["title"] for message in receiver.messages]


async def test_the_state_that_no_version_wrote_costs_its_webhook_alone(
    base: Path, store: Store, target: Store, receiver: FakeReceiver
) -> None:
    """It is in the backup as it is, and so is everything else."""
    webhook_id, _ = await with_orders(store, receiver, resume="no JSON")
    await backed_up(store, base / "backup")
    await restored(target, base / "backup")
    assert "no JSON" == (await target.webhooks.state(webhook_id)).resume
    assert 2 == await target.client.execute_command("XLEN", keys.stream(0))
