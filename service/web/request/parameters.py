"""Query parameters: the one rule for those that are repeated."""

from __future__ import annotations

from multidict import MultiMapping

from service.errors import InvalidInput


def single_value(query: MultiMapping[str], name: str, default: str = "") -> str:
    """The value of a parameter that may occur once; `default` if it is missing.

    Raises:
        InvalidInput: it occurs several times. Proxies and libraries differ in which one counts.
    """
    values = query.getall(name, [default])
    if len(values) > 1:
        raise InvalidInput(name, values, "is given several times: give it once")
    return values[0]
