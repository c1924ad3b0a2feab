"""What we believe of a session's process, job or pod, and the rules between beliefs.

Unknown is not dead: only positive evidence (an exit seen, or two full looks that agree) moves
a session to GONE. Backends translate their own words into these four.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobState(StrEnum):
    """The four beliefs."""

    PENDING = "pending"
    RUNNING = "running"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look told about one job.

    ``words`` is a sentence for the user, ``host`` where it runs, ``reason`` the scheduler's own
    word (``Resources``, ``TIMEOUT`` …).
    """

    state: JobState
    host: str = ""
    reason: str = ""
    words: str = ""


def poll_status(belief: JobState) -> int | None:
    """What ``Spawner.poll`` returns: ``None`` (it lives, or we cannot tell) or an exit status."""
    return 1 if belief is JobState.GONE else None


def absent(previous: JobState, full_looks_without_it: int, *, needed: int = 2) -> JobState:
    """The belief about a job that a full look did not show.

    One look may be truncated or race with a submission; ``needed`` consecutive full looks may
    not. Until then an earlier GONE stays GONE and all else is UNKNOWN.
    """
    if previous is JobState.GONE or full_looks_without_it >= needed:
        return JobState.GONE
    return JobState.UNKNOWN
