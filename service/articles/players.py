"""Players: what an address that is made to be shown in a frame stands for. Pure.

A frame of somebody else's site cannot be kept, but the page of the film, sound or post that it
shows can be linked to, with its picture where the address of that follows from its id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from service.http import without_default_port


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a frame shows."""

    url: str
    """URL of its page for people."""
    label: str
    """The name of its site, for links that have no other text."""
    picture: str = ""
    """URL of a still; empty if it is not known without a request."""


_Maker = Callable[[re.Match[str], Mapping[str, str]], Shown]
"""(what the pattern matched, parameters of the query) → what is shown."""


def shown_in(src: str) -> Shown:
    """What the address of a frame shows; of an unknown site, the address itself.

    Args:
        src: an absolute http(s) URL.
    """
    parts = urlsplit(src)
    host = without_default_port(parts.netloc.rpartition("@")[2]).removeprefix("www.")
    address = f"{host}{parts.path}"
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    for pattern, make in _BY_PATH:
        if match := pattern.match(address):
            return make(match, query)
    for name, make_of in _BY_QUERY.get(host, {}).items():
        if name in query and (shown := make_of(query[name])):
            return shown
    return Shown(url=src, label=_LABELS.get(host, host))


def _page(label: str, url: str, picture: str = "") -> _Maker:
    """Templates with the groups of the pattern."""
    return lambda match, _: Shown(
        url=match.expand(url), label=label, picture=match.expand(picture) if picture else ""
    )


def _vimeo(match: re.Match[str], query: Mapping[str, str]) -> Shown:
    """A film that is not listed is shown only to those who know its hash."""
    hash_ = query.get("h", "")
    path = f"/{hash_}" if re.fullmatch("[0-9a-f]{6,40}", hash_) else ""
    return Shown(url=f"https://vimeo.com/{match[1]}{path}", label="Vimeo")


def _linked(label: str) -> Callable[[str], Shown | None]:
    """A parameter that is the page's own URL; what leads to an API is for programs."""

    def make(url: str) -> Shown | None:
        is_page = url.startswith("https://") and not url.startswith("https://api.")
        return Shown(url=url, label=label) if is_page else None

    return make


def _named(label: str, prefix: str) -> Callable[[str], Shown | None]:
    """A parameter that is an id."""
    return lambda name: Shown(url=prefix + name, label=label) if _ID.fullmatch(name) else None


_ID = re.compile(r"[\w./-]{1,200}", re.ASCII)
_YOUTUBE = _page(
    "YouTube", r"https://www.youtube.com/watch?v=\1", r"https://i.ytimg.com/vi/\1/hqdefault.jpg"
)
_YOUTUBE_LISTS = {
    "list": _named("YouTube", "https://www.youtube.com/playlist?list="),
    "channel": _named("YouTube", "https://www.youtube.com/channel/"),
}
# Host → parameter of the query that says what is shown, where the path does not.
_BY_QUERY: dict[str, dict[str, Callable[[str], Shown | None]]] = {
    "youtube.com": _YOUTUBE_LISTS,
    "youtube-nocookie.com": _YOUTUBE_LISTS,
    "w.soundcloud.com": {"url": _linked("SoundCloud")},
    "geo.dailymotion.com": {"video": _named("Dailymotion", "https://www.dailymotion.com/video/")},
    "player.twitch.tv": {
        "video": _named("Twitch", "https://www.twitch.tv/videos/"),
        "channel": _named("Twitch", "https://www.twitch.tv/"),
    },
    "player.bilibili.com": {"bvid": _named("Bilibili", "https://www.bilibili.com/video/")},
    "mixcloud.com": {"feed": _named("Mixcloud", "https://www.mixcloud.com")},
    "player-widget.mixcloud.com": {"feed": _named("Mixcloud", "https://www.mixcloud.com")},
    "facebook.com": {"href": _linked("Facebook")},
    "platform.twitter.com": {"id": _named("X", "https://x.com/i/status/")},
}
_LABELS = {"w.soundcloud.com": "SoundCloud", "facebook.com": "Facebook"}
# Host and path → the page. The first pattern that matches decides.
_BY_PATH: list[tuple[re.Pattern[str], _Maker]] = [
    (re.compile(pattern, re.ASCII), maker)
    for pattern, maker in (
        # A list of films and the present film of a channel have names of eleven letters, too.
        (r"(?:m\.)?youtube(?:-nocookie)?\.com/(?:embed|v|shorts|live)/(?!videoseries|live_stream)"
         r"([\w-]{11})(?![\w-])", _YOUTUBE),
        (r"youtu\.be/([\w-]{11})(?![\w-])", _YOUTUBE),
        (r"player\.vimeo\.com/video/(\d+)", _vimeo),
        (
            r"dailymotion\.com/embed/video/(\w+)",
            _page(
                "Dailymotion", r"https://www.dailymotion.com/video/\1",
                r"https://www.dailymotion.com/thumbnail/video/\1",
            ),
        ),
        (
            r"open\.spotify\.com/embed(?:-podcast)?"
            r"/((?:track|album|artist|playlist|show|episode)/\w+)",
            _page("Spotify", r"https://open.spotify.com/\1"),
        ),
        (
            r"archive\.org/embed/([\w.-]+)",
            _page(
                "Internet Archive", r"https://archive.org/details/\1",
                r"https://archive.org/services/img/\1",
            ),
        ),
        # PeerTube, on any host.
        (r"([\w.:-]+)/videos/embed/([\w-]{20,})", _page("PeerTube", r"https://\1/videos/watch/\2")),
        (r"embed\.ted\.com/(talks/[\w/]+)", _page("TED", r"https://www.ted.com/\1")),
        (r"streamable\.com/[eos]/(\w+)", _page("Streamable", r"https://streamable.com/\1")),
        (r"giphy\.com/embed/(\w+)", _page(
            "Giphy", r"https://giphy.com/gifs/\1", r"https://media.giphy.com/media/\1/giphy.gif",
        )),
        (r"odysee\.com/\$/embed/([\w@:./-]+)", _page("Odysee", r"https://odysee.com/\1")),
        (r"embed\.podcasts\.apple\.com/([\w/-]+)", _page(
            "Apple Podcasts", r"https://podcasts.apple.com/\1",
        )),
        (r"embed\.nicovideo\.jp/watch/(\w+)", _page(
            "Niconico", r"https://www.nicovideo.jp/watch/\1",
        )),
        (r"instagram\.com/(p|reel)/([\w-]+)/embed", _page(
            "Instagram", r"https://www.instagram.com/\1/\2/",
        )),
        (r"tiktok\.com/embed/(?:v2/)?(\d+)", _page("TikTok", r"https://www.tiktok.com/@/video/\1")),
    )
]  # fmt: skip
