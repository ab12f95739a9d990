"""Media: pictures, films and formulas that readers see without scripts and frames."""

from __future__ import annotations

import pytest

from service.articles import sanitize
from service.articles.players import shown_in

BASE = "https://quay.example/2024/pier/"


def html(markup: str) -> str:
    """The markup as it is kept."""
    return sanitize.html(markup, base_url=BASE, id_prefix=lambda: "p-")


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<img src='data:image/gif;base64,R0' data-src='/ferry.jpg' alt='f'>", "ferry.jpg"),
        ("<img src='/grey.gif' data-lazy-src='/ferry.jpg'>", "ferry.jpg"),
        ("<img src='/ferry-20x20.jpg' data-original='/ferry.jpg'>", "ferry.jpg"),
        ("<img data-srcset='/crane-320.jpg 320w, /crane-960.jpg 960w'>", "crane-960.jpg"),
        ("<img data-srcset='/crane-320.jpg 320w,/crane-960.jpg 960w'>", "crane-960.jpg"),
        ("<img srcset='/gull-1x.jpg 1x, /gull-2x.jpg 2x'>", "gull-2x.jpg"),
        ("<img srcset='/gull.jpg'>", "gull.jpg"),
        ("<img srcset='/w_1,h_2/gull.jpg 2x, /small.jpg'>", "w_1,h_2/gull.jpg"),
        ("<img srcset='/print.jpg 6000w, /screen.jpg 2000w'>", "screen.jpg"),
        ("<img srcset='/print.jpg 6000w, /larger.jpg 9000w'>", "print.jpg"),
        ("<img src='/own.jpg' srcset='/other.jpg 2x'>", "own.jpg"),
        ("<img class='lazy'><noscript><img src='/buoy.jpg'></noscript>", "buoy.jpg"),
        ("<img data-src='/buoy.jpg'><noscript><img src='/buoy.jpg'></noscript>", "buoy.jpg"),
        ("<noscript><img src='/buoy.jpg'></noscript>", "buoy.jpg"),
        ("<picture><source type='image/webp' srcset='/a.webp'><source srcset='/b.jpg 2x'>"
         "<img></picture>", "b.jpg"),
        ("<picture><source srcset='/b.jpg'></picture>", "b.jpg"),
        ("<picture><source srcset='/b.jpg'><img src='/own.jpg'></picture>", "own.jpg"),
        ("<IMG DATA-SRC='/ferry.jpg'>", "ferry.jpg"),
        ("<IMG SRCSET='/ferry.jpg'>", "ferry.jpg"),
        ("<img alt='a > b' data-echo='/ferry.jpg'>", "ferry.jpg"),
        ("<img src='data:x' data-src='/grey-seal.jpg'>", "grey-seal.jpg"),
        ("<img src='/blank.gif' data-src='/grey-seal.jpg'>", "grey-seal.jpg"),
        ("<img src='/blank.gif' data-src='/seal.jpg?next=blank.gif'>", "seal.jpg?next=blank.gif"),
        ("<img srcset='/grey-seal-3.jpg 300w, /grey-seal-6.jpg 600w'>", "grey-seal-6.jpg"),
        ("<img src='/loading.jpg'>", "loading.jpg"),
    ],
)  # fmt: skip
def test_pictures(markup: str, expected: str) -> None:
    """One picture, with the address of the picture itself."""
    made = html(f"<p>a</p>{markup}")
    assert 1 == made.count("<img")
    assert f'src="https://quay.example/{expected}"' in made


def test_placeholders_without_a_picture_go() -> None:
    """So do pictures that count readers, and texts for readers without scripts."""
    markup = "<img src='data:x'><noscript>Enable scripts</noscript><noscript><img width=1 src='/t'>"
    assert "<p>a</p>" == html(f"<p>a</p>{markup}</noscript>")


def test_later_pictures_load_late() -> None:
    """All pictures but the first one are loaded when they come into view."""
    first, second = html("<img src='/a.jpg'><img src='/b.jpg'>").split("<img")[1:]
    assert "loading" not in first
    assert all(
        attribute in second
        for attribute in ('loading="lazy"', 'decoding="async"', 'referrerpolicy="no-referrer"')
    )


