"""How the work grows with its input: tests of what must not take quadratic time.

Seconds say more of the machine than of the code, so two sizes are compared in one process.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A quarter of the input takes a quarter of the time if the work is linear, a sixteenth if it is
# quadratic. What takes less than this is not compared: it is mostly the clock's own noise.
NOISE_S = 0.2
TRIES = 3


def assert_linear(work: Callable[[str], object], text: str) -> None:
    """Fail if four times the text takes more than about eight times the CPU time."""
    quarter = text[: len(text) // 4]
    work(quarter)  # Whatever is done once and kept.
    # What disturbs a measurement, such as a collection of garbage, does so once; what is quadratic
    # is so each time.
    for _ in range(TRIES):
        quarter_s, whole_s = cpu_s(work, quarter), cpu_s(work, text)
        if whole_s < 8 * quarter_s + NOISE_S:
            break
    assert whole_s < 8 * quarter_s + NOISE_S, f"{quarter_s:.2f} s became {whole_s:.2f} s"


def cpu_s(work: Callable[[str], object], text: str) -> float:
    """CPU seconds of this process for one call, without those of the measurement of coverage."""
    with untraced():
        start = time.process_time()
        work(text)
        return time.process_time() - start


@contextmanager
def untraced() -> Iterator[None]:
    """Run without the tracer that measures coverage: it makes work on large texts three times as
    slow, and has seen the same lines in a smaller one."""
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)
