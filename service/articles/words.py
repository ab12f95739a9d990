"""Words: texts in a form in which they can be compared, and what is searched for in them. Pure.

    comparable   a text without differences of case, marks, width and Unicode form
    words_of     the words of a comparable text, in their order
    terms_of     what a client typed → Terms
    Term.is_in   whether a comparable text contains a term

Case, marks and forms are folded as ICU's search folding does (UTS 10, UTR 30): `café` is `cafe`,
`Αθήνα` is `αθηνα`, `İstanbul` is `istanbul`, `Straße` is `strasse`, `Łódź` is `lodz`; points of
Arabic and Hebrew are left out, digits are those of ASCII. Marks that are letters in their script
stay: vowel signs of India and South-East Asia, voice marks of kana.

Scripts with spaces have words, and a word is found whole: `ai` is not in `said`. Chinese, Japanese,
Thai, Lao, Khmer, Burmese and Tibetan write words without spaces between them, and Korean joins
particles to nouns: their letters are found anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

# Canonical combining classes of marks that are folded: overlays, nuktas, points of Hebrew, Arabic
# and Syriac, and what stands above, below or beside a letter (UAX 44, table 15).
_FOLDED_CLASSES = frozenset({1, 7, *range(10, 37), *range(200, 241)})
_BURMESE_TONE = "\u1037"
"""A mark of combining class 7, as nuktas are, that is not a nukta."""
# Soft hyphens, joiners, directions, variation selectors; and the Arabic tatweel.
_INVISIBLE = re.compile(
    "[\xad\u034f\u061c\u0640\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
# Letters that Unicode does not decompose. Persian and Urdu letters are typed with Arabic keyboards.
_LETTERS = {
    "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ŋ": "n", "ĸ": "k", "ȷ": "j", "ʼ": "'",
    "ʻ": "'", "ی": "ي", "ى": "ي", "ې": "ي", "ک": "ك", "ہ": "ه", "ھ": "ه", "ە": "ه", "ۃ": "ة",
    "ٱ": "ا",
}  # fmt: skip
_VARIANT = re.compile(r"(LATIN|CYRILLIC) SMALL LETTER ([A-Z]+) WITH ")
# Bytes of UTF-8 that begin no character that is folded: those of ASCII, kana, Han and Hangul, and
# of what is above U+FFFF; and those that begin none. Deleting them is faster than any pattern.
_HARMLESS = bytes({*range(0xC2), *range(0xE3, 0xEA), *range(0xEB, 0xEE), *range(0xF0, 0x100)})
_MAX_SPACE = 4
_UNSPACED = (
    "\u0e00-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u2e80-\u2fdf"
    "\u3005-\u3007\u3031-\u3035\u3040-\u309f\u30a1-\u30fa\u30fc-\u312f\u3131-\u318f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\ua980-\ua9ff\uaa60-\uaa7f\uac00-\ud7ff"
    "\uf900-\ufaff"
)
_IS_UNSPACED = re.compile(f"[{_UNSPACED}\U0001b000-\U0001b16f\U00020000-\U0003ffff]")


# Nearly every text has the letters of one of these, and folding bytes is several times faster. The
# first character that Western Europe does not have says which: its code divided by 256 → charset.
_WESTERN, _TURKISH = "cp1252", "cp1254"
_CODECS = {0x01: "cp1250", 0x03: "cp1253", 0x04: "cp1251", 0x05: "cp1255", 0x06: "cp1256"}
_TURKISH_LETTERS = "ĞğİıŞş"


def comparable(text: str) -> str:
    """The text as it is compared: folded, in NFC; its spaces and punctuation stay."""
    if text.isascii():
        return text.lower()
    try:
        return _byte_folding(_WESTERN).fold(text.encode(_WESTERN))
    except UnicodeEncodeError as exc:
        other = text[exc.start]
    codec = _TURKISH if other in _TURKISH_LETTERS else _CODECS.get(ord(other) >> 8)
    if codec:
        with suppress(UnicodeEncodeError):
            return _byte_folding(codec).fold(text.encode(codec))
    return _comparable(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ByteFolding:
    """How texts in a charset of one byte a character are folded."""

    codec: str
    table: bytes
    """Byte → folded byte."""
    dropped: bytes
    others: bytes
    """All bytes but those in `longer`."""
    longer: dict[int, tuple[str, str]]
    """Byte → (character, what it is folded to), if that has no byte."""

    def fold(self, encoded: bytes) -> str:
        """The comparable text of one in this charset."""
        text = encoded.translate(self.table, self.dropped).decode(self.codec, "replace")
        for byte in set(encoded.translate(None, self.others)):
            text = text.replace(*self.longer[byte])
        return text


@cache
def _byte_folding(codec: str) -> _ByteFolding:
    table, dropped, longer = bytearray(range(256)), bytearray(), {}
    for byte in range(256):
        char = bytes([byte]).decode(codec, "ignore")
        folded = _comparable(char)
        encoded = folded.encode(codec, "ignore")
        if char and not folded:
            dropped.append(byte)
        elif len(folded) == len(encoded) == 1:
            table[byte] = encoded[0]
        elif char:
            longer[byte] = (char, folded)
    others = bytes({*range(256)} - longer.keys())
    return _ByteFolding(
        codec=codec, table=bytes(table), dropped=bytes(dropped), others=others, longer=longer
    )


def _comparable(text: str) -> str:
    """As `comparable`, for any characters."""
    folded = unicodedata.normalize("NFKC", text).lower()
    rest = folded.encode("utf-8", "replace").translate(None, _HARMLESS)
    if not rest:
        return folded
    while rest:
        if pattern := _folded_with(rest[0]):
            for char in set(pattern.findall(folded)):
                folded = folded.replace(char, _folded(char))
        rest = rest.replace(rest[:1], b"")
    return unicodedata.normalize("NFC", folded)


@lru_cache(maxsize=256)
def _folded_with(lead: int) -> re.Pattern[str] | None:
    """A pattern of the characters that are folded and begin with this byte; None if none does. It
    may match others: a class of two ranges is three times faster than one of many."""
    first, end = (lead & 0x1F) << 6, ((lead & 0x1F) + 1) << 6
    if lead >= 0xE0:
        first, end = (lead & 0x0F) << 12, ((lead & 0x0F) + 1) << 12
    codes = [
        code for code in range(first, end) if not 0xD800 <= code < 0xE000 and _is_folded(chr(code))
    ]
    ranges = _ranges(codes, space=_MAX_SPACE)
    return re.compile(f"[{ranges}]") if ranges else None


def _is_folded(char: str) -> bool:
    return char.lower() == char and _folded(char) != char


@lru_cache(maxsize=8_192)
def _folded(char: str) -> str:
    """One character as it is compared; empty for a mark."""
    parts = [each for each in unicodedata.normalize("NFKD", char) if not _is_dropped(each)]
    letters = "".join(map(_letter, "".join(parts).casefold()))
    return unicodedata.normalize("NFC", letters)


def _is_dropped(char: str) -> bool:
    is_mark = unicodedata.combining(char) in _FOLDED_CLASSES and char != _BURMESE_TONE
    return is_mark or bool(_INVISIBLE.match(char))


def _letter(char: str) -> str:
    """A letter with a stroke, a hook or a descender as the plain one, a digit as that of ASCII."""
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    variant = _VARIANT.match(unicodedata.name(char, ""))
    if variant:
        with suppress(KeyError):
            char = unicodedata.lookup(f"{variant[1]} SMALL LETTER {variant[2]}")
    return _LETTERS.get(char, char)


def _ranges(codes: Iterable[int], *, space: int = 0) -> str:
    """The inside of a class of these characters, which are sorted; smaller spaces are filled."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code - runs[-1][1] <= space + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)


