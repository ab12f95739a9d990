"""`dateline backup` and `restore`, as their users run them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from service.cli.backup import names_remedy
from service.cli.main import main
from service.errors import DatelineError
from service.settings import Settings
from service.storage import keys
from service.storage.embedded_redis import Embedded, end, find_binary
from service.storage.store import Store, open_store
from tests.conftest import NOON
from tests.running import call
from tests.storage.backups import drafts


@pytest.mark.timeout(60)
async def test_from_one_installation_to_another(
    base: Path, store: Store, settings: Settings
) -> None:
    """Backup from a Redis that is named, restore into the one of a new data dir, which is started
    for it and stopped; a second restore is refused."""
    await store.articles.append(drafts("One", "Two"), now=NOON)
    redis_url = settings.redis_url
    status, out, err = await call("backup", "b", "--json", cwd=base, REDIS_URL=redis_url)
    assert (0, "") == (status, err)
    shown = orjson.loads(out)
    assert ("b", 2, 2) == (shown["folder"], shown["articles"], shown["events"])
    assert "the file api-token" in shown["left_out"]
    status, out, err = await call("backup", "b", cwd=base, REDIS_URL=redis_url)
    assert (1, "dateline: b holds a complete backup: name another folder, or remove it\n") == (
        status,
        err,
    )
    data_dir = base / "data"
    status, out, err = await call("restore", "b", cwd=base, DATA_DIR=str(data_dir))
    assert 0 == status, err
    assert "articles       2\n" in out
    status, out, err = await call("restore", "b", cwd=base, DATA_DIR=str(data_dir))
    assert 1 == status
    assert "Redis is not empty" in err
    server = Embedded(binary=find_binary(), folder=data_dir / "redis", appendfsync="no")
    process = await server.start()
    async with open_store(settings.model_copy(update={"redis_url": server.url})) as opened:
        assert None not in await opened.articles.get([draft.id for draft in drafts("One", "Two")])
    await end(process)


@pytest.mark.timeout(60)
async def test_a_restore_into_more_shards(base: Path, store: Store, settings: Settings) -> None:
    """The summary names the streams that others read from now on; without a multiple it is refused
    before anything is written."""
    await store.articles.append(drafts("One", "Two"), now=NOON)
    count = len(store.event_stream.shards)
    status, _, err = await call(
        "backup", "b", cwd=base, REDIS_URL=settings.redis_url, SHARDS=str(count)
    )
    assert 0 == status, err
    data_dir = str(base / "data")
    status, _, err = await call("restore", "b", "--shards", "0", cwd=base, DATA_DIR=data_dir)
    assert 1 == status
    assert "DATELINE_SHARDS" in err
    more = ("restore", "b", "--shards", str(2 * count), "--json")
    status, out, err = await call(*more, cwd=base, DATA_DIR=data_dir)
    assert 0 == status, err
    assert [keys.stream(n) for n in range(2 * count)] == orjson.loads(out)["streams"]


@pytest.mark.timeout(60)
async def test_a_cut_backup_is_named_and_nothing_is_started_for_it(
    base: Path, store: Store, settings: Settings
) -> None:
    """A restore of it writes nothing, not even a data dir; the next backup says what it does."""
    await store.articles.append(drafts("One"), now=NOON)
    (base / "b").mkdir()
    (base / "b" / "articles.msgpack.zst").write_bytes(b"half")
    status, _, err = await call("restore", "b", cwd=base, DATA_DIR=str(base / "data"))
    assert 1 == status
    assert err.startswith("dateline: b holds no complete backup: manifest.json")
    assert not (base / "data").exists()
    status, _, err = await call("backup", "b", cwd=base, REDIS_URL=settings.redis_url)
    assert (0, "b held a backup that was cut: it is begun anew\n") == (status, err)


def test_a_redis_that_goes_away_is_reported_with_the_remedy() -> None:
    """What is at fault, and what to do once it is back."""
    faults = {
        "Redis cannot serve now: gone: run it again": RedisConnectionError("gone"),
        "may not read its file at its next start: run it again": ResponseError("MISCONF errors"),
    }
    for message, fault in faults.items():
        with pytest.raises(DatelineError, match=message), names_remedy("run it again"):
            raise fault


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_the_help_warns_of_secrets(command: str) -> None:
    """Who copies the files must know what is in them."""
    assert "SECRETS" in CliRunner().invoke(main, [command, "--help"]).output
