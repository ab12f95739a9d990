"""Categories: how spellings become paths, and paths titles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.articles import categories
from service.errors import InvalidInput


@pytest.mark.parametrize(
    ("spelling", "path", "titles"),
    [
        ("Media Center/Old News", "media-center/old-news", ("Media Center", "Old News")),
        ("media-center", "media-center", ("media-center",)),
        ("  A /  / B ", "a/b", ("A", "B")),
        ("2017", "no-2017", ("2017",)),
        ("News/2017", "news/no-2017", ("News", "2017")),
        ("All", "category-all", ("All",)),
        ("News/All", "news/all", ("News", "All")),
        ("Views", "category-views", ("Views",)),
        ("مركز الإعلام", "مركز-الإعلام", ("مركز الإعلام",)),
        ("हिन्दी", "हिन्दी", ("हिन्दी",)),
        ("STRASSE & Straße", "strasse-strasse", ("STRASSE & Straße",)),
        ("a.b", "a-b", ("a.b",)),
        ("C", "c", ("C",)), ("C++", "c-plus-plus", ("C++",)), ("C#", "c-sharp", ("C#",)),
        ("C♯", "c-sharp", ("C♯",)),
        ("C++ & C#", "c-plus-plus-c-sharp", ("C++ & C#",)), ("A + B", "a-b", ("A + B",)),
        ("R+D", "r-d", ("R+D",)), ("#1 hits", "1-hits", ("#1 hits",)),
        ("Disney+/F#", "disney-plus/f-sharp", ("Disney+", "F#")),
        ("İstanbul", "istanbul", ("İstanbul",)), ("i\u0307stanbul", "istanbul", ("i̇stanbul",)),
        ("Diyarbakır", "diyarbakır", ("Diyarbakır",)), ("Café", "café", ("Café",)),
        ("🚢", "🚢", ("🚢",)), ("❤️", "❤", ("❤️",)), ("🚢 ⚓", "🚢-⚓", ("🚢 ⚓",)),
        ("👩‍🚀", "👩🚀", ("👩‍🚀",)), ("🇫🇷", "🇫🇷", ("🇫🇷",)), ("€", "€", ("€",)),
        ("Harbour 🚢", "harbour", ("Harbour 🚢",)), ("News ❤️", "news", ("News ❤️",)),
        # As deep as it goes.
        ("a/b/c/d/e/f/g/h", "a/b/c/d/e/f/g/h", tuple("abcdefgh")),
    ],
)  # fmt: skip
def test_categories(spelling: str, path: str, titles: tuple[str, ...]) -> None:
    """Slugs of Unicode letters; titles keep their spelling; a slug is its own slug."""
    found = categories.parse(spelling)
    assert (path, titles) == (found.path, found.titles)
    assert path == categories.parse(path).path
    assert categories.is_path(path)


@pytest.mark.parametrize(
    "spelling", ["", "/", "!!", "$", "<", "~", "???", "\ufe0f", "a/b/c/d/e/f/g/h/i"]
)
def test_no_categories(spelling: str) -> None:
    """Nothing to make a slug of, or too deep."""
    with pytest.raises(InvalidInput):
        categories.parse(spelling)
    assert not categories.is_path(spelling)


@given(st.text(max_size=200))
def test_any_slug_is_safe_in_a_path(text: str) -> None:
    """No dots, slashes, spaces or controls; bounded; stable."""
    slug = categories.slugify(text)
    assert not set(slug) & set("./\\ %?#\n\0")
    assert len(slug.encode()) <= categories.MAX_SLUG_BYTES + 3
    assert slug == categories.slugify(slug)


def test_former_paths() -> None:
    """Titles say what a category is called now; those that say nothing leave the path as it is."""
    titles = {
        "c": "C++", "c/i̇stanbul": "İstanbul", "c/i̇stanbul/x": "X", "\ufe0f": "❤️", "i̇zmir": "",
        "news": "News", "no-2017": "2017", "category-all": "All", "café": "Café", "b": "C#",
        "c/r-d": "R+D", "strasse": "Straße",
    }  # fmt: skip
    assert {
        "c": "c-plus-plus", "c/i̇stanbul": "c-plus-plus/istanbul", "\ufe0f": "❤", "i̇zmir": "izmir",
        "c/i̇stanbul/x": "c-plus-plus/istanbul/x", "c/r-d": "c-plus-plus/r-d",
    } == categories.renamed(titles)  # fmt: skip
    assert categories.was_path("c/i̇stanbul")
    assert not categories.was_path("c++")


def test_titles_come_back_as_a_path_of_titles() -> None:
    """The inverse of parse; titles that were never spelled are guessed from the slug."""
    titles = {"a": "Ä/B", "a/b-c": "B C"}
    assert "Ä B/B C/D E" == categories.title_path("a/b-c/d-e", titles)
    assert ["a", "a/b", "a/b/c", "d"] == categories.with_ancestors(("a/b/c", "d", "a"))
