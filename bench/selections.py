"""Matching: the CPU of one event against 10,000 webhooks with different selections.

Each selects by something else: categories, tags, sources, authors, words, or a mixture of them. The
articles are those of bench.duplicates. With --old TREE the same is done by the code of another tree
(`git worktree add TREE COMMIT`), in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SELECTIONS, EVENTS, ROUNDS = 10_000, 60, 3
KINDS = {
    "categories": ("", "c{}"),
    "tags": ("tag=t{}", ""),
    "sources": ("source=s{}.example", ""),
    "words": ("q=w{}", ""),
    "mixed": ("lang=en&source=s{}.example&q=ino", "news"),
}


def measure() -> dict[str, float]:
    """Kind of selections → microseconds an event, by the code on the path of this process."""
    # Of this folder, whatever tree is measured.
    from duplicates import texts  # type: ignore[import-not-found]

    from service.articles.article import Article
    from service.articles.event import EVENT_TYPES, Event
    from service.webhooks.selection import Selection
    from workers.deliver.webhooks.selection_groups import SelectionGroups

    stamp = "2026-01-05T12:00:00Z"
    taken = {}
    for kind, (query, category) in KINDS.items():
        groups = SelectionGroups({})
        for number in range(SELECTIONS):
            path = category.format(number)
            groups.join(Selection(query=query.format(number), categories=(path,) if path else ()))
        events = []
        for number, (text, _) in enumerate(texts("prose", EVENTS)):
            event = Event(
                entry_id=f"{number}-0", shard=0, id=str(number), type=EVENT_TYPES[0], subject="a",
                time=stamp, data=b"",
            )  # fmt: skip
            event.__dict__["article"] = Article.from_dict(
                {
                    "id": str(number), "guid": "g", "source": f"https://s{number}.example/feed",
                    "title": text[:60], "content_html": f"<p>{text} w{number}</p>",
                    "published": stamp, "updated": stamp, "first_seen": stamp, "revision": 1,
                    "status": "live", "language": "en", "tags": [f"t{number}"],
                    "categories": ["news", f"c{number}"], "authors": [], "enclosures": [],
                    "summary": "", "url": "", "image": "", "attribution": "", "raw_published": "",
                    "content_hash": "",
                }
            )  # fmt: skip
            events.append(event)
        list(groups.wanting(events[0]))
        started = time.process_time()
        for event in events[1:]:
            list(groups.wanting(event))
        taken[kind] = (time.process_time() - started) / (EVENTS - 1) * 1e6
    return taken


def measured_in(tree: Path) -> dict[str, float]:
    """The same by the code of a tree, in another process."""
    environ = {**os.environ, "PYTHONPATH": f"{tree}:{ROOT / 'bench'}:{ROOT}"}
    command = [sys.executable, __file__, "--here"]
    out = subprocess.run(command, env=environ, cwd=tree, capture_output=True, check=True).stdout
    result: dict[str, float] = json.loads(out)
    return result


def main() -> None:
    """Print the least of a few rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--old", type=Path, help="a tree with the code to compare with")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(measure()))
        return
    trees = [("now", ROOT), *([("old", options.old.resolve())] if options.old else [])]
    for name, tree in trees:
        rounds = [measured_in(tree) for _ in range(ROUNDS if name == "now" else 1)]
        for kind in KINDS:
            print(f"{name:4} {kind:12} {min(each[kind] for each in rounds):10.0f} us an event")


if __name__ == "__main__":
    main()
