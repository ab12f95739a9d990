"""Parser processes: what they answer, and that no document can hurt the worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.articles.article import Draft, Entry
from service.articles.compose import compose
from service.articles.encoded import EncodedArticle, encode
from service.errors import ParseFailed
from service.sources.outcome import Hints
from tests.running import ROOT
from tests.waiting import wait_until, within
from workers.ingest import parser_pool, parser_process
from workers.ingest.documents import BATCH, ParseJob, read_document
from workers.ingest.parse import FeedLink
from workers.ingest.parse_report import LeftOut, ParseReport
from workers.ingest.parser_pool import ParserPool, open_parser_pool

RSS = (ROOT / "tests" / "data" / "k2.rss").read_bytes()
JOB = ParseJob(url="http://x.example/f", added_url="http://x.example/f")
URL = "http://x.example/f"


@pytest.fixture
async def pool() -> AsyncIterator[ParserPool]:
    """A pool of one parser process."""
    async with open_parser_pool(1) as opened:
        yield opened


async def taken(
    pool: ParserPool, body: bytes, job: ParseJob = JOB
) -> tuple[ParseReport, list[EncodedArticle], LeftOut]:
    """(report, articles, what was left out)."""
    found: list[EncodedArticle] = []

    async def take(_: ParseReport, articles: list[EncodedArticle]) -> None:
        assert len(articles) <= BATCH
        found.extend(articles)

    report, left_out = await pool.read_document(job, body, append=take)
    return report, found, left_out


def feed(count: int, *, text: str = "A story of the harbour.") -> bytes:
    """RSS with so many items."""
    items = (
        f"<item><guid>{n}</guid><title>Story {n}</title><description>{text}</description></item>"
        for n in range(count)
    )
    return f"<rss version='2.0'><channel>{''.join(items)}</channel></rss>".encode()


async def test_a_feed_is_read(pool: ParserPool) -> None:
    """Report, articles, rejects; the second document by the same process."""
    for _ in range(2):
        report, articles, left_out = await taken(pool, RSS)
        assert ("rss", True, "") == (report.kind, report.is_whole, report.error)
        assert (1, LeftOut()) == (len(articles), left_out)
    (direct,) = [part for part in read_document(JOB, RSS) if isinstance(part, list)]
    assert direct == articles


async def test_a_large_feed_comes_in_pieces(pool: ParserPool) -> None:
    """Its articles arrive in several batches, in order."""
    _, articles, _ = await taken(pool, feed(1_050))
    assert 1_050 == len(articles) == len({article.id for article in articles})


async def test_what_is_no_document_is_reported(pool: ParserPool) -> None:
    """And refused kinds are, too; their feeds are named all the same."""
    report, articles, _ = await taken(pool, b"\x00\x01")
    assert (True, []) == (bool(report.error), articles)
    report, articles, _ = await taken(pool, RSS, replace(JOB, refused=("rss",)))
    assert (True, []) == (bool(report.error), articles)


async def test_rejects_have_reasons(pool: ParserPool) -> None:
    """The other entries are kept."""
    body = b'{"title": "One"}\n{"titel": 1}\n{"title": "Two"}'
    _, articles, left_out = await taken(pool, body)
    (reason,) = left_out.rejects
    assert 2 == len(articles)
    assert reason.startswith("line 2: titel")


async def test_a_reader_that_is_killed_is_replaced(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The document that it held fails, the next is read."""
    await taken(pool, RSS)
    (process,) = pool._idle
    process.kill()
    with pytest.raises(ParseFailed):
        await taken(pool, feed(10))
    assert 1 == len((await taken(pool, RSS))[1])
    assert process.returncode is not None


