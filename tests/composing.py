"""What becomes of a parsed document's entries, for tests of parsers."""

from __future__ import annotations

from service.articles.article import Draft
from service.errors import InvalidInput
from workers.ingest.documents import ParseJob, drafts_of
from workers.ingest.parse import Document


def compose_all(
    document: Document, *, name: str, category: str = "", url: str = ""
) -> tuple[list[Draft], list[InvalidInput]]:
    """(drafts, why the other entries are none)."""
    job = ParseJob(url=url, added_url=url, category=category)
    found = [draft for _, draft in drafts_of(document, job, name=name)]
    return (
        [draft for draft in found if isinstance(draft, Draft)],
        [exc for exc in found if isinstance(exc, InvalidInput)],
    )
