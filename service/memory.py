"""The garbage collector in processes that run for long.

It looks through everything that a process has, again and again, and stops the process meanwhile:
40 ms for what is imported, over 100 ms with ten thousand endpoints. What is there once a process
has begun stays to its end: the collector is told to leave that alone.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Whatever is alive now is here to stay."""
    # First, or garbage would stay, too.
    gc.collect()
    gc.freeze()
