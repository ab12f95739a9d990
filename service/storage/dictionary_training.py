"""Train a zstd dictionary from an archive's own documents. Pure.

A dictionary consists of pieces of the documents that it was trained from, and outlives them: it is
kept as long as the archive. So that it holds no text of an article that is erased later, documents
are cut before: what stays of them is what many others contain as well, word pair by word pair.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from service.storage.compression import LEVEL, Dictionary, compressed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SAMPLES = 1_000
"""Documents to train from; four times as many make a dictionary that saves 0.2 % more."""
SHARED_BY = 10
"""A word pair stays if so many documents have it."""
DICTIONARY_BYTES = 64 * 1024
"""16 kB save a tenth less, 128 kB 2 % more."""
SAMPLE_BYTES = 8_000
"""Of a document; the first ones are as good as all of them."""
WORTH = 0.95
"""A dictionary is of use if documents become at least so much smaller."""
# A word, one character of scripts that put no spaces between words, or what is between words.
_TOKEN = re.compile(
    r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]"
    r"|[^\W_\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]+|[\W_]+"
)
# Two words and what is between them.
_RUN = 3


def trained(documents: Sequence[bytes]) -> bytes | None:
    """The content of a dictionary for documents like these, JSON; None if none would be of use.

    It takes about two seconds for SAMPLES documents of 2 kB.
    """
    samples = [document[:SAMPLE_BYTES] for document in documents]
    # Every tenth is not trained from, to see what the dictionary saves of others.
    tests = samples[::10]
    learned = [sample for number, sample in enumerate(samples) if number % 10]
    shared = [piece for piece in _shared(learned) if piece]
    if not shared:
        return None
    try:
        pieces = zstd.train_dict(shared, DICTIONARY_BYTES)
        # The statistics at its beginning are those of whole documents.
        basis = zstd.ZstdDict(_content_of(pieces), is_raw=True)
        content: bytes = zstd.finalize_dict(basis, learned, DICTIONARY_BYTES, LEVEL).dict_content
    except zstd.ZstdError:
        # Too little, or too much of the same.
        return None
    dictionary = Dictionary(content)
    before = sum(len(compressed(test)) for test in tests)
    after = sum(len(compressed(test, dictionary)) for test in tests)
    return content if after <= WORTH * before else None


def _content_of(dictionary: zstd.ZstdDict) -> bytes:
    """The pieces of a trained dictionary, as far as they fit in beside other statistics."""
    room = DICTIONARY_BYTES - _STATISTICS_BYTES
    content: bytes = dictionary.dict_content[-room:]
    return content


# Magic number, id, entropy tables and offsets (RFC 8878 5): about 300 bytes, never as many as this.
_STATISTICS_BYTES = 1_024


def _shared(documents: Sequence[bytes]) -> Iterator[bytes]:
    """Yield what stays of each document."""
    tokens = [_TOKEN.findall(document.decode("utf-8", "ignore")) for document in documents]
    counts: Counter[int] = Counter()
    for each in tokens:
        counts.update(set(_runs(each)))
    for each in tokens:
        stays = bytearray(len(each))
        for at, run in enumerate(_runs(each)):
            if counts[run] >= SHARED_BY:
                stays[at : at + _RUN] = b"\1" * _RUN
        yield "".join(token for token, stay in zip(each, stays, strict=True) if stay).encode()


def _runs(tokens: Sequence[str]) -> list[int]:
    """A hash of each run of tokens."""
    return [hash(run) for run in zip(tokens, tokens[1:], tokens[2:], strict=False)]
