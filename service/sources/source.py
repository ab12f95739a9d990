"""Sources: feeds and pages that are polled, as operators configure them; see also `schedule`. Pure.

A source keeps the id and the `added_url` that it was added with: the ids of its articles are made
of them and must not change when the feed moves (a permanent redirect, a feed found on a page).
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from service.articles import article, categories, times
from service.articles.category_creator import CategoryCreator, free_paths
from service.articles.text import normalized
from service.errors import InvalidInput, refuse_unknown_fields
from service.http import (
    checked_headers,
    checked_url,
    host_of,
    may_share_secrets,
    pasted_url,
)  # fmt: skip
from service.sources.poll_window import checked_window
from service.sources.rules import categories_of, checked_rules, text_of
from service.sources.select import checked_select
from service.sources.selector import WrongSelector, compiled
from service.sources.transport import (
    Transport,
    checked_ca,
    checked_cookies,
    checked_fingerprint,
    checked_proxy,
    checked_user_agent,
    cookie_header,
    shown_proxy,
)

MAX_RULES = 200
FIELDS = (
    "url",
    "category",
    "categories",
    "mapping",
    "interval_s",
    "headers",
    "auth",
    "paused",
    "select",
    "rules",
    "history",
    "user_agent",
    "cookies",
    "proxy",
    "tls_ca",
    "tls_fingerprint",
    "window",
    "summary_only",
    "full_text",
    "selector",
)
MAX_CATEGORIES = 50
# Values of `Source.history`; empty for none.
LINKS, PAGED = "links", "paged"
# Values of `Source.full_text`; empty for never.
AUTO, ALWAYS = "auto", "always"
# Settings that an export states in another way.
_PLACES = ("url", "category", "categories")
# The name under which an export lists the settings that it leaves out because they are secret.
OMITTED = "omitted"
# Headers that the poller itself sets in each request.
_OURS = frozenset({"a-im", "if-modified-since", "if-none-match", "referer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A feed or page that is polled."""

    id: str
    url: str
    added_url: str = ""
    """The URL it was added with."""
    typed_url: str | None = None
    """The URL that the operator named, if it is not the one that it was added with; empty if a
    document of somebody else named it (an OPML that was fetched)."""
    host: str = ""
    """Host by which polls are spaced and limited, see `host_of`."""
    categories: tuple[str, ...] = ()
    """Category paths for its articles; empty: the categories that the articles name."""
    mapping: dict[str, str] = field(default_factory=dict)
    """The source's own category name → our category path; see `articles/category_mapping.py`."""
    interval_s: float = 0
    """Seconds between polls that the operator set; 0 if the measured rhythm decides."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with each request to its own host and to no other host. Secret: never shown."""
    history: str = LINKS
    """Which older documents of a new source are read: LINKS (those that its documents name), PAGED
    (pages by number, too) or none; see `service/sources/history.py`."""
    paused: bool = False
    note: str = ""
    """Why it is paused or where it moved from, as a text for operators; may be empty."""
    title: str = ""
    """The title of the feed; empty before the first poll."""
    created: str = ""
    """Time at which it was added, RFC 3339."""
    select: dict[str, str] = field(default_factory=dict)
    """How articles are read from its document, see `select`; empty: as its format says."""
    rules: list[dict[str, str]] = field(default_factory=list)
    """What becomes of its articles, see `rules`; each is an object of one action."""
    user_agent: str = ""
    """See `Transport`, as the four that follow."""
    cookies: dict[str, str] = field(default_factory=dict)
    """Sent as `headers` are. Secret: never shown."""
    proxy: str = ""
    """Its password is secret."""
    tls_ca: str = ""
    tls_fingerprint: str = ""
    window: str = ""
    """When it may be polled, see `poll_window.py`; empty for any time."""
    summary_only: bool = False
    """Whether only a summary of each article is kept, and shown: its content is not republished."""
    full_text: str = AUTO
    """Whether the pages of its articles are fetched for their texts: AUTO (if its feed is known to
    cut them), ALWAYS (each text that may be cut) or empty for never."""
    selector: str = ""
    """What of such a page is the text, in CSS or XPath; empty if an extractor finds it."""

    def to_public(self) -> dict[str, Any]:
        """The source as a JSON object for API and CLI, with the names of its headers only."""
        return {
            "id": self.id,
            "url": self.url,
            "added_url": self.added_url or self.url,
            "title": self.title,
            # The field of before November 2026, when a source could have only one.
            "category": next(iter(self.categories), ""),
            "categories": list(self.categories),
            "mapping": self.mapping,
            "interval_s": self.interval_s or None,
            "headers": sorted(self.headers),
            "history": self.history if self.history == PAGED else bool(self.history),
            "paused": self.paused,
            "note": self.note,
            "created": self.created,
            "select": self.select or None,
            "rules": self.rules,
            "user_agent": self.user_agent,
            "cookies": sorted(self.cookies),
            "proxy": shown_proxy(self.proxy),
            "tls_ca": self.tls_ca,
            "tls_fingerprint": self.tls_fingerprint,
            "window": self.window,
            "summary_only": self.summary_only,
            "full_text": self.full_text if self.full_text == AUTO else bool(self.full_text),
            "selector": self.selector,
        }

    def to_exported(self, *, with_secrets: bool) -> dict[str, Any]:
        """The settings that are not the usual ones, as `change_source` takes them back.

        Without secrets, `omitted` lists the names of the settings that were left out.
        """
        public, usual = self.to_public(), Source(id="", url="").to_public()
        secret: dict[str, Any] = {"headers": self.headers, "cookies": self.cookies}
        if shown_proxy(self.proxy) != self.proxy:
            secret["proxy"] = self.proxy
        exported = {
            name: public[name]
            for name in FIELDS
            if name in public and name not in (*_PLACES, *secret) and public[name] != usual[name]
        }
        if self.rules:
            exported["rules"] = [text_of(rule) for rule in self.rules]
        secret = {name: value for name, value in secret.items() if value}
        if with_secrets:
            return {**exported, **secret}
        return {**exported, OMITTED: sorted(secret)} if secret else exported

    @property
    def transport(self) -> Transport:
        """How its requests are sent."""
        return Transport(
            user_agent=self.user_agent,
            proxy=self.proxy,
            tls_ca=self.tls_ca,
            tls_fingerprint=self.tls_fingerprint,
        )

    @property
    def private_headers(self) -> dict[str, str]:
        """What is sent to its own host and to no other one."""
        return {**self.headers, **cookie_header(self.cookies)}

    @property
    def operator_url(self) -> str:
        """The URL that the operator named, wherever the source moved; empty if a stranger did."""
        return (self.added_url or self.url) if self.typed_url is None else self.typed_url

    @property
    def category_creator(self) -> CategoryCreator:
        """For whom the new categories of its articles count: itself; those that its operator files
        them under are free."""
        named = free_paths([*self.categories, *self.mapping.values(), *categories_of(self.rules)])
        return CategoryCreator(name=self.id, free=named)

    def with_paused(self, paused: bool, note: str = "") -> Source:
        """A copy that is paused or resumed, with the reason in `note`."""
        return replace(self, paused=paused, note=note)

    def moved(self, url: str, note: str) -> Source:
        """A copy at another URL; secret headers are dropped if the host is another one, or
        if they would be sent without TLS from now on."""
        moved = replace(self, url=url, host=host_of(url), note=note)
        if may_share_secrets(self.url, url):
            return moved
        # So is what its certificate must be.
        return replace(moved, headers={}, cookies={}, tls_ca="", tls_fingerprint="")


