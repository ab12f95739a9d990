"""WebSub (W3C REC 2018-01-23), both sides: as a hub and as a subscriber. Pure."""
