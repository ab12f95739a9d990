"""Routes: every path that this server answers, and the scope that it needs (see `request.auth`).

A route without one is public; tests/web/test_auth.py lists those that are.
"""

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
    tokens,
    views,
    webhooks,
    websub_callback,
)
from service.web.request.auth import needs_admin, needs_publish, needs_read

ROUTES = (
    web.get("/feeds/{path:.+}", feeds.show_feed, name="feed"),
    web.options("/feeds/{path:.+}", feeds.show_options, name="feed-options"),
    web.get("/feeds.opml", feeds.show_opml, name="opml"),
    web.get("/sitemap.xml", sitemaps.show_index, name="sitemap"),
    web.get("/sitemaps/{name}", sitemaps.show_part, name="sitemap-part"),
    web.get("/news-sitemap.xml", sitemaps.show_news, name="news-sitemap"),
    web.get("/robots.txt", sitemaps.show_robots, name="robots"),
    web.get("/", pages.show_home, name="home"),
    web.get("/categories", pages.show_categories, name="categories"),
    web.get("/news/{path:.+}", pages.show_news, name="news"),
    web.get("/articles/{name}", articles.show_article, name="article"),
    web.post("/api/v1/articles", needs_publish(articles.publish), name="api-publish"),
    web.get("/api/v1/articles", articles.list_articles, name="api-articles"),
    web.get("/api/v1/articles/{id}", articles.show_one, name="api-article"),
    web.delete("/api/v1/articles/{id}", needs_publish(articles.withdraw), name="api-withdraw"),
    web.post("/api/v1/webhooks", needs_admin(webhooks.add_webhook), name="api-add-webhook"),
    web.get("/api/v1/webhooks", needs_read(webhooks.list_webhooks), name="api-webhooks"),
    web.get("/api/v1/webhooks/{id}", needs_read(webhooks.show_webhook), name="api-webhook"),
    web.patch(
        "/api/v1/webhooks/{id}", needs_admin(webhooks.change_webhook), name="api-set-webhook"
    ),
    web.delete("/api/v1/webhooks/{id}", needs_admin(webhooks.remove_webhook), name="api-unhook"),
    web.get(
        "/api/v1/webhooks/{id}/deliveries",
        needs_read(webhooks.list_deliveries),
        name="api-deliveries",
    ),
    web.get(
        "/api/v1/webhooks/{id}/dead-letters",
        needs_read(webhooks.list_dead_letters),
        name="api-dead-letters",
    ),
    web.post("/api/v1/webhooks/{id}/test", needs_admin(webhooks.test_webhook), name="api-test"),
    web.post(
        "/api/v1/webhooks/{id}/resume", needs_admin(webhooks.resume_webhook), name="api-resume"
    ),
    web.post(
        "/api/v1/webhooks/{id}/replay", needs_admin(webhooks.replay_webhook), name="api-replay"
    ),
    web.post(
        "/api/v1/webhooks/{id}/rotate", needs_admin(webhooks.rotate_webhook), name="api-rotate"
    ),
    web.get("/webhooks", needs_read(webhooks.show_page, scheme="Basic"), name="webhooks"),
    web.get("/webhooks/{id}", needs_read(webhooks.show_one, scheme="Basic"), name="webhook"),
    web.get("/api/v1/operations", needs_read(webhooks.list_operations), name="api-operations"),
    web.post("/api/v1/sources", needs_admin(sources.add_source), name="api-add-source"),
    web.post(
        "/api/v1/sources/preview", needs_admin(sources.preview_source), name="api-preview-source"
    ),
    web.get("/api/v1/sources", needs_read(sources.list_sources), name="api-sources"),
    web.get("/api/v1/sources.opml", needs_read(sources.export_sources), name="api-sources-opml"),
    web.get("/api/v1/sources/{id}", needs_read(sources.show_source), name="api-source"),
    web.patch("/api/v1/sources/{id}", needs_admin(sources.change_source), name="api-set-source"),
    web.post(
        "/api/v1/sources/{id}/refresh", needs_admin(sources.refresh_source), name="api-refresh"
    ),
    web.delete("/api/v1/sources/{id}", needs_admin(sources.remove_source), name="api-unsource"),
    web.post("/api/v1/views", needs_admin(views.add_view), name="api-add-view"),
    web.get("/api/v1/views", needs_read(views.list_views), name="api-views"),
    web.get("/api/v1/views/{name}", needs_read(views.show_view), name="api-view"),
    web.put("/api/v1/views/{name}", needs_admin(views.put_view), name="api-put-view"),
    web.delete("/api/v1/views/{name}", needs_admin(views.remove_view), name="api-unview"),
    web.post(
        "/api/v1/private-feeds", needs_admin(private_feeds.add_private), name="api-add-private"
    ),
    web.get(
        "/api/v1/private-feeds", needs_read(private_feeds.list_private), name="api-private-feeds"
    ),
    web.delete(
        "/api/v1/private-feeds/{id}", needs_admin(private_feeds.revoke_private), name="api-revoke"
    ),
    web.post("/api/v1/tokens", needs_admin(tokens.add_token), name="api-add-token"),
    web.get("/api/v1/tokens", needs_admin(tokens.list_tokens), name="api-tokens"),
    web.delete("/api/v1/tokens/{id}", needs_admin(tokens.revoke_token), name="api-untoken"),
    web.get("/private/{name}", feeds.show_private, name="private"),
    web.post("/hub", hub.take, name="hub"),
    web.get("/api/v1/subscribers", needs_read(hub.list_subscribers), name="api-subscribers"),
    web.delete(
        "/api/v1/subscribers/{id}", needs_admin(hub.remove_subscriber), name="api-unsubscribe"
    ),
    web.get("/websub/{id}", websub_callback.verify, name="websub-verify", allow_head=False),
    web.post("/websub/{id}", websub_callback.deliver, name="websub-deliver"),
    web.get("/events", events.show_events, name="events"),
    web.get("/livez", health.livez, name="livez"),
    web.get("/readyz", health.readyz, name="readyz"),
    web.get("/metrics", health.metrics, name="metrics"),
    web.get("/static/{name}", static.static, name="static"),
)
