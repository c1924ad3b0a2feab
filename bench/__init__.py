"""Benchmarks against the nearest peers: ``python -m bench``; see ``bench/README.md``."""
