"""Storage: the only place that imports redis.

`keys` names every key, `client` opens clients, `commands` types their replies, `packing` writes
commands inside redis-py, `embedded_redis` runs a server; the other modules hold one noun each.
Callers pass values and `now`; nothing here reads the clock.
"""
