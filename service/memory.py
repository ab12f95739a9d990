"""The garbage collector in processes that run for long.

It looks through everything that a process has, again and again, and stops the process meanwhile:
40 ms for what is imported, over 100 ms with ten thousand endpoints. What is there once a process
has begun stays to its end: the collector is told to leave that alone.
"""

from __future__ import annotations

import gc

# Of Python's 700, 10, 10: a thousand requests in flight are 200,000 objects, and the whole of them
# was looked through each time they had grown by a quarter.
THRESHOLDS = (1_000, 5, 200)


def settle() -> None:
    """Whatever is alive now is here to stay."""
    # First, or garbage would stay, too.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
