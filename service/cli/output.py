"""How commands print what they found."""

from __future__ import annotations

from typing import Any

import click
import orjson

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def show(value: Any, *, as_json: bool) -> None:
    """Print a list of objects or one: JSON, or `name value` lines."""
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
