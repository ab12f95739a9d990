"""Podcasts in feeds: Apple's elements, Google's and the Podcast Namespace's."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.articles.article import Draft, Enclosure, Entry
from service.articles.podcast import MAX_ITEMS, Person, Podcast, Transcript
from tests.composing import compose_all
from tests.running import ROOT
from workers.ingest.parse import parse
from workers.ingest.parse.xml.podcast import seconds_of

FEED: Path = ROOT / "tests" / "data" / "podcast.rss"
NAMESPACES = (
    'xmlns:itunes="http://www.itunes.com/DTDs/PodCast-1.0.dtd" '
    'xmlns:podcast="https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/1.0.md" '
    'xmlns:googleplay="https://www.google.com/schemas/play-podcasts/1.0/" '
    'xmlns:media="http://search.yahoo.com/mrss"'
)
FILE = '<enclosure url="https://media.example/1.mp3" type="audio/mpeg" length="9"/>'


def drafts() -> list[Draft]:
    """The articles of the feed of episodes."""
    document = parse(FEED.read_bytes(), url="https://pier.example/feed")
    articles, rejects = compose_all(document, name="feed", url="https://pier.example/feed")
    assert [] == rejects
    return articles


def item(inner: str, *, channel: str = "") -> Entry:
    """The only item of a channel."""
    body = f"<rss {NAMESPACES}><channel>{channel}<item>{inner}</item></channel></rss>"
    (entry,) = parse(body.encode(), url="https://pier.example/feed").entries
    return entry


def test_an_episode_with_everything() -> None:
    """What it says itself counts more than what its channel says."""
    assert (
        Podcast(
            duration_s=3_723,
            episode=3,
            season=2,
            episode_type="full",
            explicit=True,
            author="Ida Holm",
            image="https://img.example/3.png",
            category="Society & Culture/Documentary",
            chapters="https://pier.example/3.chapters.json",
            transcripts=(
                Transcript(
                    url="https://pier.example/3.srt",
                    type="application/srt",
                    language="en",
                    rel="captions",
                ),
            ),
            persons=(
                Person(
                    name="Ida Holm",
                    role="guest",
                    image="https://pier.example/ida.jpg",
                    url="https://ida.example/",
                ),
            ),
        )
        == drafts()[0].podcast
    )


def test_the_channel_speaks_for_an_episode_that_says_less() -> None:
    """Author, cover, category, explicit and persons."""
    assert (
        Podcast(
            duration_s=754,
            explicit=False,
            author="Ivo Marsh",
            image="https://pier.example/cover.jpg",
            category="Society & Culture/Documentary",
            persons=(Person(name="Ivo Marsh", role="host"),),
        )
        == drafts()[1].podcast
    )


def test_an_item_without_a_file_is_not_an_episode() -> None:
    """This holds whatever the channel says."""
    assert None is drafts()[2].podcast


def test_files_have_their_type_and_length() -> None:
    """By the ending if no type is named; a length may have separators."""
    talk = "https://media.example/talk"
    assert [
        (Enclosure(url=f"{talk}3.mp3?from=feed", type="audio/mpeg", length=62_447_386),),
        (Enclosure(url=f"{talk}2.m4a", type="audio/x-m4a", length=0),),
        (),
    ] == [draft.enclosures for draft in drafts()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:02:03", 3_723), ("62:03", 3_723), ("3723", 3_723), (" 3723.9 ", 3_723),
        ("01:02:03.500", 3_723), ("PT1H2M3S", 3_723), ("1h 2m 3s", 3_723), ("1 hr 2 min", 3_720),
        ("62 min.", 3_720), ("45 sec", 45), ("0:00", 0), ("", 0), ("n/a", 0), ("-5", 0),
        ("1:2:3:4", 0), ("PT", 0), ("9" * 40, 0), ("١:٠٢", 0),
    ],
)  # fmt: skip
def test_durations(text: str, expected: int) -> None:
    """In seconds; 0 for what is not a duration."""
    assert expected == seconds_of(text)


def test_hostile_values_take_linear_time() -> None:
    """Long white space in a duration; more persons than any episode has."""
    assert 0 == seconds_of("1h" + " " * 200_000 + "x")
    persons = "<podcast:person>Ida</podcast:person>" * 20_000
    podcast = item(f"{FILE}{persons}<itunes:duration>{' ,' * 100_000}x</itunes:duration>").podcast
    assert podcast is not None
    assert MAX_ITEMS == len(podcast.persons)


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (f"{FILE}<itunes:explicit>Clean</itunes:explicit>", Podcast(explicit=False)),
        (f"{FILE}<itunes:explicit>perhaps</itunes:explicit>", None),
        (f"{FILE}<googleplay:explicit>yes</googleplay:explicit>", Podcast(explicit=True)),
        (f"{FILE}<itunes:image>https://a.example/a.jpg</itunes:image>",
         Podcast(image="https://a.example/a.jpg")),
        ("<podcast:season name='Low tide'>2</podcast:season><podcast:episode>7</podcast:episode>",
         Podcast(season=2, episode=7)),
        ("<itunes:episode>7.5</itunes:episode><itunes:season>-1</itunes:season>", None),
        (f"{FILE}<itunes:author>Ivo</itunes:author>", Podcast(author="Ivo")),
        ("<itunes:author>Ivo</itunes:author>", None),
        ('<media:content url="/1.mp4" type="video/mp4" duration="185"/>', Podcast(duration_s=185)),
        (FILE, None),
    ],
)  # fmt: skip
def test_other_ways_to_say_it(inner: str, expected: Podcast | None) -> None:
    """Elements of Google, Media RSS and the Podcast Namespace; what cannot be read is unknown."""
    assert expected == item(inner).podcast


def test_a_file_alone_makes_an_episode_of_a_show() -> None:
    """If its channel says that it is a show."""
    show = "<itunes:author>Ivo</itunes:author><itunes:explicit>true</itunes:explicit>"
    assert Podcast(author="Ivo", explicit=True) == item(FILE, channel=show).podcast
    assert None is item("<title>A note</title>", channel=show).podcast


def test_the_cover_of_a_show_is_relative_to_its_channel() -> None:
    """Not to an episode, whose page may be elsewhere."""
    link = "<link>https://elsewhere.example/1</link>"
    entry = item(f"{FILE}{link}", channel='<itunes:image href="/cover.jpg"/>')
    assert Podcast(image="https://pier.example/cover.jpg") == entry.podcast


def test_atom_has_episodes_too() -> None:
    """With the elements of RSS in its entries."""
    body = (
        f'<feed xmlns="http://www.w3.org/2005/Atom" {NAMESPACES}>'
        "<itunes:author>Ivo</itunes:author><entry><id>1</id>"
        '<link rel="enclosure" href="https://media.example/1.mp3" type="audio/mpeg"/>'
        "<itunes:duration>0:45</itunes:duration></entry></feed>"
    )
    (entry,) = parse(body.encode()).entries
    assert Podcast(duration_s=45, author="Ivo") == entry.podcast
