"""`python -m service`: the same as `dateline`."""

from service.commands import run

run()
