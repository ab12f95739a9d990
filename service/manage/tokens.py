"""API tokens, as API and CLI manage them: add, show, revoke; and the one of a first start."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from service.articles import categories
from service.errors import InvalidInput, NotFound
from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.tokens.token import Token, first_token, make_token

logger = logging.getLogger(__name__)


async def add(
    store: Store, fields: Mapping[str, object], settings: Settings, *, now: datetime
) -> dict[str, Any]:
    """Make a token; its text is in `token`, this once. Raises InvalidInput, also for a name that is
    taken."""
    token, text = make_token(fields, created=now, zone=settings.timezone)
    if await store.tokens.count() >= keys.TOKENS_MAX:
        reason = f"there are {keys.TOKENS_MAX} tokens: revoke those that are not used"
        raise InvalidInput("name", token.name, reason)
    if not await store.tokens.add(token):
        raise InvalidInput("name", token.name, "is taken; revoke that token first")
    return {**token.to_public(), "token": text}


async def all_public(store: Store) -> list[dict[str, Any]]:
    """Every token that was not revoked, with its last use and without its text."""
    known = await store.tokens.all()
    return [each.token.to_public(last_used=each.last_used) for each in known]


async def revoke(store: Store, name: str, settings: Settings, *, now: datetime) -> Token:
    """Revoke the token of this id or name; what was revoked.

    Raises:
        NotFound; InvalidInput: nobody could manage tokens any more.
    """
    token = await _find(store, name)
    # With DATELINE_API_TOKEN set there is always an admin.
    if not await store.tokens.revoke(token, now=now, keep_admin=not settings.api_token):
        reason = "is the last admin token: add another one first, or set DATELINE_API_TOKEN"
        raise InvalidInput("token", token.name, reason)
    return token


async def register_first(store: Store, text: str, *, now: datetime) -> None:
    """Make the token that a first start wrote known to all servers, unless it was revoked."""
    token = first_token(text, created=now)
    if await store.tokens.add(token):
        known = [each.token for each in await store.tokens.all()]
        for other in known:
            if other.is_first and other.key != token.key:
                extra = {"token": other.name}
                logger.warning("the token of an earlier first start is still valid", extra=extra)
    elif await store.tokens.was_revoked(token):
        logger.warning("the API token in the data dir was revoked", extra={"token": token.name})


async def _find(store: Store, name: str) -> Token:
    tokens = [each.token for each in await store.tokens.all()]
    for token in tokens:
        if name == token.id or categories.fold(name) == token.key:
            return token
    raise NotFound(f"{name}: no such token; `dateline tokens list` names them")
