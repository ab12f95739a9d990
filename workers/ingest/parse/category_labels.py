"""Labels: a category's path and its title, which feeds write in separate attributes. Pure."""

from __future__ import annotations

from service.articles import categories
from service.errors import InvalidInput


def labelled(path: str, label: str) -> str:
    """`Media Center/Harbour News` of `Media Center/harbour-news` and `Harbour News`; empty if the
    label is not the title of the path's last step."""
    try:
        above, _, last = categories.parse(path).path.rpartition("/")
        same = categories.parse(label).path == last
    except InvalidInput:
        return ""
    if not same:
        return ""
    # A slash in the label would add a step to the path.
    return f"{path.rpartition('/')[0]}/{label}" if above and "/" not in label else label
