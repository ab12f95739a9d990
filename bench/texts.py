"""Articles whose texts are unique, for figures of memory and compression.

english    sentences like those of documentation: each word follows the one before as it does
           somewhere in the docstrings of Python's standard library
languages  made up, in eight languages and five scripts (bench/duplicates.py)
"""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.duplicates import LETTERS, Prose
from service.articles.article import Draft, Entry
from service.articles.compose import compose

KINDS = ("english", "languages")
_WORD = re.compile(r"[\"'(]?[A-Za-z'-]+[\"').,;:?!]*")
HOSTS = ("quay", "tide", "ferry", "harbour", "pier")


def _documentation() -> Iterator[str]:
    """Yield the words of the docstrings of the standard library."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                yield from filter(_WORD.fullmatch, (ast.get_docstring(node) or "").split())


def english() -> Callable[[random.Random], str]:
    """A maker of texts."""
    words = list(_documentation())
    after: dict[str, list[str]] = defaultdict(list)
    for one, other in zip(words, words[1:] + words[:1], strict=True):
        after[one].append(other)

    def text(chance: random.Random) -> str:
        made = [chance.choice(words)]
        for _ in range(chance.randint(150, 350)):
            made.append(chance.choice(after[made[-1]]))
        return " ".join(made)

    return text


def languages() -> Callable[[random.Random], str]:
    """A maker of texts, each in one of the languages."""
    proses = [Prose(letters) for letters in LETTERS]
    return lambda chance: chance.choice(proses).text(chance, chance.randint(60, 350))


def drafts(kind: str, count: int) -> Iterator[Draft]:
    """Yield articles of a year, in forty categories; the first is the newest."""
    text_of = {"english": english, "languages": languages}[kind]()
    newest = datetime(2026, 1, 5, tzinfo=UTC)
    for number in range(count):
        chance = random.Random(number)
        text = text_of(chance)
        half = len(text) // 2
        host = chance.choice(HOSTS)
        url = f"https://{host}.example/news/{number}"
        entry = Entry(
            guid=url, url=url, title=text[:60], summary=text[:200],
            content_html=f"<p>{text[:half]}</p>\n<p>{text[half:]}</p>",
            authors=("Jane Doe",), tags=("harbour", "ferry"), language="en",
            categories=(f"Desk {number % 5}/Topic {number % 40}",),
            published=newest - timedelta(seconds=number * 315),
        )  # fmt: skip
        yield compose(entry, source=f"https://{host}.example/feed.xml")
