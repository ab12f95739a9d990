"""How pages are served: the page cache, prepared responses, conditional requests, events."""
