"""Where 10^7 sources and 10^6 webhooks would be: members of each master and of the fullest slot.

A simulation by the rules of the program (service/storage/shards.py, partitions.py), without Redis
and without load. Sources are on hosts of very different sizes: one has 2 % of all, the next ones
fewer by a power of their rank, most a single source. All sources of a host are in one shard, and a
shard is in one slot; a webhook is in the shard that the number of its partition chooses.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Iterator, Sequence

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from bench.machine import header
from service.storage import keys
from service.storage.partitions import PARTITIONS, partition_of
from service.storage.shards import spread

MASTERS = (3, 6, 12)
SHARDS_A_MASTER = (1, 4, 16)
LARGEST_SHARE = 0.02
RANK_POWER = 0.9
TABLE = (
    "| masters | shards | fullest slot: members of sources | fullest master: sources | by mean | "
    "fullest slot: keys of webhooks | fullest master: webhooks | by mean |"
)
AIM = 1.1
"""Members of the fullest master, by the mean of all."""
# A source has a row, the state of its polls, known entries, and when it is due.
MEMBERS_OF_SOURCE = 4
# A webhook has its settings, a hash with its cursors, and a stream of attempts.
KEYS_OF_WEBHOOK = 2


def host_sizes(sources: int) -> Iterator[int]:
    """Numbers of sources of hosts, the largest first; together there are as many as said."""
    left, rank = sources, 1
    while left > 0:
        size = max(1, int(LARGEST_SHARE * sources * rank**-RANK_POWER))
        yield min(size, left)
        left, rank = left - size, rank + 1


def sources_by_hash(sources: int, modulus: int) -> list[int]:
    """How many sources have hosts whose crc32 has each remainder."""
    counts = [0] * modulus
    for number, size in enumerate(host_sizes(sources)):
        counts[zlib.crc32(b"feeds%d.example" % number) % modulus] += size
    return counts


def webhooks_by_partition(webhooks: int) -> list[int]:
    """How many webhooks are in each partition."""
    counts = [0] * PARTITIONS
    for number in range(webhooks):
        counts[partition_of(f"wh_{number:032x}")] += 1
    return counts


def folded(counts: Sequence[int], shards: int) -> list[int]:
    """Counts by number of shard: a multiple of the shards has been counted."""
    by_shard = [0] * shards
    for number, count in enumerate(counts):
        by_shard[number % shards] += count
    return by_shard


def by_master(by_shard: Sequence[int], masters: int) -> list[int]:
    """Members of each master, which have equal parts of the slots."""
    counts = [0] * masters
    for tag, count in zip(spread(len(by_shard)), by_shard, strict=True):
        slot = key_slot(keys.sources(tag).encode())
        counts[slot * masters // REDIS_CLUSTER_HASH_SLOTS] += count
    return counts


def skew(counts: Sequence[int]) -> float:
    """The fullest, by the mean."""
    return max(counts) * len(counts) / sum(counts)


def row(
    masters: int, shards: int, sources: Sequence[int], webhooks: Sequence[int]
) -> tuple[str, float, float]:
    """A row of the table, and the skews of sources and webhooks over the masters."""
    of_sources, of_webhooks = folded(sources, shards), folded(webhooks, shards)
    skews = skew(by_master(of_sources, masters)), skew(by_master(of_webhooks, masters))
    cells = (
        masters, shards, f"{max(of_sources) * MEMBERS_OF_SOURCE:,}",
        f"{max(by_master(of_sources, masters)):,}", f"{skews[0]:.2f}",
        f"{max(of_webhooks) * KEYS_OF_WEBHOOK:,}",
        f"{max(by_master(of_webhooks, masters)):,}", f"{skews[1]:.2f}",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |", *skews


def main() -> None:
    """Print the table of docs/scale.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=int, default=10**7)
    parser.add_argument("--webhooks", type=int, default=10**6)
    args = parser.parse_args()
    print(header(f"sources   {args.sources:,}", f"webhooks  {args.webhooks:,}"))
    started = time.process_time()
    largest = max(MASTERS) * max(SHARDS_A_MASTER)
    sources = sources_by_hash(args.sources, largest)
    webhooks = webhooks_by_partition(args.webhooks)
    print(TABLE)
    print("|---|---|---|---|---|---|---|---|")
    worst = 0.0
    for masters in MASTERS:
        for each in SHARDS_A_MASTER:
            line, of_sources, of_webhooks = row(masters, masters * each, sources, webhooks)
            print(line)
            if each > 1:
                worst = max(worst, of_sources, of_webhooks)
    fit = "met" if worst <= AIM else "missed"
    print(f"\nwith {SHARDS_A_MASTER[1]} shards a master or more: at most {worst:.2f} by mean "
          f"(aim {AIM}: {fit})")  # fmt: skip
    print(f"{time.process_time() - started:.1f} s of CPU")


if __name__ == "__main__":
    main()
