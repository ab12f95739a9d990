"""A subscription to our hub: confirmed by its callback, sent the content of its topic, ended."""

from __future__ import annotations

import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from service.articles.times import to_ms
from service.storage import keys
from service.storage.webhooks import Ack
from service.webhooks.retry import Answer, Verdict
from service.websub import hub
from service.websub.hub import DENIED, SUBSCRIBE, SubscriptionRequest, TopicSubscription
from workers.deliver.endpoint import DeliveryContext, Request, Turn
from workers.deliver.hub import outcome
from workers.deliver.hub.limits import HubLimits
from workers.deliver.hub.outcome import PushState
from workers.deliver.hub.topics import Topic, Topics
from workers.deliver.send import target

# Delays after which a callback that cannot be reached, or answers 5xx, is asked again to confirm.
CONFIRM_AGAIN_S = (5, 60)


class SubscriptionEndpoint:
    """One callback and one topic: `Endpoint` for the dispatcher."""

    def __init__(
        self,
        subscription_id: str,
        subscription: TopicSubscription | None,
        request: SubscriptionRequest | None,
        stored: Mapping[str, str],
        topics: Topics,
        limits: HubLimits,
        context: DeliveryContext,
    ) -> None:
        self.id = subscription_id
        self.turn = Turn()
        self.subscription = subscription
        """The subscription that its callback confirmed; None before that."""
        self.request = request
        """What its callback is to confirm, or to be notified of; None if nothing is."""
        self._topics = topics
        self._limits = limits
        self._networks: Sequence[str] = ()
        """Where its callback was when it was asked last."""
        self._context = context
        known = subscription or request
        assert known, "one of both"  # noqa: S101 -- the caller's promise
        self.topic: Topic = topics.join(known.topic, self.wake)
        self.state = PushState.of(stored)
        self.writes = 0
        """Number of writes of this worker: what was read before the last one is outdated."""
        self._refusals = 0
        self._ask_ms = 0
        """When the callback is asked again; failed pushes have a separate time."""
        self._denial_reason = "the operator has ended it"
        self._after_ack: Callable[[], Awaitable[None]] | None = None
        """What follows from the answer, once the ack is written."""

    @property
    def is_suspect(self) -> bool:
        """Whether its last push failed."""
        return self.state.first_failure_ms != 0

    @property
    def is_confirmed(self) -> bool:
        """Whether its callback wants to be sent to."""
        return self.subscription is not None

    def wake(self) -> None:
        """Have the dispatcher look for something to send."""
        self._context.scheduler.wake(self)

    def stop_waiting(self) -> None:
        """Do nothing: its topic may wake it at any time, which is harmless."""

    def note(
        self, subscription: TopicSubscription | None, request: SubscriptionRequest | None
    ) -> None:
        """Take over what is stored now; a new request is asked at once."""
        if request != self.request:
            self._refusals, self._ask_ms = 0, 0
        self.subscription, self.request = subscription, request

    async def next(self) -> Request | Ack | None:
        """Return the next verification, push or denial; None if nothing is due."""
        now_ms = to_ms(self._context.now())
        if self.request and self._is_denied(self.request):
            return self._denial(self.request)
        may_ask = self.topic.etag or self.topic.is_gone
        if self.request and may_ask and self._ask_ms <= now_ms:
            self._networks = await self._limits.networks_of(self.request.callback)
            if not self._networks:
                return self._unreachable(self.request)
            wait_s = await self._limits.verification_wait_s(self._networks)
            if not wait_s:
                return self._verification(self.request)
            self._ask_ms = now_ms + int(wait_s * 1000)
        if self.subscription and self.subscription.expires_ms <= now_ms:
            await self._end(self.subscription)
            if self.turn.is_gone:
                return None
        push = await self._push(self.subscription, now_ms) if self.subscription else None
        if push is None:
            waits = [
                self._ask_ms if self.request else 0,
                self.state.next_ms if self.subscription else 0,
            ]
            due_ms = min((ms for ms in waits if ms > now_ms), default=0)
            if due_ms:
                self._context.scheduler.later(self, (due_ms - now_ms) / 1000)
        return push

    async def apply_ack(self, ack: Ack) -> None:
        """Apply a written ack, then do what follows from the answer."""
        self.state = self.state.after(ack)
        follow_up, self._after_ack = self._after_ack, None
        if follow_up:
            await follow_up()

    async def _push(self, subscription: TopicSubscription, now_ms: int) -> Request | None:
        """Return the push of content that its callback does not have, or the denial of a topic that
        is gone; None if there is neither, or while a failed push waits."""
        if self.state.next_ms > now_ms:
            return None
        if self.topic.is_gone:
            return self._denial(subscription.denied)
        if not self.topic.etag or self.topic.etag == self.state.sent:
            return None
        return await self._content(subscription)

    # Verification (5.3).

    def _verification(self, request: SubscriptionRequest) -> Request:
        challenge = secrets.token_urlsafe(32)
        judge = partial(self._judge_verification, request, challenge, self.topic.etag)
        return Request(target(request.verification_url(challenge)), {}, None, judge, 0)

    def _unreachable(self, request: SubscriptionRequest) -> Ack:
        """Judge a callback whose host is not found as one that does not answer."""
        answer = Answer(status=0, error="the host cannot be resolved")
        return self._judge_verification(request, "", self.topic.etag, answer)

    def _judge_verification(
        self, request: SubscriptionRequest, challenge: str, etag: str, answer: Answer
    ) -> Ack:
        now_ms = to_ms(self._context.now())
        is_confirmed = answer.verdict is Verdict.DELIVERED and answer.text == challenge
        is_away = answer.status in (0, *range(500, 600))
        if is_confirmed and request.mode == SUBSCRIBE:
            # After a renewal, content that was not sent yet is still due.
            sent = self.state.sent if self.subscription else etag
            subscription = request.confirmed(now_ms, networks=self._networks)
            self._after_ack = partial(self._begin, request, subscription, sent)
        elif is_confirmed:
            ended = self.subscription or request.confirmed(0)
            self._after_ack = partial(self._end, ended, request)
        elif is_away and self._refusals < len(CONFIRM_AGAIN_S):
            self._ask_ms = now_ms + int(CONFIRM_AGAIN_S[self._refusals] * 1000)
            self._refusals += 1
        else:
            self._after_ack = partial(self._refuse, request)
        number = self._refusals + 1
        return Ack(
            registry=keys.HUB_ASKED, endpoint_id=self.id,
            attempt=outcome.attempt(request.mode, challenge, answer, number=number),
        )  # fmt: skip

    async def _begin(
        self, request: SubscriptionRequest, subscription: TopicSubscription, sent: str
    ) -> None:
        is_confirmed = await self._context.store.hub_subscriptions.confirm(
            request, subscription, before=self.subscription, sent=sent,
            settings=self._context.settings,
        )  # fmt: skip
        self.writes += 1
        if not is_confirmed:
            self._denial_reason = "this hub has no room for more subscriptions"
            if self.request == request:
                self.request = subscription.denied
            return
        self.subscription, self.state = subscription, PushState(sent=sent)
        self._forget(request)

    async def _refuse(self, request: SubscriptionRequest) -> None:
        await self._context.store.hub_subscriptions.fail(request)
        self.writes += 1
        self._forget(request)
        if self.subscription is None:
            self._leave()

    def _forget(self, request: SubscriptionRequest) -> None:
        if self.request == request:
            self.request = None

    # Pushes (7), and denials (5.2).

    async def _content(self, subscription: TopicSubscription) -> Request:
        content = await self._topics.content(self.topic)
        if not await self._limits.may_push_whole(len(content.body)):
            content = await self._topics.newest(self.topic, content, since=self.state.sent)
        headers = subscription.headers(
            content.body, content_type=content.content_type,
            hub_url=hub.hub_url(self._context.settings),
        )  # fmt: skip
        judge = partial(self._judge_push, subscription, content.etag)
        return Request(target(subscription.callback), headers, content.body, judge, 1)

    def _judge_push(self, subscription: TopicSubscription, etag: str, answer: Answer) -> Ack:
        if answer.verdict is Verdict.GONE:
            self._after_ack = partial(self._end, subscription)
        return outcome.judge(
            self.id, self.state, etag, answer,
            schedule_s=self._context.settings.webhook_retry_schedule_s, now=self._context.now(),
            chance=random.random(),  # noqa: S311 -- jitter
        )  # fmt: skip

    def _is_denied(self, request: SubscriptionRequest) -> bool:
        return request.mode == DENIED or (request.mode == SUBSCRIBE and self.topic.is_gone)

    def _denial(self, denied: SubscriptionRequest) -> Request:
        """Notify the callback once, and end the subscription whatever it answers."""
        # A request that arrives meanwhile is not ended by this denial.
        ended, request = self.subscription or denied.confirmed(0), self.request

        def judge(answer: Answer) -> Ack:
            self._after_ack = partial(self._end, ended, request)
            registry = keys.SUBSCRIBERS if self.subscription else keys.HUB_ASKED
            attempt = outcome.attempt(DENIED, denied.topic, answer, number=1)
            return Ack(registry=registry, endpoint_id=self.id, attempt=attempt)

        reason = "the topic is gone" if self.topic.is_gone else self._denial_reason
        return Request(target(denied.denial_url(reason)), {}, None, judge, 0)

    async def _end(
        self, subscription: TopicSubscription, request: SubscriptionRequest | None = None
    ) -> None:
        await self._context.store.hub_subscriptions.end(subscription, request)
        self.writes += 1
        self.subscription = None
        if request:
            self._forget(request)
        if self.request is None:
            self._leave()

    def _leave(self) -> None:
        self._context.scheduler.drop(self)
        self._topics.leave(self.topic, self.wake)
