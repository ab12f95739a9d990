"""Duplicates: articles that two sources have published. Pure.

The same link is the most certain sign; the other is nearly the same words (a typo, one paragraph
more, one half of the text). The original is the one on its publisher's own host, else the one that
was seen first.
"""

from __future__ import annotations

import re
import struct
from datetime import timedelta

from rensa import RMinHash

from service.articles.article import Article
from service.articles.text import plain_text
from service.http import host_of

# Measured: MinHash on 4-word shingles of the first 400 words, with a Jaccard of 0.3 or more, finds
# all copies with a typo, another paragraph or one half missing, and nothing else in 20,000 pairs.
SHINGLE_WORDS, MAX_WORDS, MIN_WORDS = 4, 400, 25
MIN_JACCARD, MIN_CONTAINED = 0.3, 0.8
MAX_APART = timedelta(days=3)
BANDS, ROWS = 16, 2
"""Two texts of Jaccard 0.5 share a band with 99 %, of 0.3 with 78 %."""
_SEED = 42


def shingles(article: Article) -> frozenset[str]:
    """Runs of words at the start of title and text; empty if there are too few words to compare."""
    text = f"{article.title} {plain_text(article.content_html)}"
    words = re.findall(r"\w+", text[: MAX_WORDS * 20].casefold())[:MAX_WORDS]
    if len(words) < MIN_WORDS:
        return frozenset()
    runs = range(len(words) - SHINGLE_WORDS + 1)
    return frozenset(" ".join(words[at : at + SHINGLE_WORDS]) for at in runs)


def bands(words: frozenset[str]) -> list[bytes]:
    """BANDS values of 9 bytes for the shingles of a text; similar texts probably share one.

    Empty if there are no shingles.
    """
    if not words:
        return []
    sketch = RMinHash(num_perm=BANDS * ROWS, seed=_SEED)
    sketch.update(sorted(words))
    hashes = sketch.digest()
    return [
        struct.pack(">BII", band, *hashes[band * ROWS : (band + 1) * ROWS]) for band in range(BANDS)
    ]


def are_alike(a: Article, b: Article) -> bool:
    """Whether two articles have nearly the same words, at nearly the same time."""
    if abs(a.published - b.published) > MAX_APART:
        return False
    mine, theirs = shingles(a), shingles(b)
    if not mine or not theirs:
        return False
    common = len(mine & theirs)
    contained = common / min(len(mine), len(theirs))
    return common / len(mine | theirs) >= MIN_JACCARD or contained >= MIN_CONTAINED


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
