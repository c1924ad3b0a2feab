"""Which way of looking at the queue is the cheaper one, by measured time. Pure.

A look at chosen jobs costs Slurm something for each of them, a look at the whole queue for each
job of the cluster; which is less depends on both numbers and on the site. So both are timed, and
the dearer one is timed again now and then.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SMOOTH = 0.3
"""Weight of the newest measurement: a busy second of slurmctld must not turn the choice."""

MARGIN = 0.8
"""The other way is taken when it costs less than this part, so that equals do not alternate."""

SHARE = 20
"""The dearer way is timed again when the usual one has taken so many times its time …"""

AT_LATEST = 200
"""… or after so many looks: what was slow once need not be slow for ever."""


class Way(StrEnum):
    """How to ask."""

    IDS = "ids"
    WHOLE = "whole queue"

    @property
    def other(self) -> Way:
        """The other one."""
        return Way.WHOLE if self is Way.IDS else Way.IDS


@dataclass(slots=True)
class _Measured:
    """Smoothed seconds of one look, and for how many of our jobs it was."""

    seconds: float
    jobs: float

    def add(self, seconds: float, jobs: int, weight: float) -> None:
        self.seconds += weight * (seconds - self.seconds)
        self.jobs += weight * (jobs - self.jobs)


class Costs:
    """What looks have cost so far. ``limit``: never more than so many ids in one question."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._measured: dict[Way, _Measured] = {}
        self._usual = Way.IDS
        self._failed: Way | None = None
        self._looks = 0
        self._seconds = 0.0

    def choose(self, jobs: int) -> Way:
        """How to ask for so many jobs now."""
        if jobs > self.limit:
            return Way.WHOLE
        if self._failed is not None:
            # A queue that is too long to be read in time may still answer for a few jobs.
            return self._failed.other
        for way in (Way.IDS, Way.WHOLE):
            if way not in self._measured:
                return way
        dearer = self._usual.other
        if self.expected(dearer, jobs) < MARGIN * self.expected(self._usual, jobs):
            self._usual, dearer = dearer, self._usual
            self._looks, self._seconds = 0, 0.0
        due = self._seconds >= SHARE * self.expected(dearer, jobs) or self._looks >= AT_LATEST
        return dearer if due else self._usual

    def expected(self, way: Way, jobs: int) -> float:
        """Seconds that it would take for so many jobs, from what was measured."""
        known = self._measured[way]
        if way is Way.WHOLE:
            return known.seconds
        # Part of it is the same for any number: starting a process, one message. The quicker
        # of the two ways is the most that this part can be.
        fixed = min(m.seconds for m in self._measured.values())
        return fixed + (known.seconds - fixed) * jobs / max(known.jobs, 1.0)

    def took(self, way: Way, jobs: int, seconds: float) -> None:
        """A look for so many jobs succeeded."""
        self._failed = None
        if way is self._usual:
            self._looks, self._seconds = self._looks + 1, self._seconds + seconds
        else:
            self._looks, self._seconds = 0, 0.0
        if known := self._measured.get(way):
            # A rare measurement counts in full, for the one before it is old.
            known.add(seconds, jobs, SMOOTH if way is self._usual else 1.0)
        else:
            self._measured[way] = _Measured(seconds, jobs)

    def failed(self, way: Way) -> None:
        """A look gave no answer: the next one asks the other way, where it can."""
        self._failed = way
