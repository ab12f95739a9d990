"""What a figure was measured on: the first lines of every benchmark."""

from __future__ import annotations

import os
import platform
import statistics
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parent.parent
LIBRARIES = ("aiohttp", "feedgen", "lxml", "orjson", "redis", "uvloop")


def header(*extra: str) -> str:
    """Command, machine, versions."""
    cpu = "unknown CPU"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(": ")[2] if names else cpu
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    parts = Path(sys.argv[0]).resolve().relative_to(ROOT).with_suffix("").parts
    module = ".".join(parts).removesuffix(".__main__")
    command = " ".join(["python -m", module, *sys.argv[1:]])
    return "\n".join(
        [
            f"command   {command}",
            f"machine   {os.cpu_count()} × {cpu}, {platform.system()} {platform.release()}",
            f"versions  Python {platform.python_version()}, {libraries}",
            *extra,
            "",
        ]
    )


def median(values: list[float]) -> float:
    """Of the rounds."""
    return statistics.median(values)


def verdict(ratio: float, aim: float) -> str:
    """`met` or `missed`, with the aim."""
    return f"aim >= {aim:g}: {'met' if ratio >= aim else 'MISSED'}"
