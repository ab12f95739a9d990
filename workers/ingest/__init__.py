"""Ingest: fetch → parse → clean → identify → append."""
