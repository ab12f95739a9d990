"""Preview: what is asked for before a source is added or changed: which articles would it bring?
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.errors import InvalidInput
from service.sources.source import Source, change_source, make_source

MAX_ITEMS = 100
DEFAULT_ITEMS = 20
_OWN = ("limit", "guess")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRequest:
    """A source as its operator would have it, and how much of it to show."""

    source: Source
    limit: int = DEFAULT_ITEMS
    """Most items to show."""
    is_guess: bool = False
    """Whether to propose selectors for its page."""

    @classmethod
    def checked(
        cls, fields: Mapping[str, Any], *, now: datetime, known: Source | None = None
    ) -> PreviewRequest:
        """Check the fields of a source, `limit` and `guess`.

        Args:
            known: the source of that URL, whose settings hold for fields that are not named.

        Raises:
            InvalidInput: names the field.
        """
        settings = {name: value for name, value in fields.items() if name not in _OWN}
        source = make_source(settings, created=now)
        if known is not None:
            del settings["url"]
            source = change_source(known, settings)
        limit = fields.get("limit", DEFAULT_ITEMS)
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_ITEMS:
            raise InvalidInput("limit", limit, f"must be a number from 1 to {MAX_ITEMS}")
        is_guess = fields.get("guess", False)
        if not isinstance(is_guess, bool):
            raise InvalidInput("guess", is_guess, "must be true or false")
        return cls(source=source, limit=limit, is_guess=is_guess)
