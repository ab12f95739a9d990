"""Podcasts in XML feeds: Apple's elements (itunes:), Google's (googleplay:) and the Podcast
Namespace's (podcast:). Pure.

A channel says for all its episodes what they do not say themselves.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from service.articles.article import Enclosure
from service.articles.podcast import MAX_ITEMS, NOTHING_KNOWN, Person, Podcast, Transcript
from workers.ingest.parse.links import resolved
from workers.ingest.parse.xml.fields import Fields, first, inner_text, number

_CLOCK = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,6}):)?(\d{1,9})(?:[.,]\d{1,9})?", re.ASCII)
# `1h 2m 3s`, `62 min`, and ISO 8601's `PT1H2M3S`.
_UNITS = re.compile(
    r"(?:pt)?(?:(\d{1,4})\s*h[a-z]*)?[\s,]*(?:(\d{1,6})\s*m[a-z]*)?[\s,]*(?:(\d{1,9})\s*s[a-z]*)?\.?",
    re.ASCII | re.IGNORECASE,
)
# Without any of these, and without a file, an item is not an episode.
_SIGNS = (
    "itunes:duration", "itunes:episode", "itunes:season", "itunes:episodeType", "media:content",
    "podcast:episode", "podcast:season", "podcast:chapters", "podcast:transcript",
    "podcast:person",
)  # fmt: skip
MAX_DURATION_CHARS = 40
"""The patterns above take quadratic time on long white space."""
_EXPLICIT = {"yes": True, "true": True, "explicit": True, "no": False, "false": False,
             "clean": False}  # fmt: skip


def show_of(channel: Fields, *, base: str) -> Podcast:
    """What a channel says of all its episodes: author, cover, category, explicit, persons.

    Args:
        base: URL that the channel's links are relative to; those of an episode may have another.
    """
    return Podcast(
        author=first(channel, "itunes:author", "googleplay:author"),
        image=resolved(base, _image(channel)),
        category=_category(channel),
        explicit=_explicit(channel),
        persons=_persons(channel),
    )


def podcast_of(
    fields: Fields, *, show: Podcast = NOTHING_KNOWN, files: Sequence[Enclosure] = ()
) -> Podcast | None:
    """The podcast of an item or entry; None if it is not an episode: it has no file, and nothing
    that only an episode has.

    Args:
        show: what its channel says.
        files: its enclosures.
    """
    if not files and fields.keys().isdisjoint(_SIGNS):
        return None
    episode = Podcast(
        duration_s=seconds_of(first(fields, "itunes:duration")) or _duration_s_of_media(fields),
        episode=number(first(fields, "itunes:episode", "podcast:episode")),
        season=number(first(fields, "itunes:season", "podcast:season")),
        episode_type=first(fields, "itunes:episodeType"),
        chapters=_attribute(fields, "podcast:chapters", "url"),
        transcripts=_transcripts(fields),
        persons=_persons(fields),
    )
    is_heard = any(file.type.startswith(("audio/", "video/")) or not file.type for file in files)
    if episode == NOTHING_KNOWN and not is_heard:
        return None
    explicit = _explicit(fields)
    episode = replace(
        episode,
        explicit=show.explicit if explicit is None else explicit,
        author=first(fields, "itunes:author", "googleplay:author") or show.author,
        image=_image(fields) or show.image,
        category=show.category,
        persons=episode.persons or show.persons,
    )
    return None if episode == NOTHING_KNOWN else episode


def seconds_of(text: str) -> int:
    """A duration in seconds: `1:02:03`, `62:03`, `3723`, `1h 2m`; 0 for another text."""
    text = text.strip()
    if len(text) > MAX_DURATION_CHARS:
        return 0
    match = _CLOCK.fullmatch(text) or _UNITS.fullmatch(text)
    if match is None:
        return 0
    hours, minutes, seconds = (int(digits or 0) for digits in match.groups())
    return hours * 3_600 + minutes * 60 + seconds


def _duration_s_of_media(fields: Fields) -> int:
    """Duration of the first media:content that has one, in seconds."""
    lengths = (seconds_of(each.get("duration") or "") for each in fields.get("media:content", ()))
    return next(filter(None, lengths), 0)


def _image(fields: Fields) -> str:
    for name in ("itunes:image", "googleplay:image"):
        for element in fields.get(name, ()):
            if address := element.get("href") or element.get("url") or inner_text(element):
                return str(address)
    return ""


def _category(fields: Fields) -> str:
    """`Society & Culture/Documentary`; the first of several."""
    for name in ("itunes:category", "googleplay:category"):
        for element in fields.get(name, ()):
            above = element.get("text") or ""
            inside = [str(below.get("text") or "") for below in element]
            if above:
                return "/".join([above, *inside[:1]])
    return ""


def _explicit(fields: Fields) -> bool | None:
    return _EXPLICIT.get(first(fields, "itunes:explicit", "googleplay:explicit").lower())


def _attribute(fields: Fields, name: str, attribute: str) -> str:
    values = (str(element.get(attribute) or "") for element in fields.get(name, ()))
    return next(filter(None, values), "")


def _transcripts(fields: Fields) -> tuple[Transcript, ...]:
    return tuple(
        Transcript(
            url=_of(element, "url"),
            type=_of(element, "type"),
            language=_of(element, "language"),
            rel=_of(element, "rel"),
        )
        for element in fields.get("podcast:transcript", ())[:MAX_ITEMS]
    )


def _persons(fields: Fields) -> tuple[Person, ...]:
    return tuple(
        Person(
            name=inner_text(element),
            role=_of(element, "role"),
            group=_of(element, "group"),
            image=_of(element, "img"),
            url=_of(element, "href"),
        )
        for element in fields.get("podcast:person", ())[:MAX_ITEMS]
    )


def _of(element: Any, attribute: str) -> str:
    return str(element.get(attribute) or "")
