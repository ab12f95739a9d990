"""Storage: the only package that imports redis.

`keys` names every key, `client` opens clients, `commands` types their replies, `packing` encodes
commands inside redis-py, `embedded_redis` runs a server; each other module stores one noun.
Callers pass values and `now`; no module here reads the clock.
"""
