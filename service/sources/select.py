"""Select: how articles are read from a page or a JSON document that is not a feed. Pure.

`items` selects the element or JSON value of each article; the other selectors are applied to one
of these. All are of markup (CSS, XPath) or all of JSON (JSONPath); see `selector`. `next_page` is
applied to the whole document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from service.articles.text import without_forbidden
from service.errors import InvalidInput
from service.sources.selector import CompiledSelector, WrongSelector, compiled

FIELDS = (
    "items", "title", "link", "date", "date_format", "content", "author", "image", "category",
    "next_page",
)  # fmt: skip
# One of them must be selected: an article needs a title, a text, or at least a page.
_NEEDED = ("title", "link", "content")
_FORMAT = "date_format"
MAX_FORMAT_CHARS = 80
# Those of C in other letters, with flags or widths, are the platform's own.
_FOREIGN = re.compile("%(?:[^aAbBdfHIjmMpSyYzZ%]|$)")
_SAMPLE = datetime(2017, 12, 22, 16, 41, 7, tzinfo=UTC)


def checked_select(value: object) -> dict[str, str]:
    """Check the selectors of a source; empty for None and for an empty object.

    Raises:
        InvalidInput: names the field (select.title), the selector, and what is wrong.
    """
    if value is None or value == {}:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput("select", value, f"must be an object of {', '.join(FIELDS)}")
    for name, text in value.items():
        if name not in FIELDS:
            raise InvalidInput(f"select.{name}", text, f"no such field; known: {', '.join(FIELDS)}")
        if not isinstance(text, str) or not text.strip() or without_forbidden(text) != text:
            raise InvalidInput(f"select.{name}", text, "must be a selector as a string")
    if "items" not in value:
        raise InvalidInput("select.items", "", "is missing: it selects each article")
    if not any(name in value for name in _NEEDED):
        raise InvalidInput("select", value, f"needs one of {', '.join(_NEEDED)}")
    _check_selectors(value)
    _check_format(value.get(_FORMAT, ""))
    return {name: value[name].strip() for name in FIELDS if name in value}


def _check_selectors(select: Mapping[str, str]) -> None:
    is_of_json = selector_of(select, "items").is_of_json
    for name, text in select.items():
        if name == _FORMAT:
            continue
        if selector_of(select, name).is_of_json != is_of_json:
            wanted = "JSONPath ($.…)" if is_of_json else "CSS or XPath"
            raise InvalidInput(f"select.{name}", text, f"must be {wanted}, as `items` is")


def selector_of(select: Mapping[str, str], name: str) -> CompiledSelector:
    """The selector of a field that is set. Raises InvalidInput, which names the field.

    In an item, `//h2` is what people mean by it: those inside of the item, and not the first one of
    the page for each item.
    """
    text = select[name].strip()
    is_of_item = name not in ("items", "next_page")
    try:
        return compiled(f".{text}" if is_of_item and text.startswith("//") else text)
    except WrongSelector as exc:
        raise InvalidInput(f"select.{name}", select[name], str(exc)) from exc


def _check_format(text: str) -> None:
    """Refuse what `strptime` cannot read back, and a format that does not name the day."""
    if not text:
        return
    reason = "must be a format of strptime with day, month and year, such as %d/%m/%Y %H:%M"
    if len(text) > MAX_FORMAT_CHARS or _FOREIGN.search(text.replace("%%", "")):
        raise InvalidInput(f"select.{_FORMAT}", text, reason)
    try:
        read = datetime.strptime(_SAMPLE.strftime(text), text)  # noqa: DTZ007 -- compared by its day
    except (ValueError, re.error) as exc:  # A directive that stands there twice.
        raise InvalidInput(f"select.{_FORMAT}", text, f"{reason}: {exc}") from exc
    if read.date() != _SAMPLE.date():
        raise InvalidInput(f"select.{_FORMAT}", text, reason)
