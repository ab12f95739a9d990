"""Every Redis key and channel: its name, type, lifetime, writers and readers.

All keys start with `dateline:{n}:`. `{n}` is the hash tag that keeps what one atomic step touches
in one slot of a cluster: that of a shard (shards.py), which crc32(article id) mod SHARDS chooses
for all that belongs to an article, and crc32(name) mod SHARDS for a page. Keys without TTL and
without a cap are permanent because they *are* the archive; they are marked so. No key per date.
"""

from __future__ import annotations

from service.storage.endpoint_keys import attempts as attempts
from service.storage.endpoint_keys import dead_letters as dead_letters
from service.storage.endpoint_keys import endpoint as endpoint
from service.storage.endpoint_keys import endpoints as endpoints
from service.storage.endpoint_keys import endpoints_changes as endpoints_changes
from service.storage.endpoint_keys import needed as needed
from service.storage.endpoint_keys import replays as replays
from service.storage.endpoint_keys import unsent_operations as unsent_operations
from service.storage.endpoint_keys import webhook_deliverers as webhook_deliverers
from service.storage.source_keys import PAGE_MARKS_TTL_S as PAGE_MARKS_TTL_S
from service.storage.source_keys import PUSH_MAX_BYTES as PUSH_MAX_BYTES
from service.storage.source_keys import PUSHES_MAX as PUSHES_MAX
from service.storage.source_keys import page_marks as page_marks
from service.storage.source_keys import pushes as pushes
from service.storage.source_keys import sources as sources
from service.storage.source_keys import sources_claims as sources_claims
from service.storage.source_keys import sources_due as sources_due
from service.storage.source_keys import sources_hosts as sources_hosts
from service.storage.source_keys import sources_known as sources_known
from service.storage.source_keys import sources_moving as sources_moving
from service.storage.source_keys import sources_polls as sources_polls
from service.storage.source_keys import sources_urls as sources_urls
from service.storage.source_keys import subscriptions as subscriptions

# dateline:{0}:layout · hash · permanent · written once by the first process to connect. Field
# `shards`: the count that all other names depend on; a process with another count refuses to start.
# Field `tags`: those of the shards, if they are not 0 to SHARDS - 1 (shards.py).
# Field `version`: see layout.py; a process that knows only older ones refuses to start.
LAYOUT = "dateline:{0}:layout"

# dateline:{0}:restoring · string, id of the backup · removed when the restore is complete ·
# restore → every process at its start, which refuses an archive of which a part is missing.
RESTORING = "dateline:{0}:restoring"

# dateline:{0}:moving · hash · permanent, in an archive that is moved or was moved to another Redis
# (write_stop.py) · layout move → every process at its start, which refuses it; servers.
MOVING = "dateline:{0}:moving"

# dateline:{0}:changed · channel · aggregate → servers. JSON [[category, period, version], …].
CHANGED = "dateline:{0}:changed"

# dateline:{0}:erased · channel · erase → servers, deliver. JSON list of ids of articles whose text
# must leave the memory of every process.
ERASED = "dateline:{0}:erased"

# dateline:{0}:erasing · sorted set · one member an article whose text is being erased, removed when
# that was done a second time, score: ms of the order · API, CLI → aggregate.
ERASING = "dateline:{0}:erasing"

# dateline:{0}:retention · hash · permanent · aggregate → aggregate, status. Fields of the last pass
# of retention: `ended`, `policy`, `removed`, `examined`.
RETENTION = "dateline:{0}:retention"

# dateline:{0}:faults · hash · TTL FAULTS_TTL_S after the last, capped at FAULTS_MAX, one field a
# thing that could not be done (faults.py) · all → status, /readyz.
FAULTS = "dateline:{0}:faults"
FAULTS_TTL_S, FAULTS_MAX = 86_400, 500

PROBE_TTL_MS = 1_000

