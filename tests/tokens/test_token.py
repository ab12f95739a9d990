"""API tokens as values: what clients may set, what a scope covers, where a token may publish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pytest

from service.errors import InvalidInput, NotPermitted
from service.tokens.token import Scope, Token, first_token, make_token

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


def make(**fields: object) -> Token:
    """A token of these fields; its scope is publish if they name none."""
    token, _ = make_token(
        {"name": "desk", "scope": "publish", **fields}, created=NOW, zone=ZoneInfo("UTC")
    )
    return token


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("read", {"read"}), ("publish", {"publish"}), ("admin", {"read", "publish", "admin"}),
     ("publish read", {"read", "publish"})],
)  # fmt: skip
def test_a_scope_covers_itself_and_admin_everything(scope: str, allowed: set[str]) -> None:
    """Neither does publish read, nor does any of them administer."""
    assert allowed == {each for each in Scope if make(scope=scope).allows(each)}


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", 5), ("name", "x" * 101), ("name", "de\u200bsk"), ("name", "a\u202eb"),
     ("name", "TK_1"), ("name", "caf\udce9"), ("name", "a\x85b\x00"), ("name", " \t"),
     ("scope", ""), ("scope", "write"), ("scope", "read,admin"), ("scope", None),
     ("scope", ["read"]), ("categories", "News"), ("categories", [5]),
     ("categories", ["!"]), ("categories", ["all"]), ("categories", ["News"] * 51),
     ("source", 5), ("source", "a b"), ("source", "urn:\udcff"), ("source", " urn:a"),
     ("source", "x" * 2_001), ("expires", "tomorrow"),
     ("expires", "2026-01-05"), ("expires", "2026-01-05T12:00:00Z"), ("expires", "0d"),
     ("expires", "2027-01-05T12:00:00"), ("expires", "90"),
     ("expires", "9999-12-31T23:59:59-14:00"), ("expires", "999999d\n9"), ("expires", "٣d"),
     ("expires", 3_600), ("expiry", "1d")],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_by_name(field: str, value: object) -> None:
    """Wrong types, invisible characters, times that are over, bounds that bound nothing."""
    with pytest.raises(InvalidInput) as caught:
        make(**{field: value})
    assert field == caught.value.field


@pytest.mark.parametrize("scope", ["read", "admin", "publish admin"])
@pytest.mark.parametrize("bound", [{"categories": ["News"]}, {"source": "urn:a"}])
def test_a_bound_needs_a_token_that_it_bounds(scope: str, bound: dict[str, object]) -> None:
    """An admin token publishes anywhere, and a reading one nowhere."""
    with pytest.raises(InvalidInput) as caught:
        make(scope=scope, **bound)
    assert [caught.value.field] == list(bound)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90d", "2026-04-05T12:00:00.000Z"), ("30s", "2026-01-05T12:00:30.000Z"),
     ("2026-02-01", "2026-01-31T23:00:00.000Z"),
     ("2026-02-01t00:00:00+02:00", "2026-01-31T22:00:00.000Z"), ("", "")],
)  # fmt: skip
def test_expiry_is_a_duration_a_day_or_a_time(text: str, expected: str) -> None:
    """A day begins where TIMEZONE is."""
    fields = {"name": "desk", "scope": "read", "expires": text}
    token, _ = make_token(fields, created=NOW, zone=PARIS)
    assert expected == token.expires


def test_a_token_expires_to_the_second() -> None:
    """Not before; and one without an end never."""
    token = make(expires="1m")
    assert not token.has_expired(NOW + timedelta(seconds=59))
    assert token.has_expired(NOW + timedelta(seconds=60))
    assert not make().has_expired(datetime(9999, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("paths", "field"),
    [(["news"], ""), (["news/harbour", "sport"], ""), (["newsroom"], "categories"),
     (["news", "politics"], "categories"), ([], "categories")],
)  # fmt: skip
def test_bounds_in_categories_include_what_is_below(paths: list[str], field: str) -> None:
    """Each category of the article must be within; one that is in none is outside."""
    token = make(categories=["News", "Sport", "sport"])
    assert ("news", "sport") == token.categories
    check(token, field, source="urn:a", paths=paths)


@pytest.mark.parametrize(("source", "field"), [("urn:a", ""), ("urn:A", "source"), ("", "source")])
def test_a_bound_to_a_source_is_exact(source: str, field: str) -> None:
    """Identifiers are compared as they are spelled."""
    check(make(source="urn:a"), field, source=source, paths=["news"])


def check(token: Token, field: str, *, source: str, paths: list[str]) -> None:
    """Whether an article is refused for this field; not at all if it is empty."""
    if not field:
        token.check_article(source=source, paths=paths)
        return
    with pytest.raises(NotPermitted) as caught:
        token.check_article(source=source, paths=paths)
    assert field == caught.value.field


def test_names_that_read_alike_are_one() -> None:
    """Case, width and composition make no other token; what is invisible is refused above."""
    keys = {make(name=name).key for name in ("Hafenbüro 1", "hafenbu\u0308ro  1", "HAFENBÜRO 1")}
    assert 1 == len(keys)


def test_what_is_stored_is_read_back_and_has_no_text() -> None:
    """Neither what storage keeps nor what is shown holds the token itself."""
    fields = {"name": "desk", "scope": "publish", "categories": ["News"], "source": "urn:a"}
    token, text = make_token(fields, created=NOW, zone=PARIS)
    stored = orjson.dumps(token.to_json())
    assert token == Token.from_json(orjson.loads(stored))
    for shown in (stored, orjson.dumps(token.to_public()), repr(token).encode()):
        assert text.encode() not in shown
    assert token.hash not in repr(token) + str(token.to_public())


def test_a_first_token_has_one_name_a_text() -> None:
    """However often it is registered."""
    one, again, other = (first_token(text, created=NOW) for text in ("a" * 16, "a" * 16, "b" * 16))
    assert one.key == again.key != other.key
