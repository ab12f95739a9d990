"""Sources: what is polled, and when. Pure."""
