"""Polling and importing into a real store."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.errors import InvalidInput
from service.manage import sources
from service.settings import Settings
from service.storage.store import Store
from tests.fakes import FakeSite
from tests.ingest.polling import DATA, RSS
from workers.http_client import open_client
from workers.ingest import importer
from workers.ingest.importer import Importer, Summary, expand


async def take(
    store: Store, settings: Settings, *targets: str | Path, category: str = ""
) -> Summary:
    """Import files and URLs, and return what became of them."""
    async with open_client(settings, user_agent="t") as client:
        importer = Importer(
            store, settings, client, now=lambda: datetime.now(UTC), category=category
        )
        for target in expand([str(target) for target in targets], settings):
            await importer.take(target, progress=lambda _: None)
        return importer.summary


async def test_importing_again_changes_nothing_and_an_edit_updates(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """A page saved as text, known by its file, wherever that lies."""
    page = tmp_path / "page.txt"
    shutil.copy(DATA / "page.txt", page)
    assert {"new": 1} == dict((await take(store, settings, page)).counts)
    assert {"unchanged": 1} == dict((await take(store, settings, page)).counts)
    page.write_text(page.read_text().replace("Wednesday", "Thursday"))
    assert {"updated": 1} == dict((await take(store, settings, page)).counts)
    (tmp_path / "b").mkdir()
    moved = page.rename(tmp_path / "b" / "page.txt")
    assert {"unchanged": 1} == dict((await take(store, settings, moved)).counts)


async def test_two_pages_of_one_name_and_day_are_two_articles(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """What shares neither title nor paragraph is no edit; again, nothing changes."""
    for folder, words in (("a", "One story."), ("b", "Quite another.")):
        (tmp_path / folder).mkdir()
        text = f"News\n5 January 2026 In News\n\n{words}\n"
        (tmp_path / folder / "page.txt").write_text(text)
    assert {"new": 2} == dict((await take(store, settings, tmp_path)).counts)
    assert {"unchanged": 2} == dict((await take(store, settings, tmp_path)).counts)


async def test_a_folder_of_all_forms_settles(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """List, item page, feed and JSON of one site: the second import finds nothing to do, and the
    full text stands."""
    for name in ("k2_date.html", "k2_item.html", "k2.rss", "k2.json"):
        shutil.copy(DATA / name, tmp_path)
    first = await take(store, settings, tmp_path)
    assert (2, 1) == (first.counts["new"], first.counts["rejected"])
    second = await take(store, settings, tmp_path)
    assert (0, 0, 5) == tuple(second.counts[n] for n in ("new", "updated", "unchanged"))
    ids = [i async for chunk in store.articles.all_ids() for i in chunk]
    articles = {a.title: a for a in await store.articles.get(ids) if a}
    assert "nine weeks" in articles["Crane stands again"].content_html


async def test_what_cannot_be_read_is_listed_with_its_reason(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """A missing file, an empty one, one wrong line; the rest is kept. Hidden files are left out."""
    (tmp_path / "empty.rss").write_text("")
    (tmp_path / "some.ndjson").write_text('{"title": "One"}\n{"titel": "x"}\n')
    (tmp_path / ".hidden").write_text("x")
    summary = await take(store, settings, tmp_path, tmp_path / "missing.rss")
    assert (1, 3) == (summary.counts["new"], summary.counts["rejected"])
    reasons = {Path(r["where"]).name: r["reason"] for r in summary.rejects}
    assert "is empty" == reasons["empty.rss"]
    assert "No such file or directory" == reasons["missing.rss"]
    assert reasons["some.ndjson, line 2"].startswith("titel: ")


async def test_category_files_everything_there(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """The category of the command replaces those of the input."""
    await take(store, settings, DATA / "k2.rss", category="Mine/Here")
    ids = [i async for chunk in store.articles.all_ids() for i in chunk]
    (article,) = await store.articles.get(ids)
    assert article
    assert ("mine/here",) == article.categories
    assert "Here" == (await store.articles.category_titles())["mine/here"]


async def test_opml_adds_sources(store: Store, settings: Settings) -> None:
    """With their folders as category; again adds none."""
    assert {"sources": 2} == dict((await take(store, settings, DATA / "list.opml")).counts)
    assert {"unchanged": 2} == dict((await take(store, settings, DATA / "list.opml")).counts)
    found = {source.url: source.categories for source in await store.sources.all()}
    assert {"http://a.example/feed": ("News/Boats Ships",), "http://b.example/feed": ()} == found


async def test_sources_come_back_with_the_identity_they_had(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """A source whose feed was found on a page, or moved, is not added again for its present URL."""
    now = datetime.now(UTC)
    added, _ = await sources.add(store, {"url": "http://a.example/"}, now=now)
    moved = added.moved("http://a.example/feed.xml", "discovered")
    await store.sources.replace(moved, now_ms=0)
    opml = tmp_path / "sources.opml"
    opml.write_bytes(await sources.exported(store))
    assert {"unchanged": 1} == dict((await take(store, settings, opml)).counts)
    opml.write_text(opml.read_text().replace("http://a.example/", moved.url))
    assert {"unchanged": 1} == dict((await take(store, settings, opml)).counts)
    assert (moved, False) == await sources.add(store, {"url": moved.url}, now=now)
    assert [moved] == await store.sources.all()


async def test_what_dateline_keeps_itself_is_not_imported(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """A folder leaves its secrets out, under other names, too; named themselves, they are
    refused."""
    for name in ("api-token", "lock", "redis/password", "redis/appendonlydir/a.aof"):
        path = settings.data_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret words")
    (tmp_path / "link.txt").symlink_to(settings.data_dir / "api-token")
    (tmp_path / "news.txt").write_text((DATA / "page.txt").read_text())
    assert [str(tmp_path / "news.txt")] == list(expand([str(tmp_path)], settings))
    assert {"new": 1} == dict((await take(store, settings, tmp_path)).counts)
    for target in (settings.data_dir / "api-token", settings.data_dir / "redis"):
        with pytest.raises(InvalidInput, match="is dateline's own"):
            list(expand([str(target)], settings))


@pytest.mark.parametrize("target", ["", " "])
def test_an_empty_path_is_refused(settings: Settings, target: str) -> None:
    """It is a variable that was not set, and not the folder that the user is in."""
    with pytest.raises(InvalidInput, match="path: is empty"):
        list(expand([target], settings))


async def test_a_url_that_cannot_be_reached_says_so_once(store: Store, settings: Settings) -> None:
    """In words, without the notation of the HTTP library."""
    closed = settings.model_copy(update={"allowed_networks": ()})
    (reject,) = (await take(store, closed, "http://127.0.0.1:1/feed")).rejects
    assert "http://127.0.0.1:1/feed" == reject["where"]
    assert reject["reason"].startswith("cannot connect to 127.0.0.1: 127.0.0.1 is not a public")


async def test_a_url_is_imported(store: Store, settings: Settings, site: FakeSite) -> None:
    """Once; a 404 is a reject."""
    site.put("/f", RSS)
    assert {"new": 1} == dict((await take(store, settings, f"{site.url}/f")).counts)
    summary = await take(store, settings, f"{site.url}/nope")
    assert [{"where": f"{site.url}/nope", "reason": "answered 404"}] == summary.rejects


async def test_an_archive_of_any_size_comes_back(
    store: Store, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NDJSON is read in pieces; a wrong line says where it is."""
    monkeypatch.setattr(importer, "LINES", 10)
    lines = [f'{{"source": "s", "guid": "{n}", "title": "T{n}"}}' for n in range(35)]
    lines[0] = r'{"source": "s", "guid": "0", "title": "half a character \ud83d"}'
    lines[12] = '{"titel": 1}'
    archive = tmp_path / "archive.ndjson"
    archive.write_text("\n".join(lines))
    summary = await take(store, settings, archive)
    assert (34, 1) == (summary.counts["new"], summary.counts["rejected"])
    assert summary.rejects[0]["where"].endswith("archive.ndjson, after line 10, line 3")
    assert {"unchanged": 34, "rejected": 1} == dict((await take(store, settings, archive)).counts)


async def test_a_page_that_only_names_feeds_says_so(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    """It is not silently nothing."""
    page = tmp_path / "home.html"
    link = '<link rel="alternate" type="application/rss+xml" href="http://x.example/f">'
    page.write_text(f"<html><head>{link}</head><body>Hi</body></html>")
    (reject,) = (await take(store, settings, page)).rejects
    assert "has no article, but names feeds: http://x.example/f" == reject["reason"]
