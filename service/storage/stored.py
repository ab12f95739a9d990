"""Decode stored values in bulk: a value that cannot be decoded is skipped and logged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")
Output = TypeVar("Output")
logger = logging.getLogger(__name__)


def decoded(decode: Callable[[Input], Output], value: Input, *, what: str) -> Output | None:
    """Return the decoded value; None, with an error in the log, if it cannot be decoded.

    Args:
        what: names the value in the log: its noun and id.
    """
    try:
        return decode(value)
    except Exception as exc:  # noqa: BLE001 -- whatever is stored, only this value is lost
        logger.error("a stored value cannot be read", extra={"value": what, "reason": repr(exc)})
        return None