# dateline:{0}:asked · sorted set · capped at ASKED_MAX · servers → aggregate. Member: page and
# format, score: ms of the last request that missed or was re-checked.
ASKED = "dateline:{0}:asked"
ASKED_MAX = 2_000

# dateline:{0}:endpoints · hash · permanent, one field a webhook (id → its settings as JSON) · until
# there were partitions; webhook_partitions.py moves them.
FORMER_ENDPOINTS = "dateline:{0}:endpoints"

# dateline:{0}:categories:renamed · hash · permanent, one field a category whose slug is another one
# since it was created (former path → path) · layout → servers.
CATEGORIES_RENAMED = "dateline:{0}:categories:renamed"

# dateline:{0}:views · hash · permanent, one field a view (name → JSON) · API, CLI → all.
VIEWS = "dateline:{0}:views"

# dateline:{0}:views:changes · string, a number that rises · API, CLI → aggregate.
VIEWS_CHANGED = "dateline:{0}:views:changes"

# dateline:{0}:views:built · hash · one field a view: how far its index has come, as JSON ·
# aggregate → API, CLI.
VIEWS_BUILT = "dateline:{0}:views:built"

# dateline:{0}:private · hash · permanent, one field a private feed (SHA-256 of its token → JSON) ·
# API, CLI → servers.
PRIVATE_FEEDS = "dateline:{0}:private"

# dateline:{0}:tokens · hash · permanent, one field an API token (its folded name → JSON with the
# SHA-256 of its text) · API, CLI, servers at their start → servers. At most TOKENS_MAX are added.
TOKENS = "dateline:{0}:tokens"
TOKENS_MAX = 1_000

# dateline:{0}:tokens:used · hash · one field a token that was used (its folded name → RFC 3339),
# removed with it · servers → API, CLI.
TOKENS_USED = "dateline:{0}:tokens:used"

# dateline:{0}:subscribers · hash · one field a subscription to our hub (id → JSON); removed when
# its lease has ended · deliver → deliver, API.
SUBSCRIBERS = "dateline:{0}:subscribers"

# dateline:{0}:hub:asked · hash · one field a request that its callback has not confirmed yet (id →
# JSON); capped by HUB_UNCONFIRMED and, for renewals, by the subscribers · servers → deliver.
HUB_ASKED = "dateline:{0}:hub:asked"

# dateline:{0}:hub:unconfirmed · sorted set · capped at HUB_MAX_UNCONFIRMED, the oldest leave ·
# servers, deliver. Ids of those in HUB_ASKED that are no subscriptions yet, score: ms of the
# request.
HUB_UNCONFIRMED = "dateline:{0}:hub:unconfirmed"

# dateline:{0}:previews · list · TTL PREVIEWS_TTL_S, capped at PREVIEWS_MAX · servers, CLI → ingest.
# An item: the name of a request, a space, and the fields of a source as JSON.
PREVIEWS = "dateline:{0}:previews"
PREVIEWS_MAX, PREVIEWS_TTL_S = 20, 30

CHANGES_MAX = 10_000

# dateline:{0}:operations · stream · about OPERATIONS_MAX entries · deliver → operators. CloudEvents
# as on the event stream (docs/stream.md). Those of other shards wait in `unsent_operations`.
OPERATIONS = "dateline:{0}:operations"
OPERATIONS_MAX = 10_000

# dateline:{0}:deliverers · sorted set · one member a deliver worker (its token) that shares the
# subscriptions to our hub, score: the ms at which it is taken for gone · deliver.
DELIVERERS = "dateline:{0}:deliverers"

RENDERED_TTL_S = 86_400
ATTEMPTS_MAX = 50
DEAD_LETTERS_MAX = 1_000
REPLAYS_MAX = 1_000


def stream(n: int) -> str:
    """Stream of events · capped by trimming (STREAM_MAX_ENTRIES) · append → every consumer."""
    return f"dateline:{{{n}}}:events"


