"""Output of commands: JSON, or text for people. Everything that a command prints passes here, so
that no text of strangers commands the operator's terminal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import click
import orjson

from service.articles.times import from_ms, to_rfc3339
from service.printable import printable, printable_json

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def say(text: str, *, to_stderr: bool = False) -> None:
    """Print one line; line breaks in it are escaped, too."""
    click.echo(printable(text), err=to_stderr)


def say_lines(lines: Iterable[str]) -> None:
    """Print lines at once, so that a reader that waits for the first one can read the last."""
    click.echo("\n".join(map(printable, lines)))


def say_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(printable_json(orjson.dumps(value).decode()))


def show(value: Any, *, as_json: bool) -> None:
    """Print one object: as one line of JSON, or as a line `name value` for each field.

    A list or an object inside is one line for each of its items, the name on the first.
    """
    if as_json:
        say_json(value)
        return
    for name, field in _readable(value).items():
        lines = _lines(field)
        for number, line in enumerate(lines):
            say(f"{'' if number else name:<14} {line}".rstrip())


def show_list(items: Sequence[Mapping[str, Any]], *columns: str, as_json: bool) -> None:
    """Print a list of objects: all their fields as JSON, or these columns of each on one line."""
    if as_json:
        say_json(items)
        return
    if not items:
        say("none")
        return
    rows = [[_text(_readable(item).get(name)) or "-" for name in columns] for item in items]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).rstrip())


async def show_parts(
    parts: AsyncIterator[Sequence[Mapping[str, Any]]], *columns: str, as_json: bool
) -> None:
    """Print a long list as `show_list` does, a part at a time; as JSON it is one array."""
    before = "["
    async for part in parts:
        if not as_json:
            show_list(part, *columns, as_json=False)
        for item in part if as_json else ():
            click.echo(before + printable_json(orjson.dumps(item).decode()), nl=False)
            before = ","
    if as_json:
        click.echo("]" if before == "," else "[]")


def _readable(item: Mapping[str, Any]) -> dict[str, Any]:
    """`time_ms` is a moment: people read it as one. Other names in `_ms` are durations."""
    return {
        "time" if name == "time_ms" else name: to_rfc3339(from_ms(value))
        if name == "time_ms"
        else value
        for name, value in item.items()
    }


def _lines(field: Any) -> list[str]:
    """The lines of a field, at least one."""
    if isinstance(field, Mapping):
        return [f"{printable(name)} {_text(value)}" for name, value in field.items()] or ["none"]
    if isinstance(field, (list, tuple)) and any(isinstance(item, Mapping) for item in field):
        return [_text(item) for item in field]
    return [_text(field)]


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}" if abs(value) < 1e6 else f"{value:.0f}"
        case Mapping():
            return ", ".join(f"{printable(name)} {_text(item)}" for name, item in value.items())
        case list() | tuple():
            return ", ".join(map(_text, value)) or "none"
        case _:
            return printable(str(value))
