"""Feeds: a page and its articles → RSS 2.0, Atom 1.0, JSON Feed 1.1, OPML 2.0. Pure.

An article is rendered once into a fragment (`<item>`, `<entry>`, a JSON object), and a feed is a
shell around joined fragments: the same bytes that feedgen would write for the whole feed, at a
fraction of its cost (bench/render.py). A feed does not contain the time of its rendering, so that
equal content gives equal bytes. feedgen sets the process-wide locale for each date: render all
feeds of a process in one thread.
"""