def probe(n: int) -> str:
    """String · TTL PROBE_TTL_MS · servers, to learn whether Redis takes writes."""
    return f"dateline:{{{n}}}:probe"


def trimmed(n: int) -> str:
    """String, id of the newest entry that was dropped from the stream · permanent · aggregate →
    deliver."""
    return f"dateline:{{{n}}}:trimmed"


def article(n: int, article_id: str) -> str:
    """String, one an article (a hash, if a version before December 2026 wrote it) · permanent ·
    append, withdraw, index → all.

    Its parts (see article.lua): `doc` JSON less STORED_FIELDS, compressed (see compression.py);
    `head` what append decided (see append.lua, head.lua); `idx` what the category indexes hold of
    it (see index.lua).
    """
    return f"dateline:{{{n}}}:article:{article_id}"


def dictionaries(n: int) -> str:
    """Hash, one field a zstd dictionary that documents of the shard need (its id → its bytes), and
    `newest`, `articles`, `swept` (dictionaries.py) · permanent · aggregate → all."""
    return f"dateline:{{{n}}}:dictionaries"


def dirty(n: int) -> str:
    """Sorted set of article ids whose index is behind, score: ms of the append · append →
    aggregate.

    The net under the stream: an event that was trimmed or deleted unread is found here.
    """
    return f"dateline:{{{n}}}:dirty"


def dead_events(n: int) -> str:
    """Hash, `group article-id` → an event that the group could not process, as JSON · removed when
    it was processed · aggregate → aggregate, status."""
    return f"dateline:{{{n}}}:events:dead"


def reader(n: int) -> str:
    """String, the worker that reads the new events of our groups while they are few · TTL
    READER_TTL_MS (read_turns.py) · aggregate."""
    return f"dateline:{{{n}}}:reader"


def event_tries(n: int) -> str:
    """Hash, `group entry-id` → the processes that began to process this event and did not come to
    an end; removed when one does, or when it becomes a dead letter · aggregate."""
    return f"dateline:{{{n}}}:events:tries"


REMOVED_BUCKETS = 8_192


def removed(n: int, bucket: int) -> str:
    """Hash, the last 8 bytes of the id of an article that retention removed → the day of that, or
    `erased` · permanent, removed when the article is taken in again · aggregate → append, servers.

    In buckets for the reason that aliases are.
    """
    return f"dateline:{{{n}}}:removed:{bucket:04x}"


ALIAS_BUCKETS = 65_536


def aliases(n: int, bucket: int) -> str:
    """Hash, alias of 8 bytes → the id of its article in 16 bytes and its fingerprint · permanent ·
    append → append.

    In buckets, because small hashes are packed: 40 bytes an alias up to 500 a bucket, that is 30
    million aliases a shard.
    """
    return f"dateline:{{{n}}}:aliases:{bucket:04x}"


def twins(n: int, article_id: str) -> str:
    """Set of the ids of an article's duplicates · permanent, capped at TWINS_MAX · duplicates. In
    the shard of the article."""
    return f"dateline:{{{n}}}:twins:{article_id}"


TWINS_MAX = 50
URL_BUCKETS = 65_536
LANDMARKS_TTL_S = 6 * 86_400
LANDMARK_BUCKETS = 64
"""Few, so that a batch of articles needs few commands, and a bucket is soon too large to be packed:
a packed one is searched from its beginning. Not fewer, because a bucket moves as a whole when its
slot does (docs/scale.md)."""


def urls(n: int, bucket: int) -> str:
    """Hash, digest of a canonical URL (8 bytes) → ids of the last articles with it (16 bytes each,
    two at most, the newest first) · permanent · duplicates.

    In buckets for the reason that aliases are: about 60 bytes a URL. All shards together have
    URL_BUCKETS; which one has a bucket says trace_buckets.py.
    """
    return f"dateline:{{{n}}}:urls:{bucket:04x}"


