"""Coordinates, bands, patches, imagery sources and atlas layers. Nothing here imports torch."""
