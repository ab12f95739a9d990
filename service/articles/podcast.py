"""Podcasts: what an article that is an episode has besides its words and files. Pure.

The fields are those of Apple's elements (itunes:) and of the Podcast Namespace (podcast:) that
players show. They pass through: dateline shows them, but decides nothing by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, TypeVar

from service.articles import urls
from service.articles.text import language_tag, line, normalized

T = TypeVar("T")

EPISODE_TYPES = ("full", "trailer", "bonus")
MAX_DURATION_S = 359_999
"""99:59:59, the longest that validators of `itunes:duration` accept."""
MAX_NUMBER = 1_000_000
MAX_ITEMS = 20
"""Transcripts, and persons, of one episode."""
_MAX_TEXT_CHARS = 200
_MAX_URL_CHARS = 12_000
# Apple's list of August 2019, which directories of podcasts share.
CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "Arts": ("Books", "Design", "Fashion & Beauty", "Food", "Performing Arts", "Visual Arts"),
    "Business": (
        "Careers", "Entrepreneurship", "Investing", "Management", "Marketing", "Non-Profit",
    ),
    "Comedy": ("Comedy Interviews", "Improv", "Stand-Up"),
    "Education": ("Courses", "How To", "Language Learning", "Self-Improvement"),
    "Fiction": ("Comedy Fiction", "Drama", "Science Fiction"),
    "Government": (),
    "History": (),
    "Health & Fitness": (
        "Alternative Health", "Fitness", "Medicine", "Mental Health", "Nutrition", "Sexuality",
    ),
    "Kids & Family": ("Education for Kids", "Parenting", "Pets & Animals", "Stories for Kids"),
    "Leisure": (
        "Animation & Manga", "Automotive", "Aviation", "Crafts", "Games", "Hobbies",
        "Home & Garden", "Video Games",
    ),
    "Music": ("Music Commentary", "Music History", "Music Interviews"),
    "News": (
        "Business News", "Daily News", "Entertainment News", "News Commentary", "Politics",
        "Sports News", "Tech News",
    ),
    "Religion & Spirituality": (
        "Buddhism", "Christianity", "Hinduism", "Islam", "Judaism", "Spirituality",
    ),
    "Science": (
        "Astronomy", "Chemistry", "Earth Sciences", "Life Sciences", "Mathematics",
        "Natural Sciences", "Nature", "Physics", "Social Sciences",
    ),
    "Society & Culture": (
        "Documentary", "Personal Journals", "Philosophy", "Places & Travel", "Relationships",
    ),
    "Sports": (
        "Baseball", "Basketball", "Cricket", "Fantasy Sports", "Football", "Golf", "Hockey",
        "Rugby", "Running", "Soccer", "Swimming", "Tennis", "Volleyball", "Wilderness",
        "Wrestling",
    ),
    "Technology": (),
    "True Crime": (),
    "TV & Film": ("After Shows", "Film History", "Film Interviews", "Film Reviews", "TV Reviews"),
}  # fmt: skip
"""Category → its subcategories."""
_PATHS = {
    name.casefold(): path
    for category, inside in CATEGORIES.items()
    for name, path in (
        *((each, f"{category}/{each}") for each in inside),
        *((f"{category}/{each}", f"{category}/{each}") for each in inside),
        (category, category),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """A file with the spoken words (podcast:transcript)."""

    url: str
    type: str = ""
    """Media type."""
    language: str = ""
    """BCP 47 tag."""
    rel: str = ""
    """`captions` if it has times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who takes part in an episode (podcast:person)."""

    name: str
    role: str = ""
    group: str = ""
    image: str = ""
    """URL of a picture."""
    url: str = ""
    """URL of a page about this person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Podcast:
    """An episode; what is not known is 0, empty or None."""

    duration_s: int = 0
    episode: int = 0
    """Its number."""
    season: int = 0
    episode_type: str = ""
    """One of EPISODE_TYPES."""
    explicit: bool | None = None
    """Whether it is not suitable for children; None if nobody said it."""
    author: str = ""
    image: str = ""
    """URL of its cover, else of the cover of its show."""
    category: str = ""
    """Category of its show in Apple's list: `Society & Culture/Documentary`."""
    chapters: str = ""
    """URL of a file of chapters (application/json+chapters)."""
    transcripts: tuple[Transcript, ...] = ()
    persons: tuple[Person, ...] = ()

    def normalized(self) -> Podcast:
        """The same with valid strings and numbers, none of them over its bound."""
        return replace(
            self,
            duration_s=min(max(0, self.duration_s), MAX_DURATION_S),
            episode=min(max(0, self.episode), MAX_NUMBER),
            season=min(max(0, self.season), MAX_NUMBER),
            author=_bounded(self.author),
            image=normalized(self.image)[:_MAX_URL_CHARS],
            chapters=normalized(self.chapters)[:_MAX_URL_CHARS],
            transcripts=tuple(map(_normalized, self.transcripts[:MAX_ITEMS])),
            persons=tuple(map(_normalized, self.persons[:MAX_ITEMS])),
        )

    def stated(self) -> dict[str, Any]:
        """The fields that have a value, for JSON."""
        return {
            name: [_stated(each) for each in value] if isinstance(value, tuple) else value
            for name, value in _stated(self).items()
        }


