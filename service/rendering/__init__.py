"""Rendering: from the articles in storage to the bytes of a feed.

Servers and aggregate workers share this code, and the bytes that it stores.
"""
