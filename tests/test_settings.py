"""Settings: read once, all faults at once, nothing secret shown."""

from __future__ import annotations

import ipaddress
import logging
from pathlib import Path

import pytest

from service import logs
from service.errors import InvalidSettings
from service.settings import Settings


def faults(**values: str) -> tuple[str, ...]:
    """What is wrong with these."""
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({f"DATELINE_{n}": v for n, v in values.items()}, env_file=None)
    return caught.value.faults


def read(**values: str) -> Settings:
    """Settings from these variables; the others have their defaults."""
    return Settings.from_env({f"DATELINE_{n}": v for n, v in values.items()}, env_file=None)


def test_former_settings_say_what_became_of_them() -> None:
    """No likely name is offered for one that was removed."""
    (fault,) = faults(HUB_OPEN="true")
    assert fault.startswith("DATELINE_HUB_OPEN: is no longer a setting: the hub serves")


def test_all_faults_are_listed() -> None:
    """Each with name, value and reason."""
    found = faults(PORT="high", PAGE_SIZE="0", TIMEZONE="Mars/Base", PROT="1", APPENDFSYNC="often")
    assert 5 == len(found)
    text = "\n".join(found)
    assert "DATELINE_PORT='high': " in text
    assert "DATELINE_TIMEZONE='Mars/Base': is not an IANA time zone" in text
    assert "DATELINE_PROT: no such setting; did you mean DATELINE_PORT?" in text


def test_an_unknown_name_far_from_all_leads_to_the_documents() -> None:
    """A misspelt setting must not pass as not given."""
    assert ("DATELINE_XYZZY: no such setting; see docs/settings.md",) == faults(XYZZY="1")


def test_secrets_are_not_shown() -> None:
    """Neither a token nor a password in a URL."""
    assert "hunter2" not in "\n".join(faults(REDIS_URL="http://:hunter2@x/"))


@pytest.mark.parametrize("token", ["hunter2", "x" * 15, "hunter2 with spaces", "hunter2\x07" * 3])
def test_a_token_that_could_be_guessed_is_refused(token: str) -> None:
    """Under 16 characters, or what no header can carry; it is not shown."""
    (fault,) = faults(API_TOKEN=token)
    assert fault.startswith("DATELINE_API_TOKEN=***: must ")
    assert "hunter2" not in fault


def test_a_token_may_have_a_line_end() -> None:
    """As files have that it was read from."""
    assert "x" * 16 == read(API_TOKEN="x" * 16 + "\n").api_token


@pytest.mark.parametrize(
    ("name", "value"),
    [("SHARDS", "0"), ("POLL_MIN_S", "0"), ("PUBLIC_URL", "x.example"), ("LANGUAGE", "e"),
     ("WEBHOOK_RETRY_SCHEDULE_S", "5,x"), ("ALLOWED_NETWORKS", "127.0.0.1/99"),
     ("OPEN_NETWORKS", "everything"), ("ALLOWED_PORTS", "80,0"), ("ALLOWED_PORTS", "http"),
     ("LOG_LEVEL", "loud")],
)  # fmt: skip
def test_wrong_values(name: str, value: str) -> None:
    """Each value is reported as one fault."""
    assert all(fault.startswith(f"DATELINE_{name}=") for fault in faults(**{name: value}))


def test_lists_and_urls() -> None:
    """Commas; no slash at the end."""
    found = read(
        ALLOWED_NETWORKS="127.0.0.0/8, ::1/128",
        WEBHOOK_RETRY_SCHEDULE_S="1,2.5",
        PUBLIC_URL="https://n.example/",
    )
    assert (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")) == (
        found.allowed_networks
    )
    assert (1.0, 2.5) == found.webhook_retry_schedule_s
    assert "https://n.example" == found.base_url


@pytest.mark.parametrize(
    ("host", "base"),
    [("127.0.0.1", "http://127.0.0.1:8080"), ("0.0.0.0", "http://127.0.0.1:8080"),
     ("::1", "http://[::1]:8080"), ("::", "http://127.0.0.1:8080"),
     ("n.example", "http://n.example:8080")],
)  # fmt: skip
def test_the_address_that_readers_get(host: str, base: str) -> None:
    """Made of host and port, where PUBLIC_URL is not set."""
    assert base == read(HOST=host).base_url


def test_a_file_gives_what_the_environment_does_not(tmp_path: Path) -> None:
    """The environment wins; empty values count as not given."""
    file = tmp_path / ".env"
    file.write_text("DATELINE_PORT=1\nDATELINE_HOST=a.example\nOTHER=x\n")
    found = Settings.from_env({"DATELINE_PORT": "2", "DATELINE_HOST": ""}, env_file=file)
    assert (2, "127.0.0.1") == (found.port, found.host)
    assert "a.example" == Settings.from_env({}, env_file=file).host


def test_children_read_the_same() -> None:
    """to_env and from_env are inverse for what was set."""
    found = read(
        ALLOWED_NETWORKS="127.0.0.0/8,::1/128",
        OPEN_NETWORKS="10.0.0.0/8",
        ALLOWED_PORTS="443,81",
        TIMEZONE="Europe/Paris",
        DATA_DIR="x",
        ALLOW_VOLATILE_REDIS="yes",
        WEBHOOK_RETRY_SCHEDULE_S="1,2.5",
    )
    assert found == Settings.from_env(found.to_env(), env_file=None)


def test_log_lines_are_one_line_and_say_what_varies() -> None:
    """Key=value behind a constant text; what could break the line is JSON."""
    record = logging.makeLogRecord(
        {"name": "n", "msg": "sent", "levelname": "INFO", "to": "a b\n", "ms": 5, "empty": ""}
    )
    line = logs.KeyValueFormatter().format(record)
    assert line.endswith('info    n: sent to="a b\\n" ms=5 empty=""')
    assert "\n" not in line


@pytest.mark.parametrize("name", ["SITE_TITLE", "PUBLIC_URL"])
def test_what_stands_in_every_feed_has_no_control_characters(name: str) -> None:
    """One of them would make all feeds unreadable."""
    with pytest.raises(InvalidSettings, match="one line without control characters"):
        Settings.from_env({f"DATELINE_{name}": "http://a\x01b"}, env_file=None)
