"""Deliver: events → webhooks and hub subscriptions, in order for each endpoint, at least once.

endpoint     shared by the others: the Endpoint protocol, requests, partitions; imports none
slots        which endpoints may send now; those whose last request failed have a separate pool, and
             so have callbacks that have not confirmed
send         one request and its answer
ack_writer   acks that ended at about the same time, written together under their leases
dispatcher   one endpoint from being woken to its ack: send → judge → write
webhooks/    events in order to each webhook
hub/         topics of our hub to its subscriptions within limits, and pings to other hubs
worker       shares the partitions out among workers, and runs all of this
"""
