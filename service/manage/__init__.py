"""Management operations that API and CLI share: check input, change the store, show its state."""
