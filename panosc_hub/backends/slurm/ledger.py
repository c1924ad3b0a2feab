"""What is known of each job and each cancellation, and how one look changes a belief."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ...core.jobstate import JobState, Sighting, absent
from . import words
from .parse import JobRow, parse_span


@dataclass(slots=True)
class Watched:
    """One job; until sbatch told the id, ``job_id`` is empty and the name stands for it."""

    name: str
    job_id: str = ""
    sighting: Sighting = words.UNSEEN
    starting: bool = False
    misses: int = 0
    preempted: int = 0
    since: float = field(default_factory=time.monotonic)
    place: str = ""
    """``node:port`` where its server listens, once known: no other job may say the same."""

    ends: float | None = None
    """When its wall time ends, seconds since the epoch; None where there is no end, or no news."""

    @property
    def gone(self) -> bool:
        """Whether there is evidence that it ended."""
        return self.sighting.state is JobState.GONE

    @property
    def busy(self) -> bool:
        """Whether a change is to be expected soon."""
        return self.starting or bool(self.misses) or self.sighting.state is JobState.PENDING

    def listed(self, row: JobRow) -> None:
        """A look showed it."""
        self.job_id, self.misses = row.job_id, 0
        self.preempted = self.preempted + 1 if row.state == "PREEMPTED" else 0
        self.sighting = words.sighting(row)
        left = parse_span(row.left) if row.state == "RUNNING" else None
        self.ends = None if left is None else time.time() + left
        if self.preempted >= 2:  # a requeue would have shown by now
            self.sighting = Sighting(JobState.GONE, row.host, row.state, words.ended("PREEMPTED"))

    def unlisted(self, grace: float) -> None:
        """A full look did not show it; one known only by its name has ``grace`` seconds."""
        self.misses += 1
        if not self.job_id and time.monotonic() - self.since < grace:
            self.sighting = words.MISSING
        elif not self.gone:
            belief = absent(self.sighting.state, self.misses)
            self.sighting = words.VANISHED if belief is JobState.GONE else words.MISSING


@dataclass(slots=True)
class Owed:
    """A cancellation that Slurm has not taken yet; without an id, the name must do."""

    name: str
    job_id: str
    username: str
    since: float = field(default_factory=time.monotonic)