@cache
def _word_chars() -> str:
    """The inside of a class of the characters of words, `_` among them."""
    marks = (
        code
        for code in (*range(0x300, 0x3100), *range(0xA000, 0xAC00))
        if unicodedata.category(chr(code))[0] == "M"
    )
    return f"\\w{_ranges(marks)}"


@cache
def _word_pattern() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]|(?:(?![{_UNSPACED}_])[{_word_chars()}])+")


@cache
def _token_pattern() -> re.Pattern[str]:
    """The pattern of a word in a search; symbols at its end are part of it: C++, C#."""
    chars = _word_chars()
    return re.compile(
        f"(?:(?=[{_UNSPACED}])[{chars}])+|(?:(?![{_UNSPACED}_])[{chars}])+(?:[+#]+(?!\\w))?"
    )


_ASCII_WORD = re.compile(r"[a-z0-9]+")
# Byte → itself if it is of a word, else a space.
_ONLY_WORDS = bytes(
    byte if byte >= 0x80 or chr(byte).isdigit() or chr(byte).islower() else 0x20
    for byte in range(256)
)
# Bytes of UTF-8 that begin no character of `_MAY_BE_UNSPACED`.
_SPACED = bytes({*range(256)} - {*range(0xE0, 0xF5)})
_TYPOGRAPHIC = "“”‘’„‚«»–—…·•،؛؟"
_PLAIN_WORD = re.compile(r"[^\W_]+")
# Two ranges each, which are quick; what is between them is punctuation.
_MAY_BE_UNSPACED = re.compile("[\u0e00-\u1cff\u2e80-\U0010ffff]")
_MAY_HAVE_MARKS = re.compile("[\u0700-\u0dff\u1700-\u1dff]")
_QUOTE = re.compile('["“”„‟«»「」『』]')


