"""Measured-like data of the example facility, made from Python packages alone."""
