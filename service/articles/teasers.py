"""Teasers: texts of feeds that are cut, measured by how they end and how long they are. Pure.

Only the end of each text is read: this is done for all entries of most feeds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

from service.articles.article import Entry

# A shorter text may be all that a feed gives of an article; a longer one is the article.
WHOLE_CHARS = 1_500
_END_CHARS = 1_200
_TAG = re.compile(r"<[^<>]*>?")
# What WordPress puts behind each text.
_FOOTER = re.compile(r"\s*The post\s.{1,400}?\sappeared first on\s.{1,200}$", re.DOTALL)
# Phrases of links to the whole text, which its title may follow.
_MORE = (
    "read (?:more|on|the (?:rest|full)|full)", "continue (?:reading|to read)",
    "full (?:story|article)", "weiterlesen", "mehr lesen", "lire (?:la suite|plus)",
    "en savoir plus", "leer más", "seguir leyendo", "continua a leggere",
    "leggi (?:tutto|di più)", "leia mais", "ler mais", "lees (?:meer|verder)", "läs mer",
    "les mer", "læs mere", "lue lisää", "czytaj (?:dalej|więcej)", "číst dále",
    "читать (?:далее|дальше|полностью)", "подробнее", "читати далі", "devamını oku", "続きを読む",
    "阅读(?:全文|更多)", "继续阅读", "더 ?보기", "اقرأ المزيد", "קרא עוד",
)  # fmt: skip
_ELLIPSIS = r"(?:…|\.\.\.|⋯)"
_ARROWS = r"[\s»›>→⟶\])）”\"'.:|…-]*"
# After the end of a sentence, at the beginning of an element, or in brackets.
_BEGIN = r"(?:^|[.!?…。！？\n(\[])\s*"
# `[…]`, `(more…)`, `Read more »`, `Continue reading Title of it →`: nobody ends a text with them.
_STRONG = re.compile(
    rf"(?:[\[(]\s*{_ELLIPSIS}\s*[\])]"
    rf"|{_BEGIN}(?:{'|'.join(_MORE)})(?![^\W\d_])[^.!?\n]{{0,120}}(?:\n[^.!?\n]{{0,120}}){{0,2}}"
    rf"|{_BEGIN}more){_ARROWS}$",
    re.IGNORECASE,
)
_WEAK = re.compile(rf"\w\s?{_ELLIPSIS}{_ARROWS}$")


# One of these is in the end of each text that is cut; most texts have none, and are not read on.
_HINTS = (
    "…", "...", "hellip", "8230", "x2026", "⋯", "appeared first on", "more<", "more)", "more]",
    "more &", "more »", "more ›", "more >", "more →", "read ", "continue",
    "full ", "weiterlesen", "mehr ", "lire ", "savoir", "leer ", "leyendo", "leggere", "leggi",
    "leia ", "ler mais", "lees ", "läs ", "les mer", "læs ", "lue ", "czytaj", "číst", "читат",
    "подробнее", "devam", "続き", "阅读", "더", "اقرأ", "קרא",
)  # fmt: skip
_HINT_CHARS = 240


def end_of(entry: Entry) -> str:
    """The last words of an entry's text, without markup; a line for each piece between tags."""
    markup = (entry.content_html or entry.summary)[-_END_CHARS:]
    # A tag that was cut in two has its end before its beginning.
    head, angle, tail = markup.partition(">")
    markup = tail if angle and "<" not in head and len(markup) == _END_CHARS else markup
    lines = (" ".join(line.split()) for line in unescape(_TAG.sub("\n", markup)).split("\n"))
    return _FOOTER.sub("", "\n".join(filter(None, lines)))


def is_cut(entry: Entry) -> bool:
    """Whether an entry's text ends as one that goes on elsewhere."""
    if not _has_hint(entry):
        return False
    end = end_of(entry)
    return bool(_STRONG.search(end[-200:]) or _WEAK.search(end[-20:]))


def _has_hint(entry: Entry) -> bool:
    tail = (entry.content_html or entry.summary)[-_HINT_CHARS:].lower()
    return tail.endswith("more") or any(hint in tail for hint in _HINTS)


def is_short(entry: Entry) -> bool:
    """Whether an entry's text may be less than its article."""
    markup = entry.content_html or entry.summary
    # Tags are at most as long as the text of a real article.
    if len(markup) > 20 * WHOLE_CHARS:
        return False
    return len(" ".join(unescape(_TAG.sub(" ", markup)).split())) < WHOLE_CHARS


def cuts_its_texts(entries: Sequence[Entry]) -> bool:
    """Whether a feed is known to cut: half of its texts or more end so. A text alone must end with
    words or brackets that say so."""
    if len(entries) == 1:
        return bool(_STRONG.search(end_of(entries[0])[-200:]))
    return 2 * sum(map(is_cut, entries)) >= len(entries) > 0
