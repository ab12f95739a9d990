"""Who may import whom, and how large a thing may be: docs/architecture.md as a table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.running import ROOT

MODULES = sorted(
    path for folder in ("service", "workers") for path in (ROOT / folder).rglob("*.py")
)
PYTHON = sorted(
    path
    for folder in ("service", "workers", "tests", "bench", "examples")
    for path in (ROOT / folder).rglob("*.py")
)
# Library → the only places that may import it.
ONLY_IN = {
    "redis": ("service/storage/",),
    "feedgen": ("service/feeds/",),
    "apscheduler": ("workers/schedule.py",),
    "jinja2": ("service/web/",),
    "feedparser": ("workers/ingest/parse/",),
    "trafilatura": ("workers/ingest/parse/html/readability.py",),
    "aiohttp.web": ("service/web/",),
    "aiohttp": (
        "service/web/",
        "service/logs.py",
        "workers/http_client.py",
        "workers/ingest/",
        "workers/deliver/",
    ),
    "nh3": ("service/articles/sanitize.py",),
    "click": ("service/cli/", "workers/__main__.py"),
}
# Values in, values out: none of these may do I/O or know a clock.
PURE = (
    "service/articles/", "service/decoding.py",
    "service/feeds/", "service/http.py", "service/sources/", "service/webhooks/",
    "service/websub/",
    "service/web/serving/conditional.py", "service/web/html/",
    "workers/ingest/candidates.py", "workers/ingest/identify.py",
    "workers/ingest/parse/", "workers/ingest/documents.py",
)  # fmt: skip
IO = ("asyncio", "aiohttp", "redis", "socket", "subprocess", "os", "time", "service.storage")
# Loops meet on the stream and in Redis, never in code.
LOOPS = (
    "workers.aggregate.aggregator",
    "workers.deliver",
    "workers.aggregate.duplicate_finder",
    "workers.ingest",
)
ROOTS = ("service/cli/", "service/settings.py")
MAX_LINES, MAX_FUNCTION_LINES = 400, 60


def name_of(path: Path) -> str:
    """`service/web/app.py`."""
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> set[str]:
    """Every module that a file imports, `from x import y` as both x and x.y."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}: imports are absolute"
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def uses(path: Path, module: str) -> bool:
    """Whether a file imports a module or something in it."""
    return any(found == module or found.startswith(f"{module}.") for found in imports(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    """redis in storage, aiohttp.web in web, feedgen in feeds, and so on."""
    for library, rooms in ONLY_IN.items():
        if not name_of(path).startswith(rooms):
            assert not uses(path, library), f"{library} belongs to {rooms}"


def test_service_never_imports_workers() -> None:
    """The command line starts them as processes."""
    assert [] == [
        name_of(p) for p in MODULES if name_of(p).startswith("service/") and uses(p, "workers")
    ]


def test_loops_never_import_each_other() -> None:
    """Only the root knows them all."""
    for path in MODULES:
        module = name_of(path).removesuffix(".py").replace("/", ".")
        own = next((loop for loop in LOOPS if module.startswith(loop)), None)
        if own:
            assert [] == [loop for loop in LOOPS if loop != own and uses(path, loop)]


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith(PURE)], ids=name_of)
def test_pure_modules_do_no_io(path: Path) -> None:
    """Nor do they ask for the time: callers pass `now`."""
    assert [] == [module for module in IO if uses(path, module)]
    assert not re.search(r"datetime\.now|\bopen\(|\bprint\(", path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_environment_is_read_by_the_roots_alone(path: Path) -> None:
    """Everything else gets Settings."""
    text = path.read_text()
    asks = re.search(r"os\.(environ|getenv)", text) or imports(path) & {"os.environ", "os.getenv"}
    assert name_of(path).startswith(ROOTS) or not asks


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_files_and_functions_stay_small(path: Path) -> None:
    """None over 400 lines, no function over 60; split by noun."""
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_files_say_what_they_own(path: Path) -> None:
    """A docstring at the top, and no name that means nothing."""
    assert path.stem not in ("utils", "helpers", "common", "base", "misc")
    text = path.read_text()
    assert not text or ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_things_are_documented(path: Path) -> None:
    """Every public class, function and method has a docstring."""
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for node in [*tree.body, *(member for owner in classes for member in owner.body)]:
        is_named = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        if is_named and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
