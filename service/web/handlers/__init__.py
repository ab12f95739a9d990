"""Handlers: one module a noun; each reads a request, asks storage or manage, and answers. Never one
another."""
