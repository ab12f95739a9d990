"""Imports inside the deliver worker: one way, without a circle, also where only types need them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.running import ROOT
from tests.test_layout import imports

DELIVER = ROOT / "workers" / "deliver"
# Bottom to top: each may import those before it, and nothing beside or after it.
LAYERS = (
    ("endpoint",),
    ("slots", "send", "ack_writer"),
    ("dispatcher",),
    ("webhooks", "hub"),
    ("worker",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def room_of(module: str) -> str:
    """`hub` for `workers.deliver.hub.topics`."""
    return module.removeprefix("workers.deliver.").partition(".")[0]


@pytest.mark.parametrize(
    "path", sorted(DELIVER.rglob("*.py")), ids=lambda path: path.relative_to(DELIVER).as_posix()
)
def test_imports_go_down(path: Path) -> None:
    """endpoint ← slots, send, ack_writer ← dispatcher ← webhooks | hub ← worker."""
    own = path.relative_to(DELIVER).parts[0].removesuffix(".py")
    for module in imports(path):
        if module.startswith("workers.deliver."):
            room = room_of(module)
            is_inside = room == own and own in ("webhooks", "hub")
            assert is_inside or LEVEL[room] < LEVEL[own], f"{own} must not import {module}"
