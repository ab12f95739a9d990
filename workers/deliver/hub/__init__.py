"""The hub's side of delivery: subscriptions to our feeds, their topics, and pings to other hubs."""
