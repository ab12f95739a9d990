"""Deliver: events → webhooks, in order for each, at least once.

following    the newest events in memory, read once for all endpoints, and who wants which
endpoint     one endpoint: where it stands, what is next, what an answer means for it
lanes        who may send now: a place for each request, and others for those that fail
acks         what came of it, written together under the lease
sending      one signed request
deliverer    shares the endpoints out among workers, and moves all of this
"""
