"""Requests to our hub as values: leases within their bounds, and topics of this site alone."""

from __future__ import annotations

import pytest

from service.errors import InvalidInput
from service.settings import Settings
from service.websub.hub import (
    LEASE_S,
    MAX_LEASE_S,
    MAX_SECRET_BYTES,
    MIN_LEASE_S,
    SubscriptionRequest,
    parse_request,
)

SETTINGS = Settings(public_url="http://news.example")


def parse(**fields: object) -> SubscriptionRequest:
    """A request to subscribe to all news, with other fields."""
    form = {
        "hub.mode": "subscribe", "hub.callback": "http://reader.example/callback",
        "hub.topic": "http://news.example/feeds/all.rss",
        **{f"hub.{name}": str(value) for name, value in fields.items()},
    }  # fmt: skip
    return parse_request(form, settings=SETTINGS)


@pytest.mark.parametrize(
    ("asked", "lease_s"),
    [
        ("", LEASE_S), (1, MIN_LEASE_S), (MIN_LEASE_S - 1, MIN_LEASE_S),
        (MIN_LEASE_S, MIN_LEASE_S), (MIN_LEASE_S + 1, MIN_LEASE_S + 1),
        (MAX_LEASE_S, MAX_LEASE_S), (MAX_LEASE_S + 1, MAX_LEASE_S), (10**20, MAX_LEASE_S),
    ],
)  # fmt: skip
def test_a_lease_is_an_hour_to_thirty_days(asked: object, lease_s: int) -> None:
    """What is asked for within the bounds, the nearest bound outside them, ten days without."""
    assert lease_s == parse(lease_seconds=asked).lease_s
    assert (3_600, 864_000, 2_592_000) == (MIN_LEASE_S, LEASE_S, MAX_LEASE_S)


def test_a_secret_has_less_than_200_bytes() -> None:
    """One byte more is refused, counted in UTF-8."""
    assert MAX_SECRET_BYTES == len(parse(secret="x" * MAX_SECRET_BYTES).secret)
    with pytest.raises(InvalidInput, match=r"hub\.secret"):
        parse(secret="é" * 100)


@pytest.mark.parametrize("mark", ["?its=own", "?", "", "?a=b&"])
def test_the_callbacks_own_query_stays(mark: str) -> None:
    """What is asked comes after it, with one separator."""
    request = parse(callback=f"http://reader.example/callback{mark}")
    query = request.verification_url("c").removeprefix(request.callback)
    separator = "&" if mark == "?its=own" else "?" if not mark else ""
    assert query.startswith(f"{separator}hub.mode=subscribe&hub.topic=")
