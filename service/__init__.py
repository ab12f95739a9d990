"""dateline: what things are, and the HTTP side. The loops that make things happen are `workers`."""
