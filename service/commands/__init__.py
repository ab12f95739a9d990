"""Commands that manage and watch a running dateline, on the store directly.

They do the same as the API's handlers (service/web/manage.py); the root group is in service/cli.py.
"""

from __future__ import annotations

from service.cli import main
from service.commands import hub, sources, views, watch, webhooks

__all__ = ["hub", "main", "run", "sources", "views", "watch", "webhooks"]


def run() -> None:
    """The console script: every command is known once this package is loaded."""
    main(prog_name="dateline")
