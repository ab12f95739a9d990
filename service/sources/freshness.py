"""Freshness: how long an answer may be used without asking again (RFC 9111 4.2). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from service.http import http_date


def freshness_s(headers: Mapping[str, str], *, now: datetime) -> float:
    """Freshness lifetime of an answer in seconds (RFC 9111 4.2.1), less its age; 0 if its headers
    give none or forbid reuse.

    Args:
        headers: of a 200, 226 or 304; the mapping must look names up case-insensitively.
    """
    if "Cache-Control" not in headers and "Expires" not in headers:
        return 0.0
    directives = _directives(headers.get("Cache-Control", ""))
    if "no-cache" in directives or "no-store" in directives:
        return 0.0
    if "max-age" in directives:
        age_s = _seconds(headers.get("Age", "")) or 0.0
        return max(0.0, (_seconds(directives["max-age"]) or 0.0) - age_s)
    expires = http_date(headers.get("Expires", ""))
    if expires is None:
        return 0.0
    # Compared with the server's own clock, which may be wrong: ours would add that error.
    date = http_date(headers.get("Date", "")) or now
    return max(0.0, (expires - date).total_seconds())


def _directives(header: str) -> dict[str, str]:
    parts = (part.partition("=") for part in header.lower().split(","))
    return {name.strip(): value.strip().strip('"') for name, _, value in parts}


def _seconds(text: str) -> float | None:
    text = text.strip()
    return float(text[:12]) if text.isascii() and text.isdigit() else None
