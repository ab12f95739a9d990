"""Dockerfile and compose file, held against the command line and the settings that they name."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from service.cli.main import main
from service.settings import Settings
from service.web.routes import ROUTES
from tests.running import ROOT
from workers.commands import ROLES


@pytest.fixture(scope="module")
def steps() -> list[dict[str, Any]]:
    """The instructions of the Dockerfile."""
    found: list[dict[str, Any]] = DockerfileParser(str(ROOT / "Dockerfile")).structure
    return [step for step in found if step["instruction"] != "COMMENT"]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, parsed."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


def values(steps: list[dict[str, Any]], instruction: str) -> list[str]:
    """What an instruction says, each time."""
    return [step["value"] for step in steps if step["instruction"] == instruction]


def is_command(words: list[str]) -> bool:
    """Whether the command line knows it, roles of `work` included."""
    known = words[0] in main.commands
    return known and (words[0] != "work" or set(words[1:]) <= ROLES.keys())


def settings_in(text: str) -> set[str]:
    """DATELINE_ names in a text."""
    return set(re.findall(r"DATELINE_([A-Z_]+)", text))


def test_base_images_are_pinned_and_the_last_stage_builds_nothing(
    steps: list[dict[str, Any]],
) -> None:
    """A named version and Debian release; no compiler and no pip in the final stage."""
    bases = values(steps, "FROM")
    assert 2 == len(bases)
    assert all(re.match(r"python:3\.1[1-9]-slim-bookworm( AS \w+)?$", base) for base in bases)
    last = max(i for i, step in enumerate(steps) if step["instruction"] == "FROM")
    final = " ".join(values(steps[last:], "RUN"))
    assert not re.search(r"\b(pip|apt-get|curl|gcc)\b", final)
    (venv,) = [run for run in values(steps[:last], "RUN") if " venv " in run]
    assert "--without-pip" in venv


def test_the_python_of_the_image_is_one_we_support(steps: list[dict[str, Any]]) -> None:
    """By pyproject.toml, and one that has ready wheels: nothing is compiled in the build."""
    (found,) = {base.split("-")[0].removeprefix("python:") for base in values(steps, "FROM")}
    version = tuple(map(int, found.split(".")))
    assert (3, 11) <= version < (3, 15)


def test_what_is_installed_is_pinned_and_the_code_comes_last(steps: list[dict[str, Any]]) -> None:
    """Every install is held by constraints.txt; a change of code leaves the dependencies' layer."""
    order = [f"{step['instruction']} {step['value']}" for step in steps]
    installs = [
        number for number, step in enumerate(order) if " install --" in step and "pip" in step
    ]
    assert [True, True] == ["--constraint constraints.txt" in order[number] for number in installs]
    code = next(number for number, step in enumerate(order) if step.startswith("COPY service"))
    assert installs[0] < code < installs[1]
    assert "--no-deps" in order[installs[1]]


def test_nothing_is_fetched_past_pip(steps: list[dict[str, Any]]) -> None:
    """No ADD, no sudo, no relative WORKDIR, and no secret baked in (hadolint DL3000, DL3004)."""
    assert [] == values(steps, "ADD") + values(steps, "ARG")
    assert not [run for run in values(steps, "RUN") if "sudo" in run]
    assert all(path.startswith("/") for path in values(steps, "WORKDIR"))
    assert not re.search("TOKEN|PASSWORD|SECRET", " ".join(values(steps, "ENV")))


def test_the_process_is_not_root(steps: list[dict[str, Any]]) -> None:
    """USER is a number (so that orchestrators can check it) and comes before the entry point."""
    assert ["10001"] == values(steps, "USER")
    order = [step["instruction"] for step in steps]
    assert order.index("USER") < order.index("ENTRYPOINT")


