"""Measurements: both sides in one run, as ratios; what each was made with is printed with it."""
