"""OPML: feeds to be added as sources, with the folders above them as their category. Pure."""

from __future__ import annotations

from typing import Any

from service.feeds import opml
from workers.ingest.parse.document import Document


def parse_opml(root: Any, url: str) -> Document:
    """A document without entries, whose `feeds` are the outlines that have an xmlUrl."""
    return Document(kind="opml", url=url, feeds=tuple(opml.outlines(root)))
