"""What an episode has besides words and files: cleaned, bounded, and read back from its JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.articles.article import Article, Detail, Entry
from service.articles.compose import compose
from service.articles.input import entry_from_json
from service.articles.podcast import (
    MAX_DURATION_S,
    MAX_ITEMS,
    MAX_NUMBER,
    Person,
    Podcast,
    Transcript,
    apple_category,
    podcast_of,
)
from service.errors import InvalidInput
from tests.composing import article

WHOLE = Podcast(
    duration_s=3_723,
    episode=3,
    season=2,
    episode_type="full",
    explicit=False,
    author="Ida Holm",
    image="https://img.example/3.png",
    category="News/Politics",
    chapters="https://pier.example/3.json",
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
            group="cast",
            image="https://pier.example/ida.jpg",
            url="https://ida.example/",
        ),
    ),
)
PUSHED: dict[str, Any] = orjson.loads(orjson.dumps(WHOLE))


def kept(podcast: Podcast, *, detail: Detail = Detail.FEED) -> Podcast | None:
    """The podcast of an entry, as the archive keeps it."""
    entry = Entry(title="T", podcast=podcast, base_url="https://pier.example/", detail=detail)
    return compose(entry, source="s", guid="1").podcast


def test_what_is_well_is_kept_as_it_is() -> None:
    """Every valid field stays as it is."""
    assert WHOLE == kept(WHOLE)


def test_urls_are_resolved_and_texts_are_plain() -> None:
    """A file without an address, and a person without a name, are left out."""
    podcast = Podcast(
        image="/cover.jpg",
        author=" Ida &amp; Ivo ",
        episode_type="Bonus",
        category="society & culture/documentary",
        transcripts=(Transcript(url="javascript:x"), Transcript(url="3.vtt", language="en_GB.x")),
        persons=(Person(name=" "), Person(name="Ida\x00 <b>Holm</b>", image="data:x")),
    )
    assert Podcast(
        image="https://pier.example/cover.jpg",
        author="Ida & Ivo",
        episode_type="bonus",
        category="Society & Culture/Documentary",
        transcripts=(
            Transcript(url="https://pier.example/3.vtt", type="text/vtt", language="en-GB"),
        ),
        persons=(Person(name="Ida Holm"),),
    ) == kept(podcast)


@pytest.mark.parametrize(
    "podcast",
    [
        Podcast(),
        Podcast(episode_type="season", category="Shipping", chapters="ftp://a", author=" "),
        Podcast(duration_s=-1, episode=-1),
        Podcast(transcripts=(Transcript(url=""),), persons=(Person(name="<i></i>"),)),
    ],
)
def test_a_podcast_that_says_nothing_is_none(podcast: Podcast) -> None:
    """Nothing is left of values that mean nothing."""
    assert None is kept(podcast)


def test_everything_is_bounded() -> None:
    """Numbers, texts and lists have a bound."""
    many = Podcast(
        duration_s=10**30,
        episode=10**30,
        season=10**30,
        author="a" * 1_000,
        transcripts=tuple(Transcript(url=f"/{i}", rel="r" * 999) for i in range(1_000)),
        persons=tuple(Person(name=f"{i}" * 999) for i in range(1_000)),
    )
    podcast = kept(many)
    assert podcast is not None
    numbers = (podcast.duration_s, podcast.episode, podcast.season)
    assert (MAX_DURATION_S, MAX_NUMBER, MAX_NUMBER) == numbers
    assert 200 == len(podcast.author) == len(podcast.persons[0].name)
    assert 200 == len(podcast.transcripts[0].rel)
    assert MAX_ITEMS == len(podcast.transcripts) == len(podcast.persons)


def test_an_article_keeps_it_in_its_json() -> None:
    """And has no word of it if it is not an episode, as before."""
    episode = article(podcast=WHOLE)
    assert episode == Article.from_json(episode.to_json())
    assert b"podcast" not in article().to_json()
    assert article() == Article.from_json(article().to_json())


def test_a_later_version_may_know_more() -> None:
    """Its fields are ignored, in all objects of it."""
    later = PUSHED | {"rating": 5}
    later["transcripts"] = [each | {"size": 9} for each in PUSHED["transcripts"]]
    assert WHOLE == podcast_of(later)


@pytest.mark.parametrize(
    "stored",
    [
        5, [], "x", {"duration_s": "9"}, {"duration_s": True}, {"explicit": 1}, {"image": None},
        {"transcripts": [5]}, {"transcripts": [{"url": 5}]}, {"transcripts": [{"type": "x"}]},
        {"persons": {}},
    ],
)  # fmt: skip
def test_stored_values_of_another_type_are_faults(stored: object) -> None:
    """As of every other field of a stored article."""
    fields = orjson.loads(article().to_json()) | {"podcast": stored}
    with pytest.raises(ValueError, match="not an article"):
        Article.from_dict(fields)


def test_a_push_states_every_field() -> None:
    """Its object is that of exports and events."""
    entry = entry_from_json({"title": "T", "podcast": PUSHED})
    assert WHOLE == entry.podcast
    assert WHOLE == compose(entry, source="s").podcast


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (5, "podcast"),
        ({"length": 5}, "podcast.length"),
        ({"duration_s": "1:02"}, "podcast.duration_s"),
        ({"duration_s": -1}, "podcast.duration_s"),
        ({"duration_s": True}, "podcast.duration_s"),
        ({"episode": 1.5}, "podcast.episode"),
        ({"season": 10**9}, "podcast.season"),
        ({"episode_type": "long"}, "podcast.episode_type"),
        ({"episode_type": []}, "podcast.episode_type"),
        ({"explicit": "no"}, "podcast.explicit"),
        ({"category": "Shipping"}, "podcast.category"),
        ({"transcripts": {}}, "podcast.transcripts"),
        ({"transcripts": [{"type": "text/vtt"}]}, "podcast.transcripts[0].url"),
        ({"persons": [{"name": "Ida"}, {"name": " "}]}, "podcast.persons[1].name"),
        ({"persons": [{"name": "Ida"}] * (MAX_ITEMS + 1)}, "podcast.persons"),
        ({"transcripts": [{"href": "x"}]}, "podcast.transcripts[0].href"),
        ({"persons": ["Ida"]}, "podcast.persons[0]"),
        ({"persons": [{"name": 5}]}, "podcast.persons[0].name"),
        ({"image": "ftp://x"}, "podcast.image"),
        ({"chapters": "javascript:x"}, "podcast.chapters"),
        ({"transcripts": [{"url": "x:y"}]}, "podcast.transcripts[0].url"),
        ({"persons": [{"name": "I", "url": "x:y"}]}, "podcast.persons[0].url"),
    ],
)
def test_a_push_with_a_wrong_value_names_it(fields: object, name: str) -> None:
    """The push is refused before anything is stored."""
    with pytest.raises(InvalidInput) as error:
        compose(entry_from_json({"title": "T", "podcast": fields}), source="s")
    assert name == error.value.field


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("news", "News"), (" Politics ", "News/Politics"), ("News/Politics", "News/Politics"),
        ("News/Harbours", "News"), ("Harbours", ""), ("", ""), ("/", ""),
        ("True Crime", "True Crime"),
    ],
)  # fmt: skip
def test_categories_of_apples_list(name: str, expected: str) -> None:
    """By name, subcategory or path."""
    assert expected == apple_category(name)


def test_only_stated_fields_are_shown() -> None:
    """`false` is stated, 0 and empty texts are not."""
    assert {"explicit": False} == Podcast(explicit=False).stated()
    transcript = {"url": "u", "type": "t"}
    podcast = replace(Podcast(), transcripts=(Transcript(**transcript),))
    assert {"transcripts": [transcript]} == podcast.stated()
