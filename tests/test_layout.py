"""The house as a table: who may import whom, what is pure, where libraries live, how large a thing
may be. docs/architecture.md says what each room is for.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.running import ROOT
from tests.waiting import MAX_SLEEP_S

# From the bottom to the top. A room may use the rooms of the rows above its own in this list, and
# nothing beside or below it. A room is a module or a package.
ROWS = (
    ("service.errors", "service.addresses", "service.printable"),
    ("service.logs", "service.http", "service.process", "service.decoding", "service.redis_url"),
    ("service.articles",),
    ("service.settings",),
    ("service.feeds",),
    ("service.webhooks", "service.websub", "service.tokens"),
    ("service.sources",),
    ("service.storage",),
    ("service.rendering", "service.manage"),
    ("service.web.html",),
    ("service.web.serving",),
    ("service.web.request",),
    ("service.web.handlers", "service.web.api_token"),
    ("service.web.routes",),
    ("service.web.app",),
    ("service.web.server",),
    ("service.cli",),
    ("service.__main__",),
    ("workers.runtime", "workers.schedule", "workers.resolver"),
    ("workers.proxies",),
    ("workers.http_client",),
    ("workers.ingest.parse",),
    ("workers.ingest", "workers.aggregate", "workers.deliver"),
    ("workers.demo",),
    ("workers.commands",),
    ("workers.__main__",),
)
# Inside workers.deliver, in the same way.
DELIVER_ROWS = (
    ("workers.deliver.endpoint",),
    ("workers.deliver.slots", "workers.deliver.send", "workers.deliver.ack_writer"),
    ("workers.deliver.dispatcher",),
    ("workers.deliver.webhooks", "workers.deliver.hub"),
    ("workers.deliver.worker",),
)
# Modules of one of these do not import each other: each is for itself.
SEPARATE = ("service.web.handlers",)
# Values in, values out: none of these does I/O or knows a clock.
PURE = (
    "service.addresses", "service.printable", "service.redis_url", "service.articles",
    "service.feeds", "service.http",
    "service.decoding",
    "service.sources", "service.tokens", "service.webhooks", "service.websub", "service.web.html",
    "service.web.serving.conditional",
    "workers.ingest.parse", "workers.ingest.apply_rules", "workers.ingest.candidates",
    "workers.ingest.documents", "workers.ingest.preview_document",
    "workers.ingest.identify", "workers.ingest.parse_report", "workers.ingest.remaining_entries",
)  # fmt: skip
IO = ("asyncio", "aiohttp", "redis", "socket", "subprocess", "os", "time", "service.storage")
# Library → the only rooms that may import it.
LIBRARIES = {
    "redis": ("service.storage",),
    "aiohttp.web": ("service.web",),
    "aiohttp": ("service.web", "workers.http_client", "workers.proxies",
                "workers.resolver", "workers.ingest", "workers.deliver"),
    "aiohttp_socks": ("workers.proxies",),
    "apscheduler": ("workers.schedule",),
    "click": ("service.cli", "workers.commands"),
    "feedgen": ("service.feeds",),
    "feedparser": ("workers.ingest.parse",),
    "jinja2": ("service.web",),
    "cssselect": ("service.sources.selector",),
    "jsonpath": ("service.sources.selector",),
    "nh3": ("service.articles.sanitize",),
    "re2": ("service.sources.rules",),
    "trafilatura": ("workers.ingest.parse.html.readability",),
}  # fmt: skip
# The only rooms that read the environment; everything else is given Settings.
ROOTS = ("service.cli", "service.settings", "workers.commands")
MAX_LINES, MAX_FUNCTION_LINES = 400, 60
SLEEPS = ("asyncio.sleep", "time.sleep", "sleep")
MEANINGLESS = ("utils", "helpers", "common", "base", "misc")
CODE = ("service", "workers", "tests", "bench", "chaos", "examples")
ROOMS = [room for row in ROWS for room in row]


@cache
def modules(*folders: str) -> dict[str, Path]:
    """Name → file of every module in these folders of the repository."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(paths)
    }


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text())


@cache
def imports(module: str) -> frozenset[str]:
    """Everything that a module imports, at its top, in functions or for types alone; of
    `from x import y` both x and x.y."""
    found: set[str] = set()
    for node in ast.walk(tree(modules("service", "workers")[module])):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            found.add(str(node.module))
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def is_in(module: str, room: str) -> bool:
    """Whether a module is a room or in it."""
    return module == room or module.startswith(f"{room}.")


def in_room(room: str) -> list[str]:
    """The modules of a room."""
    return [module for module in modules("service", "workers") if is_in(module, room)]


def room_of(module: str, rows: tuple[tuple[str, ...], ...] = ROWS) -> str:
    """The room that a module stands in: of several the innermost; empty if it is in none."""
    rooms = [room for row in rows for room in row if is_in(module, room)]
    return max(rooms, key=len, default="")


def forbidden(room: str, rows: tuple[tuple[str, ...], ...]) -> list[str]:
    """`module imports other`, for each import of a room that its row does not allow."""
    row_of = {each: number for number, row in enumerate(rows) for each in row}
    return [
        f"{module} imports {target}"
        for module in in_room(room)
        if room_of(module, rows) == room
        for imported in imports(module)
        if (target := room_of(imported, rows)) and target != room
        if row_of[target] >= row_of[room]
    ]


