"""Feeds: a page and its articles → RSS 2.0, Atom 1.0, JSON Feed 1.1, OPML 2.0. Pure.

An article is rendered once into a fragment (`<item>`, `<entry>`, a JSON object) and a feed is a
shell around joined fragments: the bytes are those that feedgen would make of the whole, at a
fraction of its cost (bench/render.py). Nothing of "now" is in a feed, so that equal content gives
equal bytes. feedgen sets the process-wide locale for each date: call all this from one thread.
"""