@pytest.mark.parametrize(
    ("src", "url", "picture"),
    [
        ("https://www.youtube.com/embed/aBcDeFgHiJk?feature=oembed",
         "https://www.youtube.com/watch?v=aBcDeFgHiJk",
         "https://i.ytimg.com/vi/aBcDeFgHiJk/hqdefault.jpg"),
        ("https://www.youtube-nocookie.com/embed/aBcDeFgHiJk",
         "https://www.youtube.com/watch?v=aBcDeFgHiJk",
         "https://i.ytimg.com/vi/aBcDeFgHiJk/hqdefault.jpg"),
        ("https://www.youtube.com/embed/videoseries?list=PL1",
         "https://www.youtube.com/playlist?list=PL1", ""),
        ("https://www.youtube-nocookie.com/embed/videoseries?list=PL1",
         "https://www.youtube.com/playlist?list=PL1", ""),
        ("https://WWW.youtube.com:443/embed/aBcDeFgHiJk?list=RD1",
         "https://www.youtube.com/watch?v=aBcDeFgHiJk",
         "https://i.ytimg.com/vi/aBcDeFgHiJk/hqdefault.jpg"),
        ("https://www.youtube.com/embed/live_stream?channel=UC1",
         "https://www.youtube.com/channel/UC1", ""),
        ("https://www.youtube.com/embed/aBcDeFgHiJkL", "https://www.youtube.com/embed/aBcDeFgHiJkL",
         ""),
        ("https://player.vimeo.com/video/123456789?h=1", "https://vimeo.com/123456789", ""),
        ("https://player.vimeo.com/video/123456789?h=ab12cd34ef",
         "https://vimeo.com/123456789/ab12cd34ef", ""),
        ("https://www.dailymotion.com/embed/video/x1", "https://www.dailymotion.com/video/x1",
         "https://www.dailymotion.com/thumbnail/video/x1"),
        ("https://w.soundcloud.com/player/?url=https%3A//soundcloud.com/a/b&color=1",
         "https://soundcloud.com/a/b", ""),
        ("https://w.soundcloud.com/player/?url=javascript:x",
         "https://w.soundcloud.com/player/?url=javascript:x", ""),
        ("https://w.soundcloud.com/player/?url=https%3A//api.soundcloud.com/tracks/1",
         "https://w.soundcloud.com/player/?url=https%3A//api.soundcloud.com/tracks/1", ""),
        ("https://open.spotify.com/embed/episode/1a", "https://open.spotify.com/episode/1a", ""),
        ("https://open.spotify.com/embed/user/a/playlist/b",
         "https://open.spotify.com/embed/user/a/playlist/b", ""),
        ("https://tube.example:9000/videos/embed/9c9de5e8-0a1e-484a-b099-e80766180a6d",
         "https://tube.example:9000/videos/watch/9c9de5e8-0a1e-484a-b099-e80766180a6d", ""),
        ("https://tube.example/videos/embed/9c9de5e8-0a1e-484a-b099-e80766180a6d",
         "https://tube.example/videos/watch/9c9de5e8-0a1e-484a-b099-e80766180a6d", ""),
        ("https://archive.org/embed/some.film", "https://archive.org/details/some.film",
         "https://archive.org/services/img/some.film"),
        ("https://maps.example/?q=1", "https://maps.example/?q=1", ""),
    ],
)  # fmt: skip
def test_players(src: str, url: str, picture: str) -> None:
    """The page that a frame stands for, and its picture where that is known."""
    shown = shown_in(src)
    assert (url, picture) == (shown.url, shown.picture)


@pytest.mark.parametrize(
    "markup",
    [
        "<iframe src='//player.vimeo.com/video/123'></iframe>",
        "<figure><iframe src='https://player.vimeo.com/video/123'></iframe></figure>",
        "<iframe data-src='https://player.vimeo.com/video/123' src='about:blank'></iframe>",
        "<object data='https://player.vimeo.com/video/123'></object>",
        "<object><param name='movie' value='https://player.vimeo.com/video/123'></object>",
        "<object><embed src='https://player.vimeo.com/video/123'></object>",
        "<embed src='https://player.vimeo.com/video/123'>",
        "<iframe src='https://player.vimeo.com/video/123'>",
    ],
)
def test_frames_become_links(markup: str) -> None:
    """A text that is nothing but a film is not empty."""
    assert '<a href="https://vimeo.com/123" rel="noopener">Vimeo</a>' in html(markup)


