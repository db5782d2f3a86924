"""Encoders, training, checkpoints and evaluation."""
