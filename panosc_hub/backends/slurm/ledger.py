"""What is known of each job and each cancellation, and how one look changes a belief."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ...core.jobstate import JobState, Sighting, absent
from . import words
from .parse import JobRow, parse_span
from .pending import parse_time


@dataclass(frozen=True, slots=True)
class Question:
    """What a look asks of one job: by its id or, until there is one, by its unique name.

    ``account``: the user that it was submitted for; ``urgent``: somebody waits for the answer.
    """

    job_id: str
    name: str
    account: str
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended, as Slurm's records have it.

    ``by_owner``: whether its own account cancelled it; None if nobody did, or it is not told.
    """

    state: str
    exit_code: tuple[int, int] | None = None
    by_owner: bool | None = None


@dataclass(slots=True)
class Watched:
    """One job; until sbatch told the id, ``job_id`` is empty and the name stands for it."""

    name: str
    job_id: str = ""
    account: str = ""
    """The user that it was submitted for."""

    sighting: Sighting = words.UNSEEN
    starting: bool = False
    misses: int = 0
    preempted: int = 0
    since: float = field(default_factory=time.monotonic)
    place: str = ""
    """``node:port`` where its server listens, once known: no other job may say the same."""

    ends: float | None = None
    """When its wall time ends, seconds since the epoch; None where there is no end, or no news."""

    starts: float | None = None
    """When Slurm expects to start it while it waits; None if it does not say."""

    @property
    def gone(self) -> bool:
        """Whether there is evidence that it ended."""
        return self.sighting.state is JobState.GONE

    @property
    def busy(self) -> bool:
        """Whether a change is to be expected soon."""
        return self.starting or bool(self.misses) or self.sighting.state is JobState.PENDING

    @property
    def question(self) -> Question:
        """What is asked of it now."""
        return Question(self.job_id, self.name, self.account, self.busy)

    def listed(self, row: JobRow, ending: Ending | None = None) -> None:
        """A look showed it; ``ending`` is what Slurm's records add to that."""
        if self.job_id != row.job_id:
            self.job_id = row.job_id
        self.misses = 0
        self.preempted = self.preempted + 1 if row.state == "PREEMPTED" else 0
        self.sighting = words.sighting(row)
        left = parse_span(row.left) if row.state == "RUNNING" else None
        self.ends = None if left is None else time.time() + left
        self.starts = parse_time(row.start) if row.state == "PENDING" else None
        if self.preempted >= 2:  # a requeue would have shown by now
            self.sighting = Sighting(JobState.GONE, row.host, row.state, words.ended("PREEMPTED"))
        if ending is not None and self.gone:
            self._ended(ending)

    def unlisted(self, grace: float, ending: Ending | None = None) -> None:
        """A full look did not show it; one known only by its name has ``grace`` seconds.

        ``ending``: Slurm's records say that it ended, and how; then no second look is needed.
        """
        self.misses += 1
        if ending is not None:
            if not self.gone:
                self._ended(ending)
        elif not self.job_id and time.monotonic() - self.since < grace:
            self.sighting = words.MISSING
        elif not self.gone:
            belief = absent(self.sighting.state, self.misses)
            self.sighting = words.VANISHED if belief is JobState.GONE else words.MISSING

    def _ended(self, ending: Ending) -> None:
        text = words.ended(ending.state, ending.exit_code, ending.by_owner)
        self.sighting = Sighting(JobState.GONE, self.sighting.host, ending.state, text)


@dataclass(slots=True)
class Owed:
    """A cancellation that Slurm has not taken yet; without an id, the name must do."""

    name: str
    job_id: str
    username: str
    since: float = field(default_factory=time.monotonic)
