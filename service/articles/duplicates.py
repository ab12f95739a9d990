"""Duplicates: articles that two sources have published. Pure.

    the same link   and nearly the same words or the same title, or published within a day
    another link    nearly the same words (a typo, one paragraph more, one half of the text), within
                    three days

One link alone is not enough: two sources that discuss one page are two articles. Neither is a day,
if both have long texts without a run of words in common, and other titles. The original is the one
on its publisher's own host, else the one that was seen first.

Texts are compared by their shingles: the hashes of all runs of words at their start. The smallest
of them are the landmarks of a text, by which storage finds what may be alike: of two texts, the
share of landmarks in common is that of their shingles (Broder, "On the resemblance and containment
of documents", 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from struct import Struct
from zlib import crc32

from service.articles.aliases import canonical
from service.articles.article import Article
from service.articles.text import plain_text
from service.articles.words import (
    comparable,
    encoded_words_of,
    words_of,
)
from service.http import host_of

# Measured: runs of 4 words in the first 256, with a Jaccard of 0.3 or more, find all copies with a
# typo, another paragraph or one half missing, and nothing else in 20,000 pairs.
SHINGLE_WORDS, MAX_WORDS, MIN_WORDS = 4, 256, 25
MIN_JACCARD, MIN_CONTAINED = 0.3, 0.8
MAX_APART = timedelta(days=3)
MAX_LINK_APART = timedelta(days=1)
MIN_TITLE_WORDS_COMMON = 0.5
LANDMARKS, MIN_LANDMARKS_COMMON = 12, 2
"""Two texts of Jaccard 0.5 have two of twelve landmarks in common with 99.7 %, of 0.3 with 92 %."""
_LANDMARK = Struct(">q")
# Characters in which the words that count are found, with their markup.
_MAX_TEXT_CHARS = MAX_WORDS * 12
_SPAN = 2**64


@dataclass(frozen=True, slots=True)
class Sketch:
    """What is compared of an article's words."""

    title: frozenset[str]
    """The words of its title."""
    shingles: frozenset[int]
    """Signed 64-bit hashes; empty if there are too few words to compare."""

    def landmarks(self) -> list[bytes]:
        """Its LANDMARKS smallest shingles, each of 8 bytes; empty if it has no shingles."""
        # Sorting all would take three times as long; this many of them are below the bound.
        bound = _SPAN * 2 * LANDMARKS // max(len(self.shingles), 1) - _SPAN // 2
        few = sorted([shingle for shingle in self.shingles if shingle < bound])
        smallest = few if len(few) >= LANDMARKS else sorted(self.shingles)
        return [_LANDMARK.pack(each) for each in smallest[:LANDMARKS]]


def sketch_of(article: Article) -> Sketch:
    """The sketch of an article's title and the start of its text."""
    title = comparable(article.title)
    markup = article.content_html
    if len(markup) > 2 * _MAX_TEXT_CHARS:
        # A tag that is cut in two is text, and a few words too many make no difference.
        markup = markup[: 2 * _MAX_TEXT_CHARS]
    text = comparable(plain_text(markup)[:_MAX_TEXT_CHARS])
    words = encoded_words_of(f"{title} {text}", limit=MAX_WORDS)
    title_words = frozenset(words_of(title))
    if len(words) < MIN_WORDS:
        return Sketch(title_words, frozenset())
    numbers = list(map(crc32, words))
    # The hash of a tuple of numbers depends on no seed.
    runs = zip(*(numbers[at:] for at in range(SHINGLE_WORDS)), strict=False)
    return Sketch(title_words, frozenset(map(hash, runs)))


def link_of(article: Article) -> str:
    """The canonical link of an article; empty if it has none, or that of a whole site."""
    link = canonical(article.url)
    return link if "/" in link.partition("?")[0].partition("#")[0] else ""


def are_duplicates(a: Article, b: Article, sketch_a: Sketch, sketch_b: Sketch) -> bool:
    """Whether two articles of different sources are one story."""
    apart = abs(a.published - b.published)
    if are_alike(sketch_a, sketch_b) and apart <= MAX_APART:
        return True
    link = link_of(a)
    if not link or link != link_of(b):
        return False
    if are_alike(sketch_a, sketch_b) or sketch_a.title == sketch_b.title:
        return True
    return apart <= MAX_LINK_APART and not _are_strangers(sketch_a, sketch_b)


def are_alike(a: Sketch, b: Sketch) -> bool:
    """Whether two texts have nearly the same words."""
    if not a.shingles or not b.shingles:
        return False
    common = len(a.shingles & b.shingles)
    shorter = min(len(a.shingles), len(b.shingles))
    union = len(a.shingles) + len(b.shingles) - common
    return common >= MIN_JACCARD * union or common >= MIN_CONTAINED * shorter


def _are_strangers(a: Sketch, b: Sketch) -> bool:
    """Whether two texts are long enough to have something in common, and have nothing."""
    if not a.shingles or not b.shingles or not a.shingles.isdisjoint(b.shingles):
        return False
    shorter = min(len(a.title), len(b.title))
    return len(a.title & b.title) < MIN_TITLE_WORDS_COMMON * shorter


def outranks(a: Article, b: Article) -> bool:
    """Whether `a` is the original of the two."""
    return _rank(a) < _rank(b)


def _rank(article: Article) -> tuple[bool, str, str]:
    source = article.source
    own = host_of(source) if "://" in source else source
    is_elsewhere = not article.url or _bare(host_of(article.url)) != _bare(own)
    return is_elsewhere, article.first_seen.isoformat(), article.id


def _bare(host: str) -> str:
    return host.removeprefix("www.")
