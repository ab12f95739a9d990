"""Writes workers/ingest/parse/months.tsv, the names of months in CLDR as Babel has it:

    python -m tests.ingest.parse.cldr_months > workers/ingest/parse/months.tsv

Parser processes read that file: Babel itself would cost each of them half a second and 100 MB.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator

from babel import Locale, localedata

# The first language that has a name decides what it means: `listopada` is November in Polish and
# October in Croatian. By the number of people who write them.
_FIRST_LANGUAGES = (
    "en", "zh", "es", "hi", "ar", "bn", "pt", "ru", "ur", "id", "de", "ja", "mr", "vi", "te", "tr",
    "ta", "fa", "ko", "it", "th", "gu", "pl", "uk", "ro", "nl", "el", "hu", "cs", "sv", "he", "da",
    "fi", "nb", "sk", "bg", "sr", "hr", "ca", "lt", "sl", "lv", "et",
)  # fmt: skip


def table() -> str:
    """A line for each month, 1 to 12: its names in all languages, sorted, with tabs between."""
    available = sorted(code for code in localedata.locale_identifiers() if "_" not in code)
    months: dict[str, int] = {}
    for code in [*_FIRST_LANGUAGES, *(code for code in available if code not in _FIRST_LANGUAGES)]:
        for name, number in _names(code):
            months.setdefault(name, number)
    lines = (
        "\t".join(sorted(name for name, number in months.items() if number == month))
        for month in range(1, 13)
    )
    return "".join(f"{line}\n" for line in lines)


def _names(code: str) -> Iterator[tuple[str, int]]:
    months = Locale.parse(code).months
    for context in ("format", "stand-alone"):
        for width in ("wide", "abbreviated"):
            for number, name in months[context][width].items():
                plain = unicodedata.normalize("NFC", name).lower().replace(".", "")
                # `10`, `10月`, `tháng 10`: dates have these as numbers.
                if not any(each.isdigit() or each.isspace() for each in plain):
                    yield plain, number


if __name__ == "__main__":
    sys.stdout.write(table())
