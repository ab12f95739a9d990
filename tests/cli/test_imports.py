"""What a command loads."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.running import ROOT


async def test_commands_load_no_server(tmp_path: Path) -> None:
    """A command starts in a fraction of a second, because what only servers need is not read."""
    script = (
        "import sys, service.cli.main; "
        "print([name for name in ('aiohttp', 'jinja2', 'service.web.app') if name in sys.modules])"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    out, _ = await process.communicate()
    assert b"[]" == out.strip()
