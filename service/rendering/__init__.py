"""Rendering: from what storage keeps to a feed's bytes, for servers and for the aggregate
worker."""
