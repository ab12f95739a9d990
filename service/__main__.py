"""`python -m service`: the same as `dateline`."""

from service.cli.main import start

start()
