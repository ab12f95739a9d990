"""An API token: a name, a scope, and where it may publish. Pure.

Only the hash of a token is stored. A route names the scope that it needs; `admin` may do what every
scope may. A token that publishes can be held to categories (and those below them) and to one
source; then it changes and withdraws articles within these bounds alone.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from service.articles import categories
from service.articles.times import from_rfc3339, to_rfc3339
from service.errors import InvalidInput, NotPermitted, refuse_unknown_fields
from service.feeds.private_feed import token_hash
from service.feeds.view import text_of

MAX_NAME_CHARS = 100
MAX_CATEGORIES = 50
MAX_SOURCE_CHARS = 2_000
ID_PREFIX = "tk_"
# What leaks into a log or a repository can be found by it.
_TEXT_PREFIX = "dl_"
_RANDOM_BYTES = 32
_FIELDS = ("name", "scope", "categories", "source", "expires")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DURATION = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Scope(StrEnum):
    """What a token may do."""

    READ = "read"
    """Read what strangers may not: webhooks, sources, views, metrics, operators' pages."""
    PUBLISH = "publish"
    """Publish and withdraw articles."""
    ADMIN = "admin"
    """Everything: change settings, make and revoke tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is stored, without its text."""

    id: str
    name: str
    hash: str = field(repr=False)
    scope: str
    """Scopes, separated by spaces (RFC 6749 3.3)."""
    categories: tuple[str, ...] = ()
    """Paths that it may publish to; all of them if there are none."""
    source: str = ""
    """The one source that it may publish as; any if it is empty."""
    created: str
    expires: str = ""
    """RFC 3339; empty for never."""
    is_first: bool = False
    """Made by a first start, which registers it again at each start."""
    revoked: str = ""
    """RFC 3339; only a first token is kept after that, so that no start brings it back."""

    @property
    def key(self) -> str:
        """What no two tokens share: the name without differences of case and Unicode form."""
        return categories.fold(self.name)

    @property
    def is_bounded(self) -> bool:
        """Whether it is held to categories or to a source."""
        return bool(self.categories or self.source)

    def allows(self, scope: Scope) -> bool:
        """Whether the token may do what needs this scope."""
        scopes = self.scope.split()
        return scope in scopes or Scope.ADMIN in scopes

    def has_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return bool(self.expires) and self.expires <= to_rfc3339(now)

    def check_article(self, *, source: str, paths: Sequence[str]) -> None:
        """Refuse an article outside the token's bounds.

        Args:
            paths: category paths of the article; each must be within the token's.

        Raises:
            NotPermitted: names `source` or `categories`.
        """
        if self.source and source != self.source:
            reason = f"this token publishes as {self.source!r} alone"
            raise NotPermitted("source", source, reason)
        if not self.categories:
            return
        outside = [path for path in paths if not self._covers(path)]
        if outside or not paths:
            shown = ", ".join(self.categories)
            reason = f"this token publishes to {shown}, and what is below, alone"
            raise NotPermitted("categories", ", ".join(outside), reason)

    def _covers(self, path: str) -> bool:
        return any(categories.is_within(category, [path]) for category in self.categories)

    def to_json(self) -> dict[str, Any]:
        """The fields that storage keeps."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Token:
        """Read what `to_json` returned. Raises TypeError, KeyError for anything else."""
        return cls(**{**fields, "categories": tuple(fields["categories"])})

    def to_public(self, *, last_used: str = "") -> dict[str, Any]:
        """The fields that API and CLI show."""
        return {
            "id": self.id,
            "name": self.name,
            "scope": self.scope,
            "categories": self.categories,
            "source": self.source or None,
            "created": self.created,
            "expires": self.expires or None,
            "last_used": last_used or None,
        }


def make_token(
    fields: Mapping[str, object], *, created: datetime, zone: tzinfo
) -> tuple[Token, str]:
    """Create a token from a client's fields; return it with its text, to show once.

    Args:
        zone: where a day of `expires` begins.

    Raises:
        InvalidInput: with the name of the field.
    """
    refuse_unknown_fields(fields, _FIELDS)
    scope = _scope(fields.get("scope", ""))
    paths, source = _categories(fields.get("categories", ())), _source(fields.get("source", ""))
    bound = "categories" if paths else "source" if source else ""
    if bound and not (Scope.PUBLISH in scope and Scope.ADMIN not in scope):
        reason = f"bounds a token that publishes and is not admin; its scope is {' '.join(scope)}"
        raise InvalidInput(bound, fields[bound], reason)
    text = _TEXT_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    token = Token(
        id=ID_PREFIX + uuid.uuid4().hex,
        name=_name(fields),
        hash=token_hash(text),
        scope=" ".join(scope),
        categories=paths,
        source=source,
        created=to_rfc3339(created),
        expires=_expires(text_of(fields, "expires"), now=created, zone=zone),
    )
    return token, text


def first_token(text: str, *, created: datetime) -> Token:
    """The admin token that a first start made and wrote to its data dir."""
    digest = token_hash(text)
    return Token(
        id=ID_PREFIX + uuid.uuid4().hex,
        # One name a text: servers with one data dir register one token, others their own.
        name=f"first-start-{digest[:8]}",
        hash=digest,
        scope=Scope.ADMIN,
        created=to_rfc3339(created),
        is_first=True,
    )


def settings_token(text: str) -> Token:
    """The admin token of DATELINE_API_TOKEN, which is not stored."""
    return Token(
        id="", name="DATELINE_API_TOKEN", hash=token_hash(text), scope=Scope.ADMIN, created=""
    )


def _name(fields: Mapping[str, object]) -> str:
    name = text_of(fields, "name", required=True)
    # As sent: invisible characters would make two names look like one, and must not be dropped.
    sent = " ".join(str(fields["name"]).split())
    if not sent.isprintable() or len(name) > MAX_NAME_CHARS:
        reason = f"must be one line of visible characters, {MAX_NAME_CHARS} at most"
        raise InvalidInput("name", name, reason)
    if categories.fold(name).startswith(ID_PREFIX):
        raise InvalidInput("name", name, f"must not begin with {ID_PREFIX}, as ids do")
    return name


def _scope(value: object) -> list[Scope]:
    """The scopes in their own order, each once."""
    words = value.split() if isinstance(value, str) else []
    if not words or not set(words) <= set(Scope):
        raise InvalidInput("scope", value, f"must be one or more of: {' '.join(Scope)}")
    return [scope for scope in Scope if scope in words]


def _categories(value: object) -> tuple[str, ...]:
    is_list = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
    if not isinstance(value, (list, tuple)) or not is_list or len(value) > MAX_CATEGORIES:
        reason = f"must be a list of at most {MAX_CATEGORIES} categories"
        raise InvalidInput("categories", value, reason)
    if categories.ALL in value:
        raise InvalidInput("categories", categories.ALL, "is no bound: leave categories out")
    return tuple(dict.fromkeys(map(_category, value)))


def _category(spelling: str) -> str:
    try:
        return categories.parse(spelling).path
    except InvalidInput as exc:
        raise InvalidInput("categories", spelling, exc.reason) from exc


def _source(value: object) -> str:
    # In the Unicode form that was sent: the sources of articles are compared by it, too.
    source = value if isinstance(value, str) else " "
    if " " in source or not source.isprintable() or len(source) > MAX_SOURCE_CHARS:
        reason = f"must be a URI of at most {MAX_SOURCE_CHARS} characters"
        raise InvalidInput("source", value, reason)
    return source


def _expires(text: str, *, now: datetime, zone: tzinfo) -> str:
    """RFC 3339 of `90d`, a day (its first moment in the zone) or RFC 3339; empty for nothing."""
    if not text:
        return ""
    try:
        if duration := _DURATION.fullmatch(text):
            number, unit = duration.groups()
            moment = now + timedelta(seconds=int(number) * _SECONDS[unit])
        elif _DAY.fullmatch(text):
            moment = datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
        else:
            moment = from_rfc3339(text.upper())
    except (ValueError, OverflowError) as exc:
        reason = "must be a time such as 2027-01-31T12:00:00Z, a day, or a duration such as 90d"
        raise InvalidInput("expires", text, reason) from exc
    if moment <= now:
        raise InvalidInput("expires", text, "is in the past")
    return to_rfc3339(moment)
