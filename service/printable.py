"""Printable text: what a terminal, a log or an error response may show of strangers' text. Pure."""

from __future__ import annotations

import unicodedata

# Persian, Indic scripts and emoji need them between characters.
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """The text with escapes (`\\x1b`, `\\u202e`) in place of control characters, of those that
    change the direction of text, of other invisible ones and of surrogates: strangers write them,
    and a terminal or a browser would obey them. Spaces and joiners stay, as words need them."""
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else c.encode("unicode_escape").decode() for c in text)


def printable_json(text: str) -> str:
    """JSON in one line that means the same, with escapes in place of the same characters. JSON
    leaves DEL, C1 (of which one begins a terminal's commands) and U+202E as they are."""
    if text.isprintable():
        return text
    return "".join(c if _is_shown(c) else _json_escape(c) for c in text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _is_shown(character: str) -> bool:
    return (
        character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
    )
