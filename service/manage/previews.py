"""Previews: the articles that a source would bring, for API and CLI.

An ingest worker fetches and parses, as it does in polls: with its checks of addresses, and in its
parser processes. Nothing is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from service.settings import Settings
from service.sources.preview import PreviewRequest
from service.storage.store import Store

SLACK_S = 60
"""Time for parsing and for waiting for a worker, besides what fetching and discovery may take."""


async def preview(
    store: Store, fields: Mapping[str, Any], *, settings: Settings, now: datetime
) -> dict[str, Any]:
    """What a source with these fields would bring; see docs/selectors.md for the answer.

    Raises:
        InvalidInput: names the field.
        NoAnswer: no ingest worker does it.
    """
    PreviewRequest.checked(fields, now=now)
    within_s = 2 * settings.fetch_timeout_s + SLACK_S
    answer = await store.previews.answer_to(orjson.dumps(fields), within_s=within_s)
    result: dict[str, Any] = orjson.loads(answer)
    return result
