"""Webhooks: what goes to whom, in which form, how it is signed and when it is retried. Pure."""
