"""Deliver: events → webhooks, in order for each, at least once.

deliverer    shares the endpoints out among workers, and moves all of this
dispatch     an endpoint from being woken to its ack
lanes        who may send now: a place for each request, and others for those that fail
sending      one request, and what came back
acks         what came of it, written together under the leases
hooks        all webhooks and the events; following: the newest of them, and who wants which
hook         one webhook: where it stands (line), what is next, what an answer means (judging)
"""