def source_id_of(url: str) -> str:
    """The id of the source that is added with a checked URL: always the same."""
    return f"src_{uuid.uuid5(article.NAMESPACE, f'source:{url}').hex}"


def make_source(
    fields: Mapping[str, object], *, created: datetime, is_typed: bool = True
) -> Source:
    """Check what a client asks for; the same URL always gives the same id. An address as people
    paste it is taken (`pasted_url`); a user name and password in it become `auth`.

    Args:
        is_typed: whether the operator named the URL.

    Raises:
        InvalidInput: names the field.
    """
    pasted, auth = pasted_url(fields.get("url"))
    url = checked_url(pasted)
    settings = {name: value for name, value in fields.items() if name != "url"}
    if auth:
        settings.setdefault("auth", auth)
    source = Source(
        id=source_id_of(url),
        url=url,
        added_url=url,
        typed_url=None if is_typed else "",
        host=host_of(url),
        created=times.to_rfc3339(created),
    )
    return change_source(source, settings)


def change_source(source: Source, fields: Mapping[str, object]) -> Source:
    """A copy with changed settings; settings that `fields` does not name stay.

    Raises:
        InvalidInput: names the field.
    """
    refuse_unknown_fields(fields, FIELDS)
    if "url" in fields:
        raise InvalidInput("url", fields["url"], "identifies the source: add another one")
    if "category" in fields and "categories" in fields:
        raise InvalidInput("categories", fields["categories"], "is the same as category: name one")
    values: dict[str, Any] = {name: _CHECKS[name](value) for name, value in fields.items()}
    if "category" in values:
        values["categories"] = values.pop("category")
    authorization = values.pop("auth", None)
    if authorization is not None:
        headers = values.get("headers", source.headers)
        values["headers"] = {**headers, **authorization}
    if "paused" in values:
        values["note"] = ""
    source = replace(source, **values)
    if source.tls_ca and source.tls_fingerprint:
        raise InvalidInput("tls_fingerprint", source.tls_fingerprint, "is set, and so is tls_ca")
    return source


