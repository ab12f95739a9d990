"""Webhooks: who gets which events, how they are encoded and signed, when they are retried. Pure."""