def test_the_command_is_ours(steps: list[dict[str, Any]]) -> None:
    """Exec form, so that signals reach the process; a command that exists."""
    assert ['["dateline"]'] == values(steps, "ENTRYPOINT")
    (command,) = values(steps, "CMD")
    assert is_command(yaml.safe_load(command))
    assert ["SIGTERM"] == values(steps, "STOPSIGNAL")


def test_the_healthcheck_asks_a_route_that_exists(steps: list[dict[str, Any]]) -> None:
    """With what the image has: python."""
    (check,) = values(steps, "HEALTHCHECK")
    command = yaml.safe_load(check.partition("CMD ")[2])
    assert "python" == command[0]
    compile(command[2], "healthcheck", "exec")
    (path,) = re.findall(r"\}(/\w+)'", command[2])
    assert path in {route.path for route in ROUTES}
    assert values(steps, "EXPOSE") == re.findall(
        r"DATELINE_PORT=(\d+)", " ".join(values(steps, "ENV"))
    )


def test_all_that_is_copied_exists_and_is_let_through(steps: list[dict[str, Any]]) -> None:
    """.dockerignore hides everything else, secrets and data included."""
    copied = {
        name.removeprefix("./")
        for value in values(steps, "COPY")
        if "--from" not in value
        for name in value.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" == lines[0]
    assert copied == {line[1:] for line in lines if line.startswith("!")}


def test_settings_that_are_named_exist(steps: list[dict[str, Any]]) -> None:
    """In the image and in the compose file."""
    known = {name.upper() for name in Settings.model_fields}
    text = " ".join(values(steps, "ENV")) + (ROOT / "docker-compose.yml").read_text()
    assert settings_in(text) <= known
    assert {"HOST", "DATA_DIR", "REDIS_URL", "API_TOKEN", "DRAIN_S"} <= settings_in(text)


def test_a_service_for_each_role(compose: dict[str, Any]) -> None:
    """redis, the server, and every worker role, of one image."""
    services = compose["services"]
    assert {"redis", "server", *ROLES} == services.keys()
    ours = {name: service for name, service in services.items() if name != "redis"}
    assert {"dateline"} == {service["image"] for service in ours.values()}
    assert re.fullmatch(r"redis:7-\w+", services["redis"]["image"])
    assert all(is_command(service["command"]) for service in ours.values())
    for role in ROLES:
        assert ["work", role] == services[role]["command"]


def test_services_are_confined(compose: dict[str, Any]) -> None:
    """Read-only, without capabilities; the only open port is the server's, on loopback."""
    for name, service in compose["services"].items():
        if name != "redis":
            assert service["read_only"] is True
            assert ["ALL"] == service["cap_drop"]
            assert ["no-new-privileges:true"] == service["security_opt"]
    ports = {name: s["ports"] for name, s in compose["services"].items() if "ports" in s}
    assert {"server": ["127.0.0.1:8080:8080"]} == ports


def test_redis_keeps_what_it_was_given(compose: dict[str, Any]) -> None:
    """Append-only file on a volume, nothing evicted, and ours wait until it answers."""
    redis = compose["services"]["redis"]
    options = dict(zip(redis["command"][1::2], redis["command"][2::2], strict=True))
    assert "yes" == options["--appendonly"]
    assert "noeviction" == options["--maxmemory-policy"]
    assert ["archive:/data"] == redis["volumes"]
    assert "archive" in compose["volumes"]
    waits = {name: s.get("depends_on") for name, s in compose["services"].items()}
    assert all(
        {"redis": {"condition": "service_healthy"}} == wait
        for name, wait in waits.items()
        if name != "redis"
    )


def test_the_token_has_no_default(compose: dict[str, Any]) -> None:
    """Compose refuses to start without one."""
    token = compose["services"]["server"]["environment"]["DATELINE_API_TOKEN"]
    assert token.startswith("${DATELINE_API_TOKEN:?")
    grace_s = int(compose["services"]["server"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings.model_fields["drain_s"].default