def _category(value: object) -> tuple[str, ...]:
    if not isinstance(value, str):
        raise InvalidInput("category", value, "must be a string")
    value = normalized(value)
    if value:
        categories.parse(value)
    return (value,) if value else ()


def _categories(value: object) -> tuple[str, ...]:
    """Paths of titles, each once however it is spelled; null or an empty list for none."""
    if value is not None and not isinstance(value, list | tuple):
        raise InvalidInput("categories", value, "must be a list of categories")
    paths = {categories.parse(c).path: c for each in value or () for c in _category(each)}
    if len(paths) > MAX_CATEGORIES:
        raise InvalidInput("categories", f"{len(paths)} categories", f"at most {MAX_CATEGORIES}")
    return tuple(paths.values())


def _mapping(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_RULES:
        raise InvalidInput("mapping", value, f"must be an object of at most {MAX_RULES} rules")
    for theirs, ours in value.items():
        if not isinstance(ours, str) or not isinstance(theirs, str) or not theirs.strip():
            raise InvalidInput("mapping", {theirs: ours}, "must be names of categories")
        if ours:
            categories.parse(ours)
    return {normalized(theirs): normalized(ours) for theirs, ours in value.items()}


def _interval_s(value: object) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e8:
        raise InvalidInput("interval_s", value, "must be seconds, 0 or null for none")
    return float(value)


def _headers(value: object) -> dict[str, str]:
    return checked_headers(value, ours=_OURS)


def _auth(value: object) -> dict[str, str]:
    """The HTTP Basic header (RFC 7617) of `name:password`."""
    if not isinstance(value, str) or ":" not in value or not value.isprintable():
        raise InvalidInput("auth", "…", "must be name:password")
    return {"Authorization": "Basic " + base64.b64encode(value.encode()).decode()}


def _history(value: object) -> str:
    if value == PAGED:
        return PAGED
    if not isinstance(value, bool):
        raise InvalidInput("history", value, f'must be true, false or "{PAGED}"')
    return LINKS if value else ""


def _full_text(value: object) -> str:
    if value == AUTO:
        return AUTO
    if not isinstance(value, bool):
        raise InvalidInput("full_text", value, f'must be true, false or "{AUTO}"')
    return ALWAYS if value else ""


def _selector(value: object) -> str:
    text = "" if value is None else value
    if not isinstance(text, str):
        raise InvalidInput("selector", value, "must be a text")
    if text.strip():
        try:
            is_of_json = compiled(text).is_of_json
        except WrongSelector as exc:
            raise InvalidInput("selector", text, str(exc)) from exc
        if is_of_json:
            raise InvalidInput("selector", text, "is JSONPath, and pages are HTML")
    return text.strip()


def _summary_only(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("summary_only", value, "must be true or false")
    return value


def _paused(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInput("paused", value, "must be true or false")
    return value


_CHECKS = {
    "category": _category,
    "categories": _categories,
    "mapping": _mapping,
    "interval_s": _interval_s,
    "headers": _headers,
    "auth": _auth,
    "history": _history,
    "paused": _paused,
    "select": checked_select,
    "rules": checked_rules,
    "user_agent": checked_user_agent,
    "cookies": checked_cookies,
    "proxy": checked_proxy,
    "tls_ca": checked_ca,
    "tls_fingerprint": checked_fingerprint,
    "window": checked_window,
    "summary_only": _summary_only,
    "full_text": _full_text,
    "selector": _selector,
}
