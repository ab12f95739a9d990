"""Storage: the only place that imports redis.

`keys` names every key, `connecting` opens clients, `embedded` runs a server of our own; the other
modules hold one noun each. Callers pass values and `now`; nothing here reads the clock.
"""
