"""Character references in texts and markup: to what exists, and to what does not."""

from __future__ import annotations

import pytest

from service.articles import sanitize, text


@pytest.mark.parametrize(
    "reference", ["&#0;", "&#x0;", "&#00000;", "&#0", "&#xD800;", "&#xdfff;", "&#x110000;",
                  "&#" + "9" * 5_000 + ";"],
)  # fmt: skip
def test_references_to_nothing_leave_nothing(reference: str) -> None:
    """HTML parsers make U+FFFD of them; in titles, texts and lines."""
    written = f"a{reference}b"
    assert "ab" == text.line(written)
    assert "ab" == text.line(written.replace("&", "&amp;"))
    assert "<p>ab</p>" == sanitize.html(f"<p>{written}</p>")
    assert "<p>x</p>\n<p>ab</p>" == text.with_lines(f"x\n\n{written}")


@pytest.mark.parametrize("reference", ["&#65;", "&#x41;", "&#x0041", "&#0065;"])
def test_other_references_are_characters(reference: str) -> None:
    """Leading zeros make no difference."""
    assert "A" == text.line(reference)
    assert "A" == text.without_lost_references(reference).replace(reference, "A")


@pytest.mark.parametrize("reference", ["&#1;", "&#x1F;", "&#1", "&#127;", "&#xFFFE;"])
def test_a_text_about_a_control_character_is_not_escaped_twice(reference: str) -> None:
    """Nobody would escape such a reference twice; once, it is the character, which is dropped."""
    assert f"a{reference} b" == text.line(f"a{reference.replace('&', '&amp;')} b")
    assert "a b" == text.line(f"a{reference} b")


def test_a_long_line_is_not_about_references() -> None:
    """There they are resolved, to nothing: to look at each would take a second."""
    assert "" == text.line("&amp;#1;" * text.MAX_CHARS_ABOUT_REFERENCES)
