"""Searching: the CPU of matching 10,000 articles with `q=`, from their stored form to the answer.

The articles are those of bench.duplicates, in eight languages. One search is for a word that is in
some of them, one for three words, one for what is in none. With --old TREE the same is done by the
code of another tree (`git worktree add TREE COMMIT`), in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
ARTICLES, ROUNDS = 10_000, 3
AIM = 1.0
SEARCHES = ("ino", "eta ino tho", "nowhere")


def measure(count: int) -> list[float]:
    """Microseconds an article for each search, by the code on the path of this process."""
    # Of this folder, whatever tree is measured.
    from duplicates import texts  # type: ignore[import-not-found]

    from service.articles.article import Article
    from service.feeds.query import parse_query

    stamp = datetime(2026, 1, 5, tzinfo=UTC).isoformat().replace("+00:00", "Z")
    dates = dict.fromkeys(("published", "updated", "first_seen"), stamp)
    strings = dict.fromkeys(("summary", "url", "language", "image", "attribution"), "")
    stored = [
        json.dumps(
            {
                "id": str(number), "source": "s", "guid": str(number), "title": text[:60],
                "content_html": f"<p>“{text[:200]}”</p>\n<p>{text[200:]} – it’s.</p>",
                "authors": [], "categories": [], "tags": [], "enclosures": [], "raw_published": "",
                "revision": 1, "content_hash": "", "status": "live", **strings, **dates,
            },
            ensure_ascii=False,
        ).encode()
        for number, (text, _) in enumerate(texts("prose", count))
    ]  # fmt: skip
    figures = []
    for search in SEARCHES:
        wanted = parse_query(f"q={search}", zone=UTC).filter
        best = float("inf")
        for _ in range(ROUNDS):
            start = time.process_time()
            for document in stored:
                wanted.matches(Article.from_json(document))
            best = min(best, time.process_time() - start)
        figures.append(best / count * 1e6)
    return figures


def side(tree: Path, count: int) -> list[float]:
    """The figures of the code in this tree."""
    command = [sys.executable, __file__, "--measure", "--articles", str(count)]
    environ = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, cwd=tree, env=environ, check=True, capture_output=True)
    figures: list[float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Run each side, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--old", type=Path, help="tree of another commit, to compare with")
    parser.add_argument("--articles", type=int, default=ARTICLES)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.articles)))
        return
    from bench.machine import header, median

    print(header(f"load      {options.articles} articles, decoded and matched"))
    ours, old = [], []
    for _ in range(ROUNDS):
        ours.append(side(ROOT, options.articles))
        old.append(side(options.old.resolve(), options.articles) if options.old else ours[-1])
    print("search            ours us   old us   ours/old")
    for number, search in enumerate(SEARCHES):
        new, before = (median([figures[number] for figures in runs]) for runs in (ours, old))
        ratio = new / before
        verdict = f"aim <= {AIM:g}: {'met' if ratio <= AIM else 'MISSED'}" if options.old else ""
        print(f"{search:14} {new:10.1f} {before:8.1f} {ratio:10.2f}   {verdict}")


if __name__ == "__main__":
    main()
