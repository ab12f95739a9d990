"""Plots of the tables in docs/performance.md, into docs/plots: `pip install pygal` first.

Read from the tables, so that plot and table never differ.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pygal
from pygal.style import LightColorizedStyle

DOCS = Path(__file__).parent.parent / "docs"
FOLDER = DOCS / "plots"


def table(text: str, module: str) -> list[list[str]]:
    """Rows of the output of a benchmark, as words."""
    match = re.search(rf"```\ncommand   python -m bench\.{module}\b(.*?)```", text, re.DOTALL)
    if not match:
        raise SystemExit(f"docs/performance.md: no output of bench.{module}")
    return [line.split() for line in match[1].splitlines()]


def chart(kind: Any, title: str, **options: Any) -> Any:
    """One that is a plain picture: no scripts, no links to anywhere."""
    return kind(
        title=title, js=(), style=LightColorizedStyle, width=800, height=420,
        legend_at_bottom=True, explicit_size=True, **options,
    )  # fmt: skip


def serving(text: str) -> Any:
    """Requests a second of each side."""
    drawn = chart(pygal.Bar, "Requests a second, hot page", y_title="requests/s")
    rows = [row for row in table(text, "serve") if row and row[0] in ("200", "304")]
    kinds = list(dict.fromkeys(" ".join(row[: _name_at(row)]) for row in rows))
    drawn.x_labels = kinds
    for side in ("ours", "handler", "router", "nginx"):
        rates = {
            " ".join(row[: _name_at(row)]): float(row[_name_at(row) + 1].removesuffix("/s"))
            for row in rows
            if row[_name_at(row)] == side
        }
        drawn.add(side, [rates.get(kind) for kind in kinds])
    return drawn


def _name_at(row: list[str]) -> int:
    return next(i for i, word in enumerate(row) if word in ("ours", "handler", "router", "nginx"))


def arrivals(text: str) -> Any:
    """Time to visibility."""
    drawn = chart(pygal.Bar, "Append to visible, p50 and p99", y_title="ms", logarithmic=True)
    rows = [row for row in table(text, "arrivals") if row and row[0].endswith("/s")]
    drawn.x_labels = [row[0] for row in rows]
    for place, name in enumerate(("ours p50", "ours p99", "bare p50", "bare p99"), 1):
        drawn.add(name, [float(row[place]) for row in rows])
    return drawn


def growth(text: str) -> Any:
    """What a GET and an append cost, against 10,000 articles."""
    drawn = chart(pygal.Line, "Growth: times of 10,000 articles", y_title="x", range=(0, 2.5))
    rows = [row for row in table(text, "growth") if row and re.fullmatch(r"[\d,]+", row[0])]
    drawn.x_labels = [row[0] for row in rows]
    for place, name in enumerate(("hot GET", "cold day", "cold year", "append"), 5):
        drawn.add(name, [None if row[place] == "-" else float(row[place]) for row in rows])
    return drawn


def wire(text: str) -> Any:
    """Bytes of a day."""
    drawn = chart(
        pygal.HorizontalBar, "A day of polling every ten minutes", x_title="kB", show_legend=False
    )
    rows = [row for row in table(text, "wire") if any(word.endswith("%") for word in row)]
    sizes = []
    for row in rows:
        at = next(i for i, word in enumerate(row) if word.endswith("%"))
        sizes.append((" ".join(row[: at - 1]), float(row[at - 1])))
    drawn.x_labels = [name for name, _ in reversed(sizes)]
    drawn.add("kB", [size for _, size in reversed(sizes)])
    return drawn


def deliveries(text: str) -> Any:
    """Webhook requests a second."""
    drawn = chart(pygal.Bar, "Webhook requests a second", y_title="requests/s", show_legend=False)
    rows = {row[0]: row for row in table(text, "deliver") if row}
    bars = {
        "bare loop": rows["bare"][1], "one worker": rows["any"][1], "two workers": rows["any"][2],
    }  # fmt: skip
    drawn.x_labels = list(bars)
    drawn.add("requests/s", [float(rate.removesuffix("/s")) for rate in bars.values()])
    return drawn


def main() -> None:
    """Draw them all."""
    text = (DOCS / "performance.md").read_text()
    FOLDER.mkdir(exist_ok=True)
    for draw in (serving, arrivals, growth, wire, deliveries):
        svg = draw(text).render(is_unicode=True)
        # pygal says what made it and when, with a new identity each time.
        svg = re.sub(r"<!--.*?-->", "", svg)
        svg = re.sub(r"chart-[0-9a-f-]{36}", f"chart-{draw.__name__}", svg)
        (FOLDER / f"{draw.__name__}.svg").write_text(svg)
        print(FOLDER / f"{draw.__name__}.svg")


if __name__ == "__main__":
    main()
