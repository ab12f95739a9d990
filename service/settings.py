"""Settings: environment variables `DATELINE_*` or a `.env` file, read once by each entry point.

A wrong value or an unknown `DATELINE_` name prevents the start; the error lists all faults.
Each field is documented in docs/settings.md (tests/test_docs.py compares the two).
"""

from __future__ import annotations

import difflib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from service.addresses import Network
from service.articles.retention import RetentionPolicy
from service.errors import InvalidInput, InvalidSettings
from service.redis_url import many_servers

PREFIX = "DATELINE_"
# Names with the prefix that are not settings: tests and benchmarks read them.
NOT_SETTINGS = ("DATELINE_TEST_", "DATELINE_BENCH_")
# Former settings: the start is refused while one is set, and the error says what replaced it.
REMOVED = {"hub_open": "the hub serves the feeds of this site alone; remove the line"}

# What dateline keeps in DATA_DIR.
OWN_FILES = ("api-token", "lock", "redis")
# A guess at anything shorter could succeed.
MIN_TOKEN_CHARS = 16

# Sites seen have a few dozen; a setting, because an archive of many sections may have more.
MAX_CATEGORIES_PER_SOURCE = 500

Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65_535)]


class Settings(BaseModel):
    """All settings of an operator. A name ends in its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    redis_url: str = ""
    redis_server: str = ""
    sentinel_password: str = ""
    wait_replicas: int | None = Field(default=None, ge=0, le=10)
    wait_ms: int = Field(default=1_000, ge=1, le=60_000)
    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = ""
    api_token: str = ""
    timezone: ZoneInfo = ZoneInfo("UTC")
    allowed_networks: tuple[Network, ...] = ()
    trusted_proxies: tuple[Network, ...] = ()
    open_networks: tuple[Network, ...] = ()
    allowed_ports: tuple[Port, ...] = (80, 443)
    poll_min_s: Seconds = 300
    poll_default_s: Seconds = 1800
    poll_max_s: Seconds = 86_400
    poll_spacing_s: float = Field(default=0.25, ge=0)
    parse_processes: int = Field(default=2, ge=1, le=64)
    fetch_timeout_s: Seconds = 30
    fetch_max_bytes: int = Field(default=20_000_000, gt=0)
    select_max_pages: int = Field(default=5, ge=1, le=100)
    history_max_documents: int = Field(default=200, ge=0)
    redirect_confirmations: int = Field(default=3, ge=1)
    max_categories_per_source: int = Field(default=MAX_CATEGORIES_PER_SOURCE, ge=0)
    duplicates: Literal["hide", "show"] = "hide"
    page_size: int = Field(default=50, ge=1, le=1000)
    period_page_size: int = Field(default=1_000, ge=1, le=10_000)
    stream_max_entries: int = Field(default=100_000, ge=100)
    stream_max_bytes: int = Field(default=0, ge=0)
    stream_retention_s: Seconds = 604_800
    retention: RetentionPolicy = RetentionPolicy()
    allow_volatile_redis: bool = False
    shards: int = Field(default=1, ge=1, le=1024)
    appendfsync: Literal["always", "everysec", "no"] = "everysec"
    webhook_retry_schedule_s: tuple[Annotated[float, Field(ge=0)], ...] = (
        5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400,
    )  # fmt: skip
    webhook_timeout_s: Seconds = 20
    webhook_disable_after_s: Seconds = 432_000
    hub_debounce_s: Seconds = 2
    hub_max_subscribers: int = Field(default=10_000, ge=0)
    hub_max_per_host: int = Field(default=200, ge=0)
    hub_max_per_address: int = Field(default=500, ge=0)
    hub_max_unconfirmed: int = Field(default=500, ge=1)
    hub_requests_per_minute: int = Field(default=30, ge=1)
    hub_egress_max_bytes: int = Field(default=20_000_000, ge=0)
    hub_pings: tuple[str, ...] = ()
    recheck_s: Seconds = 5
    cache_max_bytes: int = Field(default=128_000_000, ge=1_000_000)
    api_max_bytes: int = Field(default=16_000_000, ge=1000)
    max_connections: int = Field(default=0, ge=0)
    max_connections_per_address: int = Field(default=0, ge=0)
    events_max_streams: int = Field(default=0, ge=0)
    events_max_per_address: int = Field(default=0, ge=0)
    costly_reads: int = Field(default=2, ge=1)
    costly_reads_per_address: int = Field(default=16, ge=1)
    head_timeout_s: Seconds = 20
    body_timeout_s: Seconds = 30
    send_timeout_s: Seconds = 30
    keepalive_timeout_s: Seconds = 75
    worker_ordinal: int = Field(default=0, ge=0)
    drain_s: Seconds = 10
    site_title: str = "dateline"
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str], *, env_file: Path | None = Path(".env")
    ) -> Settings:
        """Read settings from `env_file` and `environ`; `environ` has precedence.

        Raises:
            InvalidSettings: has one line for each fault.
        """
        values: dict[str, str] = {}
        if env_file is not None and env_file.is_file():
            values.update({k: v for k, v in dotenv_values(env_file).items() if v is not None})
        values.update(environ)
        fields = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in values.items()
            if name.startswith(PREFIX) and not name.startswith(NOT_SETTINGS) and value.strip()
        }
        try:
            return cls.model_validate(fields)
        except ValidationError as exc:
            faults = dict.fromkeys(_fault(error, fields) for error in exc.errors())
            raise InvalidSettings(list(faults)) from exc

    @field_validator("timezone", mode="before")
    @classmethod
    def _zone(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return ZoneInfo(value)
        except (ValueError, OSError, KeyError) as exc:
            raise ValueError("is not an IANA time zone such as Europe/Paris") from exc

    @field_validator("retention", mode="before")
    @classmethod
    def _retention(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return RetentionPolicy.parse(value)
        except InvalidInput as exc:
            raise ValueError(f"in {exc.value}: {exc.reason}") from exc

    @field_validator(
        "allowed_networks", "trusted_proxies", "open_networks", "allowed_ports", "hub_pings",
        "webhook_retry_schedule_s", mode="before",
    )  # fmt: skip
    @classmethod
    def _list(cls, value: object) -> object:
        return [item.strip() for item in value.split(",")] if isinstance(value, str) else value

    @field_validator("hub_pings")
    @classmethod
    def _hub_pings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not url.startswith(("http://", "https://")) for url in value):
            raise ValueError("must be URLs of hubs, which start with http:// or https://")
        return value

    @field_validator("site_title", "public_url")
    @classmethod
    def _one_line(cls, value: str) -> str:
        # Both are written into every feed: one forbidden character would make all feeds unreadable.
        if not value.isprintable():
            raise ValueError("must be one line without control characters")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        if value:
            many_servers(value)
        return value

    @field_validator("api_token")
    @classmethod
    def _api_token(cls, value: str) -> str:
        value = value.strip()
        if value and (fault := token_fault(value)):
            raise ValueError(fault)
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @property
    def base_url(self) -> str:
        """The URL of the site without a slash at the end: PUBLIC_URL, else host and port."""
        if self.public_url:
            return self.public_url
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 -- compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET6 if HOST is an IPv6 address, else AF_INET."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def is_own_file(self, path: Path) -> bool:
        """Whether a path leads to what dateline itself keeps in DATA_DIR: secrets and Redis's
        files."""
        real, own = path.resolve(), self.data_dir.resolve()
        return any(real.is_relative_to(own / name) for name in OWN_FILES)

    def to_env(self) -> dict[str, str]:
        """The environment variables with which a child process reads the same settings."""
        return {
            PREFIX + name.upper(): text
            for name in sorted(self.model_fields_set)
            if (text := self._text(name))
        }

    def _text(self, name: str) -> str:
        value = getattr(self, name)
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def token_fault(token: str) -> str:
    """Why a token that an operator chose cannot be taken; empty if it can."""
    if len(token) < MIN_TOKEN_CHARS:
        return f"must have at least {MIN_TOKEN_CHARS} characters"
    # No client could send them in a header.
    if not token.isprintable() or " " in token:
        return "must be one word of visible characters"
    return ""


def _fault(error: ErrorDetails, fields: Mapping[str, str]) -> str:
    field = str(error["loc"][0])
    name = PREFIX + field.upper()
    if field in REMOVED:
        return f"{name}: is no longer a setting: {REMOVED[field]}"
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(field, Settings.model_fields, n=1)
        hint = f"; did you mean {PREFIX}{close[0].upper()}?" if close else "; see docs/settings.md"
        return f"{name}: no such setting{hint}"
    reason = error["msg"].removeprefix("Value error, ")
    shown = (
        "***"
        if field in ("api_token", "redis_url", "sentinel_password")
        else repr(fields.get(field, ""))
    )
    return f"{name}={shown}: {reason[0].lower()}{reason[1:]}"


def load() -> Settings:
    """Read the settings of this process; only its entry point calls this.

    Raises:
        InvalidSettings: has one line for each fault.
    """
    return Settings.from_env(os.environ, env_file=Path(".env"))
