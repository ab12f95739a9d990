"""The documents say what there is: settings, routes, commands, keys, links."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC
from pathlib import Path

import click
import pytest

from service.articles.article import Article
from service.articles.event import EVENT_TYPES
from service.articles.input import entry_from_json
from service.cli.main import main
from service.errors import InvalidInput
from service.feeds.formats import FORMATS
from service.feeds.query import parse_query
from service.settings import Settings
from service.storage import keys
from service.web.routes import ROUTES
from tests.running import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
FILES = [
    path
    for room in ("service", "workers", "tests", "bench", "chaos", "examples")
    for path in (ROOT / room).rglob("*.*")
]
NAMING = [p for p in FILES if p.suffix in (".py", ".lua") and p.parts[len(ROOT.parts)] != "tests"]
NAMING.append(ROOT / "docs" / "architecture.md")
HTTP = (ROOT / "docs" / "http.md").read_text()


def is_end_of(name: str, file: Path) -> bool:
    """Whether a name, with or without folders, is a file's."""
    return f"/{file}".endswith(f"/{name}")


def default_of(name: str) -> str:
    """The default of a setting as docs/settings.md writes it."""
    value = Settings.model_fields[name].default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(f'{v:g}' if v < 1e5 else str(v) for v in value)}`" if value else "empty"
    return "empty" if value is None or not str(value) else f"`{value}`"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    """docs/settings.md has one row for each setting."""
    assert f"| `DATELINE_{name.upper()}` | {default_of(name)} |" in SETTINGS


def test_no_setting_is_documented_that_does_not_exist() -> None:
    """Nothing is left behind by a change."""
    rows = re.findall(r"^\| `DATELINE_([A-Z_]+)`", SETTINGS, re.MULTILINE)
    assert {name.upper() for name in Settings.model_fields} == set(rows)


def test_the_threat_model_names_settings_that_exist() -> None:
    """SECURITY.md, where names of settings are in capitals and code."""
    names = set(re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", (ROOT / "SECURITY.md").read_text()))
    assert "API_MAX_BYTES" in names
    assert set() == names - {name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_documented(route: object) -> None:
    """Method and path, as in the route table."""
    assert f"`{route.method} {route.path}`" in HTTP  # type: ignore[attr-defined]


def is_named(name: str, text: str) -> bool:
    """Whether a document has this word in code."""
    return re.search(rf"`[^`]*\b{name}\b[^`]*`", text) is not None


def parameters() -> list[str]:
    """The names that a feed's query may have, as the error for an unknown one lists them."""
    try:
        parse_query("unknown=1", zone=UTC)
    except InvalidInput as exc:
        return exc.reason.partition("known: ")[2].split(", ")
    raise AssertionError("a parameter without a meaning was accepted")


@pytest.mark.parametrize("name", parameters())
def test_every_parameter_of_a_feed_is_documented(name: str) -> None:
    """docs/http.md names each parameter, as `lang=`."""
    assert re.search(rf"`\??{name}=", HTTP)


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_is_documented(extension: str) -> None:
    """docs/http.md, in the paths of feeds."""
    assert re.search(rf"\{{(?:[a-z.]+\|)*{extension}(?:\|[a-z.]+)*\}}", HTTP)


def test_every_field_of_an_article_is_documented() -> None:
    """Those that others read in docs/stream.md, those that they may send in docs/http.md."""
    stream = (ROOT / "docs" / "stream.md").read_text()
    assert [] == [f.name for f in fields(Article) if not is_named(f.name, stream)]
    with pytest.raises(InvalidInput) as caught:
        entry_from_json({"unknown": 1})
    sendable = caught.value.reason.partition("known: ")[2].split(", ")
    assert [] == [name for name in sendable if not is_named(name, HTTP)]


@pytest.mark.parametrize("document", ["stream.md", "webhooks.md"])
def test_every_type_of_event_is_documented(document: str) -> None:
    """Each by its own word: `…updated.v1`."""
    text = (ROOT / "docs" / document).read_text()
    words = [kind.removeprefix("dateline.article.") for kind in EVENT_TYPES]
    assert [] == [word for word in words if word not in text]


def commands(group: click.Group, prefix: str = "dateline") -> list[str]:
    """The words of every command, as they are typed."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, f"{prefix} {name}")
        else:
            found.append(f"{prefix} {name}")
    return found


@pytest.mark.parametrize("command", commands(main))
def test_every_command_is_in_the_readme(command: str) -> None:
    """By itself, or as `dateline sources add|list|…`."""
    readme = (ROOT / "README.md").read_text().replace("\\|", "|")
    _, *words = command.split()
    if len(words) == 1:
        assert f"`dateline {words[0]}" in readme
    else:
        (listed,) = re.findall(rf"`dateline {words[0]} ([a-z|-]+)`", readme)
        assert words[1] in listed.split("|")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_inside_lead_somewhere(path: Path) -> None:
    """Relative links name files that exist."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_every_key_is_described() -> None:
    """keys.py: each function has a docstring with a lifetime, each constant a comment above it."""
    source = Path(keys.__file__).read_text()
    for name in re.findall(r"^([A-Z_]+) = \"dateline", source, re.MULTILINE):
        assert re.search(rf"# dateline:\{{0\}}:[\s\S]*?\n{name} = ", source), name
    functions = [f for n, f in vars(keys).items() if callable(f)]
    for function in functions:
        words = ("permanent", "TTL", "capped", "MAXLEN", "removed", "append →")
        assert any(word in (function.__doc__ or "") for word in words), function.__name__


def test_numbers_of_performance_name_their_command() -> None:
    """docs/performance.md says how each table was made."""
    text = (ROOT / "docs" / "performance.md").read_text()
    for script in sorted((ROOT / "bench").glob("[a-z]*.py")):
        if script.stem not in ("machine", "posting", "rig"):
            assert f"python -m bench.{script.stem}" in text


@pytest.mark.parametrize("path", sorted(NAMING), ids=lambda path: str(path.relative_to(ROOT)))
def test_names_of_files_in_code_and_architecture_exist(path: Path) -> None:
    """What is renamed is renamed where it is mentioned: files, rooms, and names in our modules."""
    text = path.read_text()
    names = re.findall(r"(?<![\w/.*<-])((?:[a-z_]+/)*[a-z_][\w-]*\.(?:py|lua))\b", text)
    assert [] == [name for name in names if not any(is_end_of(name, file) for file in FILES)]
    folders = re.findall(r"`((?:service|workers|tests|chaos)/[a-z_/]+)`", text)
    assert [] == [n for n in folders if not (ROOT / n).exists() and not (ROOT / f"{n}.py").exists()]
    for module, attribute in re.findall(r"`([a-z_]+)\.([A-Za-z_]+)`", text):
        of_that_name = [file for file in FILES if file.stem == module and file.suffix == ".py"]
        defined = re.compile(rf"^\s*(?:(?:async )?def |class )?{attribute}\b", re.MULTILINE)
        is_file = any(f.stem == attribute or f.name == f"{module}.{attribute}" for f in FILES)
        is_defined = any(defined.search(file.read_text()) for file in of_that_name)
        assert not of_that_name or is_file or is_defined, f"{module}.{attribute}"