def landmarks(n: int, window: int, bucket: int) -> str:
    """Hash, a landmark (8 bytes) → ids of the last articles with it, as in `urls` · TTL
    LANDMARKS_TTL_S · duplicates. A window is three days; 12 landmarks an article. Buckets are
    placed as those of `urls` are."""
    return f"dateline:{{{n}}}:landmarks:{window}:{bucket:x}"


def bands(window: int, bucket: int) -> str:
    """Hash that versions before December 2026 wrote for what landmarks are for · TTL 6 days · no
    one."""
    return f"dateline:{{0}}:bands:{window}:{bucket:03x}"


def categories(n: int) -> str:
    """Hash, category path → title · permanent, one field a category · append → all."""
    return f"dateline:{{{n}}}:categories"


def categories_created(n: int) -> str:
    """Hash · permanent, one field a source that created a category or could not (id of a polled
    source, else the source URI of its articles → JSON, see create_categories.lua); at most one a
    category, and 10,000 · append → API, CLI. In the first shard alone."""
    return f"dateline:{{{n}}}:categories:created"


def category(n: int, path: str) -> str:
    """Sorted set of the live articles of a category and those below it (`all`: of everything),
    score: published in ms · permanent · index → servers."""
    return f"dateline:{{{n}}}:category:{path}"


def gone(n: int, path: str) -> str:
    """Sorted set of the withdrawn articles of a category, score: published in ms · permanent,
    capped at GONE_MAX · index → servers. For the tombstones in its feeds."""
    return f"dateline:{{{n}}}:gone:{path}"


GONE_MAX = 1_000


def versions(n: int, path: str) -> str:
    """Hash, period → version of the category's page in this shard · permanent, one field a day,
    month and year that ever had an article, and `live` · index → servers.

    A version is the ms of the newest event in it, and always rises.
    """
    return f"dateline:{{{n}}}:versions:{path}"


def page_changes(n: int) -> str:
    """Stream · capped at about PAGE_CHANGES_MAX entries · index, views → servers. An entry:
    category → the periods of its pages that have changed, joined by spaces."""
    return f"dateline:{{{n}}}:changes"


PAGE_CHANGES_MAX = 2_000


def rendered(n: int, page: str, extension: str) -> str:
    """Hash, a page's bytes and validators · TTL RENDERED_TTL_S · servers, aggregate → servers."""
    return f"dateline:{{{n}}}:rendered:{page}.{extension}"


def counters(n: int) -> str:
    """Hash · permanent, one field a counter · workers → /metrics, which adds up those of all
    shards. Most count in {0}."""
    return f"dateline:{{{n}}}:counters"


def lease(name: str, n: int = 0) -> str:
    """String, the holder's token · TTL of the lease · workers."""
    return f"dateline:{{{n}}}:lease:{name}"


def epoch(name: str, n: int = 0) -> str:
    """Integer, how often the lease changed hands · permanent, one a lease · workers."""
    return f"dateline:{{{n}}}:epoch:{name}"


def hub_host(host: str) -> str:
    """Set of ids of the subscriptions whose callbacks are at a host · capped at HUB_MAX_PER_HOST,
    removed with them · servers, deliver."""
    return f"dateline:{{0}}:hub:host:{host}"


def hub_address(network: str) -> str:
    """Set of ids of the subscriptions whose callbacks were at an address, or in an IPv6 network,
    when they confirmed · capped at HUB_MAX_PER_ADDRESS, removed with them · deliver."""
    return f"dateline:{{0}}:hub:address:{network}"


def tokens(bucket: str) -> str:
    """String, the ms at which a bucket of tokens is full again · TTL until then · servers,
    deliver."""
    return f"dateline:{{0}}:buckets:{bucket}"


def preview(name: str) -> str:
    """List with one item, the answer to a request for a preview · TTL PREVIEWS_TTL_S, removed when
    it was read · ingest → servers, CLI."""
    return f"dateline:{{0}}:preview:{name}"
