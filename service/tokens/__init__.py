"""API tokens: who may do what, and where. Pure."""
