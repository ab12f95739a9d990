"""Labels: a category's path and the title of its last step, which feeds write apart. Pure."""

from __future__ import annotations

from service.articles import categories
from service.errors import InvalidInput


def labelled(path: str, label: str) -> str:
    """`Media Center/Harbour News` of `Media Center/harbour-news` and `Harbour News`; empty if the
    label is no title of the path's last step."""
    try:
        above, _, last = categories.parse(path).path.rpartition("/")
        same = categories.parse(label).path == last
    except InvalidInput:
        return ""
    if not same:
        return ""
    # A slash in the label would be one more step.
    return f"{path.rpartition('/')[0]}/{label}" if above and "/" not in label else label
