"""Output of commands: JSON, or one `name value` line for each field."""

from __future__ import annotations

from typing import Any

import click
import orjson

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def show(value: Any, *, as_json: bool) -> None:
    """Print one object, or a list of them with an empty line between two.

    As JSON it is one line; as text, None is an empty value and a list is joined by commas.
    """
    if as_json:
        click.echo(orjson.dumps(value).decode())
        return
    items = value if isinstance(value, list) else [value]
    for number, item in enumerate(items):
        if number:
            click.echo()
        for name, field in item.items():
            text = ", ".join(map(str, field)) if isinstance(field, (list, tuple)) else field
            click.echo(printable(f"{name:<14} {'' if text is None else text}".rstrip()))


def printable(text: str) -> str:
    """Return the text with escapes in place of control characters, of those that change the
    direction of text, and of other invisible ones: feeds and receivers write them, and a terminal
    would obey them."""
    return (
        text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