def test_what_objects_show_to_others_is_kept() -> None:
    """And nothing is shown twice."""
    markup = "<object data='/plan.pdf'><a href='/plan.pdf'>Plan</a><embed src='/plan.pdf'></object>"
    assert '<a href="https://quay.example/plan.pdf" rel="noopener">Plan</a>' == html(markup)


def test_frames_that_count_readers_go() -> None:
    """Frames that show nothing are removed."""
    assert "<p>a</p>" == html("<p>a</p><iframe width='1' src='https://t.example/'></iframe>")


@pytest.mark.parametrize(
    "markup",
    [
        "<embed src='https://player.vimeo.com/video/123'>b <i>c</i>",
        "<embed src='javascript:x'>b <i>c</i>",
        "<iframe src='https://player.vimeo.com/video/123'>b <i>c</i>",
        "<object data='https://player.vimeo.com/video/123'><embed src='x'></object>b <i>c</i>",
        "<picture><source srcset='/a.jpg'></picture>b <i>c</i>",
    ],
)
def test_what_follows_media_is_kept(markup: str) -> None:
    """Although parsers think that it is inside of them."""
    assert html(f"a {markup}").endswith("b <i>c</i>")


@pytest.mark.parametrize(
    "markup",
    [
        "<img data-src='/a&#1;.jpg'>",
        "<picture><source srcset='/a&#1;.jpg'></picture>",
        "<iframe src='https://player.vimeo.com/video/123' title='a&#1;'></iframe>",
        "<object><param name='movie' value='https://x.example/&#1;'></object>",
        "<video data-src='/a&#1;.mp4'></video>",
        "<embed src='https://x.example/&#xfffe;'>&#1;",
        "<math><annotation encoding='tex'>&#1;a</annotation></math>",
    ],
)
def test_forbidden_characters_of_media(markup: str) -> None:
    """References to them cost themselves."""
    made = html(f"{markup}<p>a</p>")
    assert made.endswith("<p>a</p>")
    assert made != "<p>a</p>"
    assert made == "".join(c for c in made if c.isprintable())


FORMULA = "<math><semantics><mrow><mi>a</mi></mrow></semantics></math>"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        (FORMULA, FORMULA),
        (FORMULA.replace("</sem", "<annotation encoding='application/x-tex'>a</annotation></sem"),
         FORMULA),
        ("<math><semantics><annotation encoding='application/x-tex'>a^2</annotation></semantics>"
         "</math>", "<code>a^2</code>"),
        (f"<span class='katex'>{FORMULA}<span class='katex-html'>a</span></span>",
         f"<span>{FORMULA}</span>"),
    ],
)  # fmt: skip
def test_formulas(markup: str, expected: str) -> None:
    """Once, as MathML or else as TeX."""
    assert expected == html(markup)


def test_footnotes_with_names() -> None:
    """Older programs name the target instead of giving it an id, or do both."""
    made = html(
        "<a id='a1' name='_ftn1' href='#_ftnref1'>[1]</a><p title=' id=\"x\"'>b</p>"
        "<a name='_ftnref1' href='#_ftn1'>1</a><a name='other'>x</a>"
    )
    assert ['_ftn1"', '_ftnref1"'] == [part.split()[0] for part in made.split('id="p-')[1:]]
    assert "name=" not in made
    assert made == html(made)


def test_footnotes() -> None:
    """Link targets keep their ids, with a prefix; links resolve against the article's own page."""
    made = html(
        "<p>Twice.<sup id='fnref:1'><a href='#fn:1'>1</a></sup> <a href='../map/'>map</a>"
        "<img src='pier.jpg'></p><ol><li id='fn:1'>In 1911. <a href='#fnref:1'>back</a></li></ol>"
        "<p id='other'>x</p>"
    )
    assert 'id="p-fn:1"' in made
    assert 'id="p-fnref:1"' in made
    assert "other" not in made
    for link in ("2024/pier/#fn:1", "2024/pier/#fnref:1", "2024/map/", "2024/pier/pier.jpg"):
        assert f'"https://quay.example/{link}"' in made
    assert made == html(made)
