"""History: the documents with a feed's older entries, which are followed once. Pure.

RFC 5005: a feed names the page that goes on with older entries (`next`, section 3), or the archive
document before it (`prev-archive`, section 4), which names the next one in its turn. JSON Feed has
`next_url` for both. What names no such document has none, unless the operator says that the feed is
paged as WordPress does it (`?paged=2`, which nothing in its feeds announces).

Each document is one claim of the source, so that its requests keep the distances of polls, and any
worker goes on where another one stopped. HISTORY_MAX_DOCUMENTS bounds the number of documents. The
documents must be on the host of the source, or on the one that named them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from service.articles.times import to_ms
from service.errors import InvalidInput
from service.http import checked_url, host_of
from service.settings import Settings
from service.sources.outcome import Failure
from service.sources.source import PAGED, Source

WANTED, FOLLOWING, COMPLETE, STOPPED = "wanted", "following", "complete", "stopped"
MAX_FAILURES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How far the older documents of a source were followed."""

    state: str = WANTED
    """WANTED (it begins with the next document), FOLLOWING, COMPLETE (the last document names no
    older one) or STOPPED (see `note`)."""
    url: str = ""
    """The document that is fetched next; empty unless it is FOLLOWING."""
    page: int = 0
    """Number of that page, if its URL was guessed; 0 if a document named it."""
    documents: int = 0
    """Documents that were read, without the feed itself."""
    articles: int = 0
    """New articles in them."""
    failures: int = 0
    """Failed fetches of that document."""
    due_ms: int = 0
    """When it is to be fetched, ms since the epoch."""
    mark: str = ""
    """The URL of an earlier document: who meets it again goes in a circle."""
    note: str = ""
    """Why it was stopped, as a text for operators."""

    @property
    def is_following(self) -> bool:
        """Whether a document is to be fetched."""
        return self.state == FOLLOWING


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDocument:
    """An older document that was read, and whose new articles were appended."""

    url: str
    """Where it came from after redirects."""
    older: str
    """The URL of the document that goes on; empty if it names none."""
    created: int
    """Number of new articles in it."""


def begun(source: Source, *, url: str, older: str, now: datetime, settings: Settings) -> History:
    """The history after the first document of a source.

    Args:
        url: where the document came from.
        older: the document that it names; empty if it names none.
    """
    if not source.history or not settings.history_max_documents:
        return History(state=STOPPED, note="is not wanted")
    return _continued(History(), source, url=url, older=older, now=now)


def after_document(
    history: History, source: Source, document: HistoryDocument, *, now: datetime,
    settings: Settings,
) -> History:  # fmt: skip
    """The history after one of its documents."""
    before = history.url
    history = replace(
        history,
        documents=history.documents + 1,
        articles=history.articles + document.created,
        failures=0,
    )
    if history.page and not document.created:
        # A server that ignores the number answers with the same page again and again.
        return _ended(history, COMPLETE, "")
    if history.documents >= settings.history_max_documents:
        return _ended(
            history, STOPPED, f"after {history.documents} documents (HISTORY_MAX_DOCUMENTS)"
        )
    # Brent's method finds a circle of any length with one mark, moved at each power of two.
    if history.documents & (history.documents - 1) == 0:
        history = replace(history, mark=before)
    return _continued(history, source, url=document.url, older=document.older, now=now)


def after_failure(
    history: History, failure: Failure, *, now: datetime, settings: Settings
) -> History:
    """The history after a document could not be read: it is fetched again later, unless the failure
    lasts."""
    if history.page and 400 <= failure.status < 500 and failure.is_lasting:
        return _ended(history, COMPLETE, "")
    failures = history.failures + 1
    if failure.is_lasting or failures >= MAX_FAILURES:
        return _ended(history, STOPPED, f"{history.url}: {failure.reason}"[:500])
    delay_s = max(settings.poll_min_s * 2.0**failures, failure.retry_after_s)
    due_ms = to_ms(now) + int(min(delay_s, settings.poll_max_s) * 1000)
    return replace(history, failures=failures, due_ms=due_ms, note=failure.reason[:500])


def _continued(history: History, source: Source, *, url: str, older: str, now: datetime) -> History:
    page = 0
    if not older and source.history == PAGED:
        page = max(history.page, 1) + 1
        older = _page_url(source.url, page)
    if not older:
        return _ended(history, COMPLETE, "")
    older = older.partition("#")[0]
    try:
        checked_url(older)
    except InvalidInput as exc:
        return _ended(history, STOPPED, f"{exc.field}: {exc.reason}")
    if older in (history.mark, history.url, url):
        return _ended(history, STOPPED, f"{older}: its documents go in a circle")
    if host_of(older) not in (source.host, host_of(url)):
        return _ended(history, STOPPED, f"{older[:200]}: is on another host than its feed")
    return replace(history, state=FOLLOWING, url=older, page=page, due_ms=to_ms(now), note="")


def _ended(history: History, state: str, note: str) -> History:
    return replace(history, state=state, url="", page=0, failures=0, due_ms=0, mark="", note=note)


def _page_url(url: str, page: int) -> str:
    parts = urlsplit(url)
    query = [p for p in parse_qsl(parts.query, keep_blank_values=True) if p[0] != "paged"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("paged", str(page))]), fragment=""))