async def test_a_reader_that_does_not_answer_is_killed(
    pool: ParserPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser process is killed in time, whatever it does, and the loop is not blocked
    meanwhile."""
    await taken(pool, RSS)
    monkeypatch.setattr(parser_pool, "FRAME_TIMEOUT_S", 0.3)
    (process,) = pool._idle
    process.send_signal(19)  # SIGSTOP
    with pytest.raises(ParseFailed, match="takes more than"):
        await taken(pool, feed(10))
    assert -9 == process.returncode
    monkeypatch.setattr(parser_pool, "FRAME_TIMEOUT_S", 20)
    assert 1 == len((await taken(pool, RSS))[1])


async def test_a_process_without_work_is_ended() -> None:
    """Its memory is free until the next document, for which another is started."""
    async with open_parser_pool(1, idle_s=0.1) as pool:
        await taken(pool, RSS)
        (process,) = pool._idle

        async def has_ended() -> bool:
            return process.returncode == -9

        await wait_until(has_ended)
        assert {} == pool._idle
        assert 1 == len((await taken(pool, RSS))[1])


async def test_what_a_burst_needed_becomes_idle() -> None:
    """The process that was used last is used again, so that the others can end."""
    async with open_parser_pool(2) as pool:
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(taken(pool, RSS))
        first, last = pool._idle
        for _ in range(3):
            await taken(pool, RSS)
            assert [first, last] == list(pool._idle)


async def test_a_process_that_died_without_work_costs_no_document(pool: ParserPool) -> None:
    """The kernel may end it at any time; the next document gets another process."""
    await taken(pool, RSS)
    (process,) = pool._idle
    process.kill()
    await process.wait()
    assert 1 == len((await taken(pool, RSS))[1])


async def test_a_cancelled_poll_leaves_no_reader_behind(pool: ParserPool) -> None:
    """A half-read answer would be the next document's."""
    entered = asyncio.Event()

    async def hang(_: ParseReport, __: list[EncodedArticle]) -> None:
        entered.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(pool.read_document(JOB, feed(500), append=hang))
        await entered.wait()
        task.cancel()
    assert 3 == len((await taken(pool, feed(3)))[1])


@pytest.mark.parametrize(
    "body",
    [
        b"<rss><channel>" + b"<item>" * 200_000,
        b"<rss " + b" ".join(b'a%d="1"' % n for n in range(300_000)) + b"/>",
        b"<rss><channel><item><description>" + b"<!--" * 500_000,
        b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
        + b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
        + b"]><rss><channel><item><title>&j;</title></item></channel></rss>",
        b"<html>" + b"<div>" * 300_000,
        b"[" * 1_000_000,
        b"x " * 5_000_000,
    ],
    ids=["deep", "attributes", "comments", "entities", "html", "json", "text"],
)
async def test_attacks_end_soon(pool: ParserPool, body: bytes) -> None:
    """Read, refused, or killed; the loop never waits for it."""
    worst_s, stop = 0.0, asyncio.Event()

    async def feel() -> None:
        nonlocal worst_s
        while not stop.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            worst_s = max(worst_s, time.perf_counter() - before - 0.005)

    async with asyncio.TaskGroup() as group:
        group.create_task(feel())
        try:
            async with within(25):
                await taken(pool, body)
        except ParseFailed:
            pass
        finally:
            stop.set()
    # Generous: the machine may be busy. bench/ingest.py measures it.
    assert worst_s < 0.5
    assert 1 == len((await taken(pool, RSS))[1])


def test_the_wire() -> None:
    """What goes over it comes back the same."""
    job = ParseJob(url="u", content_type="t", mapping={"a": "b"}, refused=("html",))
    assert job == ParseJob.from_wire(job.to_wire())
    report = ParseReport(
        kind="rss",
        hints=Hints(interval_s=5, skip_hours=(1,), skip_days=(0, 6), hub="h", topic="t"),
        alternates=(FeedLink(url="u", title="t"),),
    )
    assert report == ParseReport.from_wire(report.to_wire())
    left_out = LeftOut(rejects=("item 1: has no title",), dropped=("an id", ""))
    assert left_out == LeftOut.from_wire(left_out.to_wire())
    encoded = encode(draft(), aliases=((b"a" * 10, b""), (b"b" * 10, b"c" * 8)))
    assert encoded == EncodedArticle.from_wire(encoded.to_wire())


def draft() -> Draft:
    """A draft with a date and a category."""
    entry = Entry(
        guid="g", title="T", categories=("A/B",), published=datetime(2026, 1, 1, tzinfo=UTC)
    )
    return compose(entry, source="http://x.example/f")


def test_another_id_is_in_the_document_too() -> None:
    """An article that is known by another guid."""
    encoded = encode(draft())
    other = "00000000-0000-5000-8000-000000000000"
    moved = encoded.with_id(other)
    assert other == moved.id
    assert encoded.doc.replace(encoded.id.encode(), other.encode()) == moved.doc


def test_an_error_of_ours_costs_one_document(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The process reports it, with a traceback for the log, and goes on."""

    def broken(*_: object) -> None:
        raise KeyError("bug")

    monkeypatch.setattr(parser_process, "read_document", broken)
    (frame,) = parser_process.answer(JOB.to_wire(), b"")
    assert frame.startswith(b"ean error of ours: KeyError")
    assert "Traceback" in capsys.readouterr().err
