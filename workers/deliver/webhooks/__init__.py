"""Webhooks as endpoints: cursors in the event stream, outcomes, the shared event log."""