def test_every_module_has_a_room() -> None:
    """A new module belongs to a room of the table."""
    packages = ("service", "service.web", "workers")
    assert [] == [
        module
        for module in modules("service", "workers")
        if not room_of(module) and module not in packages
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_use_only_the_rows_above(room: str) -> None:
    """Also for types, and in functions."""
    assert [] == forbidden(room, ROWS)


@pytest.mark.parametrize("room", [room for row in DELIVER_ROWS for room in row])
def test_inside_deliver_too(room: str) -> None:
    """Webhooks and the hub share what dispatches them, and do not know each other."""
    assert [] == forbidden(room, DELIVER_ROWS)


def test_service_never_imports_workers() -> None:
    """The command line starts them as processes."""
    assert [] == [m for m in in_room("service") if any(is_in(i, "workers") for i in imports(m))]


@pytest.mark.parametrize("room", SEPARATE)
def test_handlers_do_not_import_each_other(room: str) -> None:
    """What two of them need stands in request."""
    assert [] == [
        f"{module} imports {imported}"
        for module in in_room(room)
        for imported in imports(module)
        if is_in(imported, room)
    ]


def test_no_module_imports_itself_by_a_detour() -> None:
    """No circle of imports, not even of those for types."""
    known = modules("service", "workers")
    graph = {module: {i for i in imports(module) if i in known and i != module} for module in known}
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_do_no_io(room: str) -> None:
    """Nor do they ask for the time: callers pass `now`."""
    found = []
    for module in in_room(room):
        found += [f"{module} imports {i}" for i in imports(module) if any(is_in(i, o) for o in IO)]
        text = modules("service", "workers")[module].read_text()
        found += [f"{module}: {c}" for c in re.findall(r"datetime\.now|\bopen\(|\bprint\(", text)]
    assert [] == found


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_stay_in_their_rooms(library: str) -> None:
    """redis in storage, feedgen in feeds, and so on."""
    assert [] == [
        module
        for module in modules("service", "workers")
        if any(is_in(imported, library) for imported in imports(module))
        and not any(is_in(module, room) for room in LIBRARIES[library])
    ]


def test_what_is_shipped_does_not_use_what_tests_it() -> None:
    """Tests, benchmarks and the chaos test start it as a user does."""
    beside = ("tests", "bench", "chaos", "examples")
    assert [] == [
        f"{module} imports {imported}"
        for module in modules("service", "workers")
        for imported in imports(module)
        if any(is_in(imported, room) for room in beside)
    ]


def test_nothing_goes_out_but_through_the_guard() -> None:
    """Sessions and connectors of aiohttp, and sockets, are made by the HTTP client and its proxies
    alone."""
    making = re.compile(r"aiohttp\.(ClientSession|TCPConnector|request)\(|\burlopen\(|import httpx")
    assert ["workers.http_client", "workers.proxies"] == [
        module
        for module, path in modules("service", "workers").items()
        if making.search(path.read_text())
    ]


def test_the_environment_is_read_by_the_roots_alone() -> None:
    """All other modules receive Settings."""
    assert [] == [
        module
        for module, path in modules("service", "workers").items()
        if re.search(r"os\.(environ|getenv)", path.read_text())
        and not any(is_in(module, root) for root in ROOTS)
    ]


def test_files_are_small() -> None:
    """At most MAX_LINES; split by noun."""
    sizes = {m: len(path.read_text().splitlines()) for m, path in modules(*CODE).items()}
    assert {} == {module: size for module, size in sizes.items() if size > MAX_LINES}


def test_functions_are_small() -> None:
    """No function has more than MAX_FUNCTION_LINES."""
    assert [] == [
        f"{module}.{node.name}"
        for module, path in modules(*CODE).items()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
    ]


def test_no_test_sleeps_for_a_fixed_time() -> None:
    """Tests wait by tests/waiting.py; elsewhere MAX_SLEEP_S, written as a number, is the most."""
    sleeps = [
        (f"{module}:{node.lineno} sleeps {ast.unparse(node.args[0])}", node.args[0])
        for module, path in modules("tests").items()
        if module != "tests.waiting"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in SLEEPS
    ]
    assert [] == [
        text
        for text, seconds in sleeps
        if not isinstance(seconds, ast.Constant) or float(str(seconds.value)) > MAX_SLEEP_S
    ]


def test_files_say_what_they_own() -> None:
    """A docstring at the top, and no name that means nothing."""
    found = {
        module: path.stem
        for module, path in modules(*CODE).items()
        if path.stem in MEANINGLESS or (path.read_text() and not ast.get_docstring(tree(path)))
    }
    assert {} == found


def test_public_things_are_documented() -> None:
    """Every public class, function and method; not a bare signature in a Protocol."""
    found = []
    for module, path in modules("service", "workers").items():
        classes = [node for node in tree(path).body if isinstance(node, ast.ClassDef)]
        members = [member for owner in classes for member in owner.body]
        found += [
            f"{module}.{node.name}"
            for node in [*tree(path).body, *members]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not ast.get_docstring(node)
            and ast.unparse(node.body) != "..."
        ]
    assert [] == found
