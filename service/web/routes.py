"""Routes: every path that this server answers, and who may call it."""

from __future__ import annotations

from aiohttp import web

from service.web.handlers import (
    articles,
    events,
    feeds,
    health,
    hub,
    pages,
    private_feeds,
    sitemaps,
    sources,
    static,
    views,
    webhooks,
    websub_callback,
)
from service.web.request.auth import authorized

ROUTES = (
    web.get("/feeds/{path:.+}", feeds.show_feed, name="feed"),
    web.options("/feeds/{path:.+}", feeds.show_options, name="feed-options"),
    web.get("/feeds.opml", feeds.show_opml, name="opml"),
    web.get("/sitemap.xml", sitemaps.show_index, name="sitemap"),
    web.get("/sitemaps/{name}", sitemaps.show_part, name="sitemap-part"),
    web.get("/news-sitemap.xml", sitemaps.show_news, name="news-sitemap"),
    web.get("/robots.txt", sitemaps.show_robots, name="robots"),
    web.get("/", pages.show_home, name="home"),
    web.get("/news/{path:.+}", pages.show_news, name="news"),
    web.get("/articles/{name}", articles.show_article, name="article"),
    web.post("/api/v1/articles", authorized(articles.publish), name="api-publish"),
    web.get("/api/v1/articles", articles.list_articles, name="api-articles"),
    web.get("/api/v1/articles/{id}", articles.show_one, name="api-article"),
    web.delete("/api/v1/articles/{id}", authorized(articles.withdraw), name="api-withdraw"),
    web.post("/api/v1/webhooks", authorized(webhooks.add_webhook), name="api-add-webhook"),
    web.get("/api/v1/webhooks", authorized(webhooks.list_webhooks), name="api-webhooks"),
    web.get("/api/v1/webhooks/{id}", authorized(webhooks.show_webhook), name="api-webhook"),
    web.patch("/api/v1/webhooks/{id}", authorized(webhooks.change_webhook), name="api-set-webhook"),
    web.delete("/api/v1/webhooks/{id}", authorized(webhooks.remove_webhook), name="api-unhook"),
    web.get(
        "/api/v1/webhooks/{id}/deliveries",
        authorized(webhooks.list_deliveries),
        name="api-deliveries",
    ),
    web.get(
        "/api/v1/webhooks/{id}/dead-letters",
        authorized(webhooks.list_dead_letters),
        name="api-dead-letters",
    ),
    web.post("/api/v1/webhooks/{id}/test", authorized(webhooks.test_webhook), name="api-test"),
    web.post(
        "/api/v1/webhooks/{id}/resume", authorized(webhooks.resume_webhook), name="api-resume"
    ),
    web.post(
        "/api/v1/webhooks/{id}/replay", authorized(webhooks.replay_webhook), name="api-replay"
    ),
    web.post(
        "/api/v1/webhooks/{id}/rotate", authorized(webhooks.rotate_webhook), name="api-rotate"
    ),
    web.get("/webhooks", authorized(webhooks.show_page, scheme="Basic"), name="webhooks"),
    web.get("/webhooks/{id}", authorized(webhooks.show_one, scheme="Basic"), name="webhook"),
    web.get("/api/v1/operations", authorized(webhooks.list_operations), name="api-operations"),
    web.post("/api/v1/sources", authorized(sources.add_source), name="api-add-source"),
    web.get("/api/v1/sources", authorized(sources.list_sources), name="api-sources"),
    web.get("/api/v1/sources.opml", authorized(sources.export_sources), name="api-sources-opml"),
    web.get("/api/v1/sources/{id}", authorized(sources.show_source), name="api-source"),
    web.patch("/api/v1/sources/{id}", authorized(sources.change_source), name="api-set-source"),
    web.post(
        "/api/v1/sources/{id}/refresh", authorized(sources.refresh_source), name="api-refresh"
    ),
    web.delete("/api/v1/sources/{id}", authorized(sources.remove_source), name="api-unsource"),
    web.post("/api/v1/views", authorized(views.add_view), name="api-add-view"),
    web.get("/api/v1/views", authorized(views.list_views), name="api-views"),
    web.get("/api/v1/views/{name}", authorized(views.show_view), name="api-view"),
    web.put("/api/v1/views/{name}", authorized(views.put_view), name="api-put-view"),
    web.delete("/api/v1/views/{name}", authorized(views.remove_view), name="api-unview"),
    web.post(
        "/api/v1/private-feeds", authorized(private_feeds.add_private), name="api-add-private"
    ),
    web.get(
        "/api/v1/private-feeds", authorized(private_feeds.list_private), name="api-private-feeds"
    ),
    web.delete(
        "/api/v1/private-feeds/{id}", authorized(private_feeds.revoke_private), name="api-revoke"
    ),
    web.get("/private/{name}", feeds.show_private, name="private"),
    web.post("/hub", hub.take, name="hub"),
    web.get("/api/v1/subscribers", authorized(hub.list_subscribers), name="api-subscribers"),
    web.delete(
        "/api/v1/subscribers/{id}", authorized(hub.remove_subscriber), name="api-unsubscribe"
    ),
    web.get("/websub/{id}", websub_callback.verify, name="websub-verify", allow_head=False),
    web.post("/websub/{id}", websub_callback.deliver, name="websub-deliver"),
    web.get("/events", events.show_events, name="events"),
    web.get("/livez", health.livez, name="livez"),
    web.get("/readyz", health.readyz, name="readyz"),
    web.get("/metrics", health.metrics, name="metrics"),
    web.get("/static/{name}", static.static, name="static"),
)
