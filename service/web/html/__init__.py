"""HTML pages for people, rendered from plain values; no I/O. Pure."""
