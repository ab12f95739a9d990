"""/livez, /readyz, /metrics: health checks and metrics for operators."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.errors import Unavailable
from service.storage.store import Store
from service.web.request.body import json_response
from service.web.request.keys import (
    CACHE,
    CLOCK,
    CONNECTIONS,
    COSTLY_READS,
    READINESS,
    STORE,
    STREAMS,
)
from service.web.serving.address_limit import AddressLimit, Full
from service.web.serving.connections import Connections, Refused
from service.web.serving.costly_reads import CostlyReads
from service.web.serving.page_cache import PageCache


async def livez(_: web.Request) -> web.StreamResponse:
    """Answer 200 while this process runs; contacts no other service."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.StreamResponse:
    """Answer 200 if Redis accepts writes, else 503; with backlogs and the number of faults."""
    report = await request.app[READINESS].report()
    if not report.is_ready:
        raise Unavailable(report.reason)
    return json_response({"status": "ok", **report.details})


async def metrics(request: web.Request) -> web.StreamResponse:
    """Prometheus text: the metrics of this server, and the counters of the workers in Redis."""
    app = request.app
    families = _connections(app[CONNECTIONS], app[STREAMS]) + _costly_reads(app[COSTLY_READS])
    families += await _metrics(app[STORE], app[CACHE], now=app[CLOCK]())
    registry = CollectorRegistry()
    registry.register(_Fixed(families))
    return web.Response(
        body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
    )


class _Fixed(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        """Return the metrics that were read for this request."""
        return self._metrics


def _connections(connections: Connections, streams: AddressLimit) -> list[Metric]:
    """The connections of this server: those that are open, and those that it refused."""
    refused = CounterMetricFamily(
        "dateline_connections_refused", "Connections refused or cut off.", labels=["reason"]
    )
    for reason in Refused:
        refused.add_metric([reason], connections.refused[reason])
    refused_streams = CounterMetricFamily(
        "dateline_event_streams_refused", "Readers of /events refused.", labels=["reason"]
    )
    for full in Full:
        refused_streams.add_metric([full.name.lower()], streams.refused[full])
    return [
        GaugeMetricFamily("dateline_connections", "Open connections.", len(connections)),
        GaugeMetricFamily(
            "dateline_connections_limit", "Most connections at a time.", connections.total
        ),
        refused,
        GaugeMetricFamily("dateline_event_streams", "Readers of /events.", streams.count),
        refused_streams,
    ]


def _costly_reads(costly_reads: CostlyReads) -> list[Metric]:
    """The costly reads of this server: those it worked on, and those it refused."""
    return [
        CounterMetricFamily("dateline_costly_reads", "Costly reads worked on.", costly_reads.begun),
        CounterMetricFamily(
            "dateline_costly_reads_refused", "Costly reads over a limit.", costly_reads.refused
        ),
    ]


async def _metrics(store: Store, cache: PageCache, *, now: datetime) -> list[Metric]:
    """All metrics; those of a key that is at fault are missing, and the fault is reported."""
    families: list[Metric] = [
        CounterMetricFamily("dateline_hot", "Requests answered by one look-up.", cache.hits),
        CounterMetricFamily("dateline_loads", "Pages loaded or confirmed.", cache.misses),
        CounterMetricFamily("dateline_stale", "Old pages served: Redis was away.", cache.stale),
    ]
    for name, read in (
        ("articles", lambda: _of_articles(store)),
        ("faults", lambda: _of_faults(store, now)),
        ("sources", lambda: _of_sources(store)),
        ("streams", lambda: _of_streams(store)),
        ("counters", lambda: _of_workers(store)),
    ):
        families += await store.faults.isolate("loop", f"metrics of {name}", read, now=now) or []
    return families


async def _of_articles(store: Store) -> list[Metric]:
    count = await store.category_index.count("all")
    return [GaugeMetricFamily("dateline_articles", "Live articles.", count)]


async def _of_faults(store: Store, now: datetime) -> list[Metric]:
    dead, faults = await store.dead_events.count(), len(await store.faults.all(now=now))
    listed = "Things that failed in the last day; see `dateline faults`."
    return [
        GaugeMetricFamily("dateline_dead_events", "Events that no try could process.", dead),
        GaugeMetricFamily("dateline_faults", listed, faults),
    ]


async def _of_sources(store: Store) -> list[Metric]:
    count = sum(bool(each.refused) for each in (await store.category_limit.all()).values())
    text = "Sources that may create no more categories."
    return [GaugeMetricFamily("dateline_sources_at_category_limit", text, count)]


async def _of_streams(store: Store) -> list[Metric]:
    lengths = GaugeMetricFamily("dateline_stream_entries", "Events kept.", labels=["shard"])
    for shard in store.event_stream.shards:
        lengths.add_metric([str(shard)], await store.event_stream.length(shard))
    pending = GaugeMetricFamily(
        "dateline_group_pending", "Events read but not acknowledged.", labels=["shard", "group"]
    )
    lag = GaugeMetricFamily("dateline_group_lag", "Events not read yet.", labels=["shard", "group"])
    for backlog in await store.event_stream.backlogs():
        pending.add_metric([str(backlog.shard), backlog.group], backlog.pending)
        if backlog.lag is not None:
            lag.add_metric([str(backlog.shard), backlog.group], backlog.lag)
    return [lengths, pending, lag]


async def _of_workers(store: Store) -> list[Metric]:
    return [
        CounterMetricFamily(f"dateline_{name}", "Counted by the workers.", value)
        for name, value in sorted((await store.counters()).items())
    ]
