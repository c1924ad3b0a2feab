"""The SLURM backend: sessions are batch jobs."""

from __future__ import annotations

from .spawner import SlurmBackend

__all__ = ["SlurmBackend"]
