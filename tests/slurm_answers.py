"""Answers of a real Slurm 22.05, recorded: six nodes, six partitions, three users."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent / "answers" / "slurm-22.05"

NODES = (_FOLDER / "nodes.txt").read_text()
"""``sinfo``: one job on each of gpu1 (a GPU) and mix2 (shards), three that share CPUs of cpu2."""

PARTITIONS = (_FOLDER / "partitions.txt").read_text()
RESERVATIONS = (_FOLDER / "reservations.txt").read_text()
ASSOCIATIONS = (_FOLDER / "associations.txt").read_text()
QOS = (_FOLDER / "qos.txt").read_text()
USERS = (_FOLDER / "users.txt").read_text()
