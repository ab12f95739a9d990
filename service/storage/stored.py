"""Decode stored values in bulk: one that cannot be decoded is skipped, and logged once a minute.

decoded   the decoded value, or None
typed     a decoded object whose fields have the types that its class states
text_of   a stored name or title
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from threading import Lock
from typing import Any, TypeVar

from cachetools import LRUCache
from pydantic import TypeAdapter

from service.articles.text import normalized
from service.logs import Throttle

Input = TypeVar("Input")
Output = TypeVar("Output")
logger = logging.getLogger(__name__)
MAX_KNOWN = 2_000
_throttles: LRUCache[str, Throttle] = LRUCache(MAX_KNOWN)
# Many articles are decoded in a thread.
_throttles_lock = Lock()


def decoded(decode: Callable[[Input], Output], value: Input, *, what: str) -> Output | None:
    """Return the decoded value; None, with an error in the log, if it cannot be decoded.

    Args:
        what: names the value in the log: its noun and id.
    """
    try:
        return decode(value)
    except Exception as exc:  # noqa: BLE001 -- whatever is stored, only this value is lost
        with _throttles_lock:
            is_due = _throttles.setdefault(what, Throttle()).is_due()
        if is_due:
            extra = {"value": what, "reason": repr(exc)}
            logger.error("a stored value cannot be read", extra=extra)
        return None


def typed(value: Output) -> Output:
    """Return an instance of a dataclass as it is.

    Raises:
        ValueError: a field has another type than the class states: an older version or a hand
            stored it, and it would fail where it is used.
    """
    instance: Any = value
    kind: Any = type(value)
    values = {field.name: getattr(value, field.name) for field in fields(instance) if field.init}
    # Only conversions could make a difference: the string "5" to a number.
    if _adapter_of(kind).validate_python(values) != value:
        raise ValueError("has a value of another type")
    for part in values.values():
        for each in part if isinstance(part, tuple) else (part,):
            if is_dataclass(each) and not isinstance(each, type):
                typed(each)
    return value


@cache
def _adapter_of(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def text_of(stored: bytes) -> str:
    """A stored text without forbidden characters; bytes that are not UTF-8 are replaced."""
    return normalized(stored.decode("utf-8", "replace"))