NOTHING_KNOWN = Podcast()


def _stated(value: Any) -> dict[str, Any]:
    pairs = ((each.name, getattr(value, each.name)) for each in fields(value))
    return {name: item for name, item in pairs if item or item is False}


def _bounded(text: str) -> str:
    return normalized(text)[:_MAX_TEXT_CHARS]


def _normalized(item: T) -> T:
    """A copy of a transcript or person with valid strings."""
    texts = {each.name: normalized(getattr(item, each.name)) for each in fields(item)}  # type: ignore[arg-type]  # both are dataclasses
    bounds = {"url": _MAX_URL_CHARS, "image": _MAX_URL_CHARS}
    cut = {name: text[: bounds.get(name, _MAX_TEXT_CHARS)] for name, text in texts.items()}
    return type(item)(**cut)


def clock(seconds: int) -> str:
    """`1:02:03`; validators of itunes:duration refuse seconds alone."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def apple_category(name: str) -> str:
    """The path in CATEGORIES of a category, a subcategory or a path, which may end with a
    subcategory that is not in the list; empty for another name."""
    name = name.strip().casefold()
    return _PATHS.get(name) or _PATHS.get(name.partition("/")[0], "")


def cleaned(podcast: Podcast, url: Callable[[str, str], str]) -> Podcast | None:
    """The podcast with plain texts and absolute URLs; None if nothing is left.

    Args:
        url: (field, text) → an absolute URL, empty if the text is not one.
    """
    transcripts = []
    for number, transcript in enumerate(podcast.transcripts[:MAX_ITEMS]):
        address = url(f"podcast.transcripts[{number}].url", transcript.url)
        media_type = urls.media_type(address, line(transcript.type))
        language, rel = language_tag(transcript.language), line(transcript.rel)
        if address:
            transcripts.append(Transcript(url=address, type=media_type, language=language, rel=rel))
    persons = []
    for number, person in enumerate(podcast.persons[:MAX_ITEMS]):
        field, name = f"podcast.persons[{number}]", line(person.name)
        image, page = url(f"{field}.image", person.image), url(f"{field}.url", person.url)
        if name:
            role, group = line(person.role), line(person.group)
            persons.append(Person(name=name, role=role, group=group, image=image, url=page))
    episode_type = podcast.episode_type.strip().lower()
    clean = replace(
        podcast,
        episode_type=episode_type if episode_type in EPISODE_TYPES else "",
        author=line(podcast.author),
        image=url("podcast.image", podcast.image),
        category=apple_category(podcast.category),
        chapters=url("podcast.chapters", podcast.chapters),
        transcripts=tuple(transcripts),
        persons=tuple(persons),
    ).normalized()
    return None if clean == NOTHING_KNOWN else clean


def podcast_of(value: Any) -> Podcast | None:
    """The podcast of its wire form, None of null; fields that this version does not know are
    ignored.

    Raises:
        TypeError: a field has a value of another type.
    """
    if value is None:
        return None
    known = _known(Podcast, value)
    for name, item in (("transcripts", Transcript), ("persons", Person)):
        known[name] = tuple(item(**_known(item, each)) for each in known.get(name, ()))
    return Podcast(**known).normalized()


def _known(kind: Any, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("an object is expected")
    known = {}
    for each in fields(kind):
        if each.name in value:
            known[each.name] = value[each.name]
            if type(known[each.name]) not in _wire_types(each.default):
                raise TypeError(f"{each.name} is of another type")
    return known


def _wire_types(default: Any) -> tuple[type, ...]:
    """The types that a field with this default may have in JSON."""
    if default is None:
        return (bool, type(None))
    if default is MISSING:
        return (str,)
    return (list,) if isinstance(default, tuple) else (type(default),)
