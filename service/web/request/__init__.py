"""What every handler needs: application keys, authorization, bodies, errors as answers."""
