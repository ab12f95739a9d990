"""A subscription to our hub at work: confirmed by its callback, sent what its topic is, ended."""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from service.articles.times import to_ms
from service.storage import keys
from service.storage.webhooks import Ack
from service.webhooks import retry
from service.webhooks.retry import Answer, Verdict
from service.websub import hub
from service.websub.hub import DENIED, SUBSCRIBE, SubscriptionRequest, TopicSubscription
from workers.deliver.endpoint import DeliveryContext, Request
from workers.deliver.hub.topics import Topic, Topics
from workers.deliver.send import target
from workers.deliver.slots import Sender

# When a callback cannot be reached to confirm, or says 5xx: it is asked again so often.
CONFIRM_AGAIN_S = (5, 60)


class SubscriptionEndpoint(Sender):
    """One callback and one topic."""

    def __init__(
        self,
        subscriber_id: str,
        kept: TopicSubscription | None,
        asked: SubscriptionRequest | None,
        state: Mapping[str, str],
        topics: Topics,
        means: DeliveryContext,
    ) -> None:
        super().__init__(subscriber_id)
        self.kept = kept
        self.asked = asked
        self._topics = topics
        self._means = means
        known = kept or asked
        assert known, "one of both"  # noqa: S101 -- the caller's promise
        self.topic: Topic = topics.join(known.topic, self)
        self.sent = state.get("sent", "")
        """Tag of what was sent last."""
        self.failures = int(state.get("failures") or 0)
        self.next_ms = int(state.get("next_ms") or 0)
        self.first_failure_ms = int(state.get("first_failure_ms") or 0)
        self.writes = 0
        """How often it was written here: what was read before the last one is old."""
        self._refusals = 0
        self._ask_ms = 0
        """When the callback is to be asked again; contents that fail have a time of their own."""
        self._then: Callable[[], Awaitable[None]] | None = None

    def rest(self) -> None:
        """Its topic wakes it, which does no harm."""

    def note(self, kept: TopicSubscription | None, asked: SubscriptionRequest | None) -> None:
        """What is kept of it, and asked of it, now."""
        if asked != self.asked:
            self._refusals, self._ask_ms = 0, 0
        self.kept, self.asked = kept, asked

    async def next(self) -> Request | Ack | None:
        """A question, the topic, a denial; nothing if all is said."""
        now_ms = to_ms(self._means.now())
        if self.asked and self._is_denied(self.asked):
            return self._denial(self.asked)
        may_ask = self.topic.etag or self.topic.is_gone
        if self.asked and may_ask and self._ask_ms <= now_ms:
            return self._question(self.asked)
        if self.kept and self.kept.expires_ms <= now_ms:
            await self._end(self.kept)
            if self.is_gone:
                return None
        request = await self._news(self.kept, now_ms) if self.kept else None
        if request is None:
            waits = [self._ask_ms if self.asked else 0, self.next_ms if self.kept else 0]
            due_ms = min((ms for ms in waits if ms > now_ms), default=0)
            if due_ms:
                self._means.dispatcher.later(self, (due_ms - now_ms) / 1000)
        return request

    async def _news(self, kept: TopicSubscription, now_ms: int) -> Request | None:
        """What it has not got, unless that failed and waits."""
        if self.next_ms > now_ms:
            return None
        if self.topic.is_gone:
            return self._denial(kept.denied)
        if not self.topic.etag or self.topic.etag == self.sent:
            return None
        return await self._content(kept)

    # Confirming (5.3).

    def _question(self, asked: SubscriptionRequest) -> Request:
        challenge = secrets.token_urlsafe(32)
        judged = partial(self._confirmed, asked, challenge, self.topic.etag)
        return Request(target(asked.verification_url(challenge)), {}, None, judged, 0)

    def _confirmed(
        self, asked: SubscriptionRequest, challenge: str, etag: str, answer: Answer
    ) -> Ack:
        store, now = self._means.store.hub_subscriptions, self._means.now()
        if answer.verdict is Verdict.DELIVERED and answer.text == challenge:
            if asked.mode == SUBSCRIBE:
                kept = asked.confirmed(to_ms(now))
                # Who renews is owed what was not sent yet.
                sent = self.sent if self.kept else etag
                self._then = partial(self._begin, asked, kept, sent)
            else:
                self._then = partial(self._end, self.kept or asked.confirmed(0), asked)
        elif answer.status in (0, *range(500, 600)) and self._refusals < len(CONFIRM_AGAIN_S):
            self._ask_ms = to_ms(now) + int(CONFIRM_AGAIN_S[self._refusals] * 1000)
            self._refusals += 1
        else:
            self._then = partial(self._refused, asked, store.fail(asked))
        return Ack(
            registry=keys.HUB_ASKED, endpoint_id=self.id,
            attempt=_attempt(asked.mode, challenge, answer, self._refusals),
        )  # fmt: skip

    async def _begin(self, asked: SubscriptionRequest, kept: TopicSubscription, sent: str) -> None:
        await self._means.store.hub_subscriptions.confirm(asked, kept, sent=sent)
        self.writes += 1
        self.kept, self.sent = kept, sent
        self.failures = self.next_ms = self.first_failure_ms = 0
        self._settled(asked)

    async def _refused(self, asked: SubscriptionRequest, failed: Awaitable[None]) -> None:
        await failed
        self.writes += 1
        self._settled(asked)
        if self.kept is None:
            self._leave()

    def _settled(self, asked: SubscriptionRequest) -> None:
        if self.asked == asked:
            self.asked = None

    # What its topic is (7), and that there is nothing more.

    async def _content(self, kept: TopicSubscription) -> Request:
        content = await self._topics.content(self.topic)
        headers = kept.headers(
            content.body, content_type=content.content_type,
            hub_url=hub.hub_url(self._means.settings),
        )  # fmt: skip
        judged = partial(self._judged, kept, content.etag)
        return Request(target(kept.callback), headers, content.body, judged, 1)

    def _judged(self, kept: TopicSubscription, etag: str, answer: Answer) -> Ack:
        attempt = _attempt("content", etag, answer, self.failures)
        fields: dict[str, str | int] = {
            "sent": etag, "failures": 0, "next_ms": 0, "first_failure_ms": 0
        }  # fmt: skip
        if answer.verdict is Verdict.GONE:
            self._then = partial(self._end, kept)
        elif answer.verdict is Verdict.RETRY:
            now = self._means.now()
            failures = self.failures + 1
            delay_s = retry.retry_delay_s(
                failures, schedule_s=self._means.settings.webhook_retry_schedule_s,
                retry_after=answer.retry_after, now=now,
                chance=random.random(),  # noqa: S311 -- jitter
            )  # fmt: skip
            fields = {
                "failures": failures,
                "next_ms": to_ms(now) + int(delay_s * 1000),
                "first_failure_ms": self.first_failure_ms or to_ms(now),
            }
        return Ack(registry=keys.SUBSCRIBERS, endpoint_id=self.id, fields=fields, attempt=attempt)

    def _is_denied(self, asked: SubscriptionRequest) -> bool:
        return asked.mode == DENIED or (asked.mode == SUBSCRIBE and self.topic.is_gone)

    def _denial(self, asked: SubscriptionRequest) -> Request:
        """It is told once, and ended whatever it says."""
        # What is asked meanwhile is another matter.
        ended, order = self.kept or asked.confirmed(0), self.asked

        def judged(answer: Answer) -> Ack:
            self._then = partial(self._end, ended, order)
            registry = keys.SUBSCRIBERS if self.kept else keys.HUB_ASKED
            attempt = _attempt(DENIED, asked.topic, answer, 0)
            return Ack(registry=registry, endpoint_id=self.id, attempt=attempt)

        reason = "the topic is gone" if self.topic.is_gone else "the operator has ended it"
        return Request(target(asked.denial_url(reason)), {}, None, judged, 0)

    async def _end(self, kept: TopicSubscription, asked: SubscriptionRequest | None = None) -> None:
        await self._means.store.hub_subscriptions.end(kept, asked)
        self.writes += 1
        self.kept = None
        if asked:
            self._settled(asked)
        if self.asked is None:
            self._leave()

    def _leave(self) -> None:
        self._means.dispatcher.drop(self)
        self._topics.leave(self.topic, self)

    async def take(self, ack: Ack) -> None:
        """Be as an ack has it, and do what follows from the answer."""
        self.sent = str(ack.fields.get("sent", self.sent))
        for name in ("failures", "next_ms", "first_failure_ms"):
            if name in ack.fields:
                setattr(self, name, int(ack.fields[name]))
        then, self._then = self._then, None
        if then:
            await then()


def _attempt(what: str, message_id: str, answer: Answer, failures: int) -> dict[str, str | int]:
    return {
        "message_id": message_id, "type": f"websub.{what}", "events": 0, "attempt": failures + 1,
        "status": answer.status, "error": answer.error, "duration_ms": answer.duration_ms,
        "answer": answer.text,
    }  # fmt: skip
