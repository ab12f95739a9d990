"""`python -m workers …`, see `workers.commands`."""

from workers.commands import main

main(prog_name="dateline")