def words_of(text: str) -> list[str]:
    """The words of a text that is `comparable`; each letter of an unspaced script is one."""
    if text.isascii():
        return _ASCII_WORD.findall(text)
    if not _MAY_BE_UNSPACED.search(text) and not _MAY_HAVE_MARKS.search(text):
        return _PLAIN_WORD.findall(text)
    return _word_pattern().findall(text)


def encoded_words_of(text: str, *, limit: int) -> list[bytes]:
    """The first words of a comparable text in UTF-8, several times faster than `words_of`. Rare
    punctuation, that of no keyboard, stays at a word; that makes no difference between copies."""
    if not text.isascii():
        for sign in _TYPOGRAPHIC:
            text = text.replace(sign, " ")
    encoded = text.encode("utf-8", "replace")
    if encoded.translate(None, _SPACED) and _MAY_BE_UNSPACED.search(text):
        words = words_of(text[: 2 * limit])
        return [word.encode("utf-8", "replace") for word in words[:limit]]
    return encoded.translate(_ONLY_WORDS).split(None, limit)[:limit]


@dataclass(frozen=True, eq=True, order=True)
class Term:
    """A word, or a phrase: words that follow one another."""

    tokens: tuple[str, ...]
    """Its words, comparable, one at least; of unspaced scripts, runs of letters. Symbols without a
    letter, such as an emoji, are one token."""

    def __str__(self) -> str:
        """The spelling that `terms_of` reads as this term; a phrase has quotation marks."""
        text = " ".join(self.tokens)
        return f'"{text}"' if len(self.tokens) > 1 else text

    def is_in(self, text: str) -> bool:
        """Whether a text that is `comparable` contains it."""
        # Nearly every text is decided here, at the speed of a substring search.
        for token in self.tokens:
            if token not in text:
                return False
        if len(self.tokens) > 1:
            # A phrase does not reach over paragraphs.
            return any(self._phrase in self._spaced(part) for part in text.split("\n\n"))
        (word,) = self.tokens
        start = text.find(word)
        while start >= 0:
            if _is_whole(text, start, start + len(word), word):
                return True
            start = text.find(word, start + 1)
        return False

    @cached_property
    def _phrase(self) -> str:
        return self._spaced(" ".join(self.tokens))

    def _spaced(self, text: str) -> str:
        """The words of a text with one space around each."""
        has_symbols = any(token[-1] in "+#" for token in self.tokens)
        words = _token_pattern().findall(text) if has_symbols else words_of(text)
        return f" {' '.join(words)} "


def terms_of(text: str) -> list[Term]:
    """Read what a client searches for: words, and phrases in quotation marks.

    A quotation mark without a partner ends at the end of the text. What is written as one word is a
    phrase if it has several: `e-mail`. Empty if the text has nothing that can be compared.
    """
    terms = []
    for number, part in enumerate(_QUOTE.split(comparable(text))):
        # Every second part is between quotation marks.
        for piece in [part] if number % 2 else part.split():
            tokens = tuple(_token_pattern().findall(piece)) or ("".join(piece.split()),)
            if tokens[0]:
                terms.append(Term(tokens))
    return terms


def _is_whole(text: str, start: int, end: int, word: str) -> bool:
    """Whether what stands at this place begins and ends where words do."""
    if start and _joins(text[start - 1]) and _joins(word[0]):
        return False
    if end == len(text):
        return True
    after = text[end]
    if word[-1] in "+#":
        return after not in "+#"
    return not (_joins(after) and _joins(word[-1]))


@lru_cache(maxsize=4_096)
def _joins(char: str) -> bool:
    """Whether a character belongs to the same word as one before or after it."""
    is_letter = char.isalnum() or unicodedata.category(char)[0] == "M"
    return is_letter and not _IS_UNSPACED.match(char)
