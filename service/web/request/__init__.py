"""What every handler needs: application keys, authorization, bodies, error responses."""
