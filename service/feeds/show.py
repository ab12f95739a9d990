"""Shows: what a feed says of itself so that players take it for a podcast. Pure.

Apple requires of a channel a cover, a category of its list and whether it is explicit; what the
episodes of a page agree on is said of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.articles.article import Article
from service.articles.podcast import Podcast, apple_category

DEFAULT_CATEGORY = "News"
# Apple takes no other pictures.
_PICTURES = (".jpg", ".jpeg", ".png")
_HEARD = ("audio/", "video/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """The head of a feed of episodes, besides what every feed has."""

    author: str
    """Empty if the episodes have several."""
    image: str
    """URL of a cover; empty if the episodes have none that Apple takes."""
    category: str
    """A path in Apple's list."""
    explicit: bool
    """Whether one of the episodes is."""
    has_more: bool
    """Whether an episode has transcripts, chapters or persons."""


def show_of(articles: Sequence[Article], *, category_title: str) -> Show | None:
    """The show of a page's articles; None if none of them is an episode.

    Args:
        category_title: title of the page's category.
    """
    if not any(map(is_episode, articles)):
        return None
    podcasts = [article.podcast for article in articles if article.podcast]
    authors = {podcast.author for podcast in podcasts}
    images = (podcast.image for podcast in podcasts if is_cover(podcast.image))
    return Show(
        author=authors.pop() if len(authors) == 1 else "",
        image=_most_common(images),
        category=apple_category(category_title)
        or _most_common(podcast.category for podcast in podcasts if podcast.category)
        or DEFAULT_CATEGORY,
        explicit=any(podcast.explicit for podcast in podcasts),
        has_more=any(map(has_more, podcasts)),
    )


def is_episode(article: Article) -> bool:
    """Whether an article is one that players play."""
    return article.podcast is not None or any(is_heard(file.type) for file in article.enclosures)


def has_more(podcast: Podcast) -> bool:
    """Whether an episode has transcripts, chapters or persons."""
    return bool(podcast.transcripts or podcast.chapters or podcast.persons)


def is_heard(media_type: str) -> bool:
    """Whether a file of this media type is a sound or a film."""
    return media_type.startswith(_HEARD)


def is_cover(url: str) -> bool:
    """Whether a picture is of a kind that Apple takes."""
    return urlsplit(url).path.lower().endswith(_PICTURES)


def _most_common(values: Iterable[str]) -> str:
    """The first of those that occur most often; empty if there are none."""
    return next((value for value, _ in Counter(values).most_common(1)), "")
