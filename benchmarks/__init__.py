"""Measurements: ratios taken in one run against a named peer or a physical floor, and peak memory."""
