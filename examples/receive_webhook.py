"""Receive dateline's webhooks, with the standard library alone.

    python examples/receive_webhook.py --port 9000 --secret whsec_…

Verifies Standard Webhooks signatures, refuses old timestamps, tells repeats apart by `webhook-id`,
and answers 2xx only once the message is dealt with.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

# A captured message is worthless after five minutes.
TOLERANCE_S = 300
MAX_BYTES = 20_000_000


def is_genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Whether one of the signatures is that of this secret over this very message."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    given = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(expected, signature) for signature in given)


class Receiver(BaseHTTPRequestHandler):
    """One request each."""

    secret = ""
    seen: set[str] = set()  # noqa: RUF012 -- of the process; keep it where the effect is kept

    def do_POST(self) -> None:
        """Answer 204 for a genuine message, 401 for any other."""
        length = min(int(self.headers.get("Content-Length", 0)), MAX_BYTES)
        body = self.rfile.read(length)
        headers = {name.lower(): value for name, value in self.headers.items()}
        genuine = is_genuine(self.secret, headers, body)
        if genuine and headers["webhook-id"] not in self.seen:
            self.seen.add(headers["webhook-id"])
            message = json.loads(body)
            # A batch lists in `data` what else comes one by one.
            for event in message["data"] if isinstance(message["data"], list) else [message]:
                print(f"{event['type']}\t{event['data'].get('title', '')}", flush=True)
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing but what came."""


def main() -> None:
    """Parse arguments and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--secret", required=True)
    options = parser.parse_args()
    Receiver.secret = options.secret
    HTTPServer(("127.0.0.1", options.port), Receiver).serve_forever()


if __name__ == "__main__":
    main()
