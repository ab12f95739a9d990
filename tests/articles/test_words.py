"""Words: how texts are folded, and what of a search is found in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.articles.words import comparable, encoded_words_of, terms_of, words_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Café CRÈME", "cafe creme"), ("cafe\u0301", "cafe"), ("Αθήνα", "αθηνα"),
        ("ΟΔΥΣΣΕΥΣ Ὀδυσσεύς", "οδυσσευσ οδυσσευσ"), ("ᾳ", "α"),
        ("İstanbul ISTANBUL ıstanbul", "istanbul istanbul istanbul"),
        ("Straße STRASSE ẞ", "strasse strasse ss"), ("Łódź Ørsted Đặng", "lodz orsted dang"),
        ("Æther œuvre þorn ð", "aether oeuvre thorn d"), ("ёлка й Ґ қ", "елка и г к"),
        ("מָרָק", "מרק"), ("مُحَمَّد", "محمد"), ("قرآن أحمد إلى", "قران احمد الي"),
        ("مـــاء", "ماء"), ("می‌خواهم کتاب", "ميخواهم كتاب"), ("٢٠٢٤ २०२४", "2024 2024"),
        ("ＡＢＣ ｶﾞﾗｽ", "abc ガラス"), ("ガラス が か", "ガラス が か"), ("한국어", "한국어"),
        ("हिन्दी क़लम", "हिन्दी कलम"), ("Donau\u00addampf zero\u200bwidth", "donaudampf zerowidth"),
        ("ﬁn №5 … H₂O", "fin no5 ... h2o"), ("Tiếng Việt", "tieng viet"), ("❤️", "❤"),
        ("ภาษาไทย", "ภาษาไทย"), ("က့", "က့"),
    ],
)  # fmt: skip
def test_texts_are_folded(text: str, expected: str) -> None:
    """Case, marks, width and forms go; marks that are letters of their script stay."""
    assert expected == comparable(text)
    assert expected == comparable(expected)


@given(st.text(max_size=40))
def test_folding_is_stable(text: str) -> None:
    """What was folded is not folded further, whatever it is."""
    folded = comparable(text)
    assert folded == comparable(folded)


_WESTERN = "Straße œuvre é – “x” … ¼ þ\xad\xa0"


@given(st.text(alphabet=_WESTERN + "абвЁйїА№ασςΆήЌłŁńżžÏşİıאָבּאַفُيىأچک", max_size=20))
def test_every_charset_folds_alike(text: str) -> None:
    """Texts that fit into a charset of one byte are folded by another way, with the same result:
    a letter of Han, which is in none, changes nothing."""
    assert comparable(text + " 港") == f"{comparable(text)} 港".replace("  港", f"{' ' * 2}港")


@pytest.mark.parametrize(
    ("search", "text", "expected"),
    [
        ("ai", "AI in the port", True), ("ai", "He said it rained", False),
        ("ai", "A detail of the email", False), ("ai", "l'AI, enfin", True),
        ("ai", "open_ai", True), ("ai", "東京AI展", True), ("ai", "ai2", False),
        ("cafe", "Le café du port", True), ("café", "LE CAFE", True),
        ("αθηνα", "Αθήνα και λιμάνι", True), ("istanbul", "İstanbul ferries", True),
        ("αθην", "Αθήνα", False), ("हिन्द", "हिन्दी", False), ("हिन्दी", "हिन्दी में", True),
        ("東京", "大東京都", True), ("京都", "東京都", True), ("北京", "東京都", False),
        ("カラス", "ガラス", False), ("서울", "서울에서", True), ("ไทย", "ภาษาไทยดี", True),
        ("東京ai", "東京 AI", True), ("東京ai", "ai 東京", False),
        ("c++", "I like C++, yes", True), ("c++", "C and C+", False), ("c++", "C++11", True),
        ("c#", "In C# now", True), ("c#", "C", False), ("c", "C or C++", True),
        ('"fog ferry"', "Fog, ferry", True), ('"fog ferry"', "ferry fog", False),
        ('"fog ferry"', "fogs fog ferry", True), ('"fog ferry"', "fog ferrying", False),
        ('"fog ferry"', "a ferry in fog", False), ('"fog ferry"', "fog\n\nferry", False),
        ('"fog ferry"', "fog\nferry", True), ("“fog ferry”", "fog ferry", True),
        ("e-mail", "by E‑Mail", True), ("e-mail", "email", False), ("don't", "don’t", True),
        ("🚢", "a 🚢b", True), ("👩‍🚀", "👩‍🚀", True), ("!!", "oh!!", True),
    ],
)  # fmt: skip
def test_what_is_found(search: str, text: str, expected: bool) -> None:
    """Whole words where a script has spaces, anything where it has none, phrases in their order."""
    assert expected == all(term.is_in(comparable(text)) for term in terms_of(search))


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("Fog  FERRY", ["fog", "ferry"]), ('"Fog ferry" quay', ['"fog ferry"', "quay"]),
        ('quay "fog ferry', ["quay", '"fog ferry"']), ('"fog"', ["fog"]), ("e-mail", ['"e mail"']),
        ("東京AI", ['"東京 ai"']), ("C++ / C#", ["c++", "/", "c#"]), ('""', []), ("´", []),
        ("foo_bar", ['"foo bar"']), ("🚢", ["🚢"]), ("«fog ferry»", ['"fog ferry"']),
    ],
)  # fmt: skip
def test_what_is_searched(search: str, expected: list[str]) -> None:
    """Words and phrases have one spelling, which is read as the same."""
    terms = terms_of(search)
    assert expected == [str(term) for term in terms]
    assert terms == [term for text in expected for term in terms_of(text)]


@given(st.text(max_size=30), st.text(max_size=60))
def test_any_search_can_be_made(search: str, text: str) -> None:
    """A term is read back from its spelling, and is found in itself."""
    for term in terms_of(search):
        assert [term] == terms_of(str(term))
        assert term.is_in(" ".join(term.tokens))
        assert term.is_in(comparable(text)) in (True, False)


def test_words() -> None:
    """In their order; each letter of a script without spaces is one."""
    assert ["the", "fog", "isn", "t", "2"] == words_of("the fog isn't (2)")
    assert ["港", "口", "ai", "हिन्दी"] == words_of("港口 ai हिन्दी")
    assert ["cafe", "naive"] == words_of(comparable("Café — naïve"))


def test_a_hostile_phrase_ends() -> None:
    """A text of two million characters that nearly has the phrase at every place costs a second at
    most; the bound of the test run is thirty."""
    (term,) = terms_of(f'"{" ".join(["a"] * 60)} b"')
    assert not term.is_in("a " * 1_000_000 + "c b")


@given(st.text("ab9 _-.,'\n\t\x0c@[`{/:“”…،é\xa0\xad€中が한ไя"), st.integers(1, 6))
def test_encoded_words_are_those_of_letters_and_digits(text: str, limit: int) -> None:
    """As a pattern finds them; in an unspaced script each letter is one."""
    if re.search("[中が한ไ]", text):
        expected = [word.encode() for word in words_of(text[: 2 * limit])]
    else:
        plain = re.sub("[“”…،]", " ", text).encode()
        expected = re.findall(rb"[a-z0-9\x80-\xff]+", plain)
    assert expected[:limit] == encoded_words_of(text, limit=limit)
