"""Aggregate: events → category indexes → page versions → servers notified."""
