"""Kinds of options that several commands take."""

from __future__ import annotations

import re
from typing import Any

import click
import orjson

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType[float]):
    """A duration such as `90` (seconds), `15m`, `2h` or `1d`."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Convert it to seconds; anything else is a usage error."""
        text = str(value).strip().lower()
        number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
        try:
            return float(number) * _UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 90, 15m, 2h or 1d", param, ctx)


class Pair(click.ParamType[tuple[str, str]]):
    """A name and a value with a mark between them, such as `NAME:VALUE`."""

    name = "pair"

    def __init__(self, mark: str) -> None:
        self._mark = mark

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """Convert it to (name, value); without a mark or a name it is a usage error. The value may
        be a secret and is not repeated."""
        name, mark, text = str(value).partition(self._mark)
        if not mark or not name.strip():
            self.fail(f"needs a {self._mark!r}, as in NAME{self._mark}VALUE", param, ctx)
        return name.strip(), text.strip()


class Selection(click.ParamType[dict[str, Any]]):
    """Selectors of a source: `FIELD=SELECTOR`, or several as one JSON object."""

    name = "selection"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, Any]:
        """Convert it to field → selector; what is neither of both is a usage error."""
        text = str(value).strip()
        if text.startswith("{"):
            try:
                fields: dict[str, Any] = orjson.loads(text)
            except orjson.JSONDecodeError as exc:
                self.fail(f"{text[:80]!r} is not JSON: {exc}", param, ctx)
            return fields
        return dict([Pair("=").convert(text, param, ctx)])


def name_of_field(field: str) -> str:
    """What the command that runs calls a field of the API: its option, else the field's name. What
    is inside of a field stays: `--select.title`, `--rule[2]`."""
    context = click.get_current_context(silent=True)
    name = re.split(r"[.\[]", field, maxsplit=1)[0]
    for parameter in context.command.params if context else ():
        if isinstance(parameter, click.Option) and (
            parameter.name == name or f"--{name.replace('_', '-')}" in parameter.opts
        ):
            return parameter.opts[0] + field[len(name) :]
    return field
