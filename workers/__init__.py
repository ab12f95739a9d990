"""What happens: the loops that take in, aggregate and deliver."""
