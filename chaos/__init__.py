"""Everything goes wrong on purpose: real processes, a real Redis, and a ledger of promises.

`python -m chaos` (`make chaos`) starts Redis, servers and workers, works with them as publishers,
sites, readers and receivers do, strikes with one fault after another, and checks that nothing that
was acknowledged is lost, doubled or out of order, that nothing is answered with 500, and that every
role is back within ABSENT_S. docs/reliability.md has what was measured.
"""
