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
            click.echo(f"{name:<14} {'' if text is None else text}".rstrip())
