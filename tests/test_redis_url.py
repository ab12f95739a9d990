"""URLs of Sentinels and clusters, as operators write them."""

from __future__ import annotations

import pytest

from service.errors import InvalidSettings
from service.redis_url import Address, many_servers
from service.settings import Settings


@pytest.mark.parametrize(
    ("url", "addresses", "names", "of_first"),
    [
        (
            "redis+sentinel://u:p@a:1,b/m",
            ["a:1", "b:26379"], ["m"], "redis://u:p@a:1",
        ),
        (
            "rediss+sentinel://:p@[::1]:5/m,n?ssl_ca_certs=/ca.pem",
            ["[::1]:5"], ["m", "n"], "rediss://:p@[::1]:5?ssl_ca_certs=/ca.pem",
        ),
        ("redis+cluster://a,b:7/", ["a:6379", "b:7"], [], "redis://a:6379"),
        ("redis+cluster://u:p%40q@a/0", ["a:6379"], [], "redis://u:p%40q@a:6379"),
        ("redis+cluster://[::1]", ["[::1]:6379"], [], "redis://[::1]:6379"),
    ],
)  # fmt: skip
def test_a_url_of_many_servers(
    url: str, addresses: list[str], names: list[str], of_first: str
) -> None:
    """Each server has the login and the options of the URL."""
    servers = many_servers(url)
    assert servers is not None
    assert addresses == list(map(str, servers.addresses))
    assert names == list(servers.names)
    assert of_first == servers.url_of(servers.addresses[0])


def test_sentinels_have_a_password_of_their_own() -> None:
    """And none is sent that is not set."""
    servers = many_servers("redis+sentinel://:p@a/m")
    assert servers is not None
    assert "redis://a:1" == servers.sentinel_url(Address("a", 1), "")
    assert "redis://:s%2F%40@a:1" == servers.sentinel_url(Address("a", 1), "s/@")


@pytest.mark.parametrize("url", ["redis://a", "rediss://a:1/2", "unix:///run/redis.sock"])
def test_a_url_of_one_server_is_for_the_client(url: str) -> None:
    """redis-py reads the URL of one server itself."""
    assert many_servers(url) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://a", "must start with redis://"),
        ("redis+http://a", "must start with redis://"),
        ("unix+sentinel://a/m", "must start with redis://"),
        ("redis+sentinel://a", "must end with the name of a primary"),
        ("redis+sentinel:///m", "must name a host"),
        ("redis+cluster://a/3", "database 0 alone"),
        ("redis+cluster://a:x", "host:port, and not a:x"),
        ("redis+cluster://a:99999", "host:port"),
        ("redis+cluster://:p@:1", "host:port"),
    ],
)
def test_a_wrong_url_stops_the_start(url: str, reason: str) -> None:
    """With the reason, and without its password."""
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({"DATELINE_REDIS_URL": url}, env_file=None)
    assert reason in str(caught.value)
    assert ":p@" not in str(caught.value)
