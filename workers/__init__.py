"""Workers: the loops that ingest, aggregate and deliver."""
