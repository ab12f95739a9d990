"""Headers that several kinds of answers have: caching, scripts of other sites, what browsers do."""

from __future__ import annotations

from service.web.serving.response import CONTENT_SECURITY_POLICY

# Feed readers use max-age as their poll interval; proxies serve the old page while they fetch the
# new one.
LIVE_MAX_AGE_S = 60
BRIEFLY = f"public, max-age={LIVE_MAX_AGE_S}"
CLOSED_MAX_AGE_S = 86_400
STALE_S = 86_400
SITEMAP_MAX_AGE_S = 3_600
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag, Last-Modified, Link, IM, Delta-Base",
}
HTML_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
}
