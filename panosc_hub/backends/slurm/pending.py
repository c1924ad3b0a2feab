"""Where the waiting jobs stand in the queue and when Slurm expects them: one look for all.

Only asked for while a session of ours waits, and at most once per interval: ``squeue --start``
lists all waiting jobs of the cluster, with priority and Slurm's own estimate. The estimate is
of Slurm's backfill scheduler, which knows wall times and not when people log out early.
"""

from __future__ import annotations

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from traitlets import Float
from traitlets.config import LoggingConfigurable

from ...errors import BackendUnavailable
from .client import SlurmClient
from .parse import Garbled, after_header

PENDING_FORMAT = "%A|%P|%Q|%S|%r|."
_HEADER = "JOBID|PARTITION|PRIORITY|START_TIME|REASON|."
_NOT_COMPETING = ("Dependency", "BeginTime", "JobHeld", "JobArrayTaskLimit", "DeadLine")
"""Reasons of jobs that would not start even if all nodes were free."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one job stands: ``ahead`` jobs of its partitions come first (None: hidden from us);
    ``starts`` is Slurm's estimate, seconds since the epoch (None: there is none yet)."""

    ahead: int | None
    starts: float | None


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One waiting job. A higher ``priority`` comes first; at the same one, the older job."""

    job_id: str
    partitions: frozenset[str]
    priority: int
    starts: float | None
    reason: str

    @property
    def rank(self) -> tuple[int, int]:
        """Jobs start in ascending order of it."""
        return -self.priority, int(self.job_id)

    @property
    def competes(self) -> bool:
        """Whether it stands in the queue at all: a held job is in nobody's way."""
        return self.priority > 0 and not self.reason.startswith(_NOT_COMPETING)


def parse_time(text: str) -> float | None:
    """Slurm's local time, ``2026-11-21T14:20:00``, in seconds since the epoch; None if unset."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", text):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


def parse_pending(text: str) -> dict[str, PendingRow]:
    """Rows of ``squeue --start --format=PENDING_FORMAT`` by job id. Raises :class:`Garbled`."""
    rows: dict[str, PendingRow] = {}
    for line in after_header(text, _HEADER, "squeue"):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 6 or cells[-1] != "." or not (cells[0] + cells[2]).isdecimal():
            raise Garbled(f"squeue: odd row {line[:80]!r}")
        rows[cells[0]] = PendingRow(
            job_id=cells[0],
            partitions=frozenset(cells[1].split(",")),
            priority=int(cells[2]),
            starts=parse_time(cells[3]),
            reason=cells[4],
        )
    return rows


class Queue:
    """All waiting jobs, in the order in which each partition would start them. Pure."""

    def __init__(self, rows: Mapping[str, PendingRow]) -> None:
        self._rows = rows
        self._order: dict[str, list[tuple[int, int]]] = {}
        for row in rows.values():
            if row.competes:
                for partition in row.partitions:
                    self._order.setdefault(partition, []).append(row.rank)
        for ranks in self._order.values():
            ranks.sort()

    def place(self, job_id: str) -> Place | None:
        """Where the job stands; None if it does not wait, or not yet when this was looked at."""
        mine = self._rows.get(job_id)
        if mine is None:
            return None
        slices = [
            ranks[: bisect_left(ranks, mine.rank)]
            for partition in mine.partitions
            if (ranks := self._order.get(partition))
        ]
        return Place(len(set().union(*slices)), mine.starts)


class PendingWatcher(LoggingConfigurable):
    """The shared look at all waiting jobs; nobody asks for it while none of ours waits."""

    interval = Float(
        30,
        min=0.05,
        config=True,
        help="""
        Seconds for which one look at the waiting jobs is good: as many as Slurm itself by
        default lets pass between two computations of its estimates. A look that takes long
        lengthens the interval to twenty times its duration, for it reads all waiting jobs of
        the cluster.
        """,
    )

    def __init__(self, client: SlurmClient, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.client = client
        self._queue = Queue({})
        self._tried = -1e9
        self._took = 0.0
        self._task: asyncio.Task[None] | None = None

    def place(self, job_id: str, *, private: bool = False) -> Place | None:
        """What the last look told of a job; at once. A stale look is renewed in the background.

        ``private``: Slurm hides other people's jobs from us, so none can be counted.
        """
        if time.monotonic() - self._tried >= max(self.interval, 20 * self._took):
            self.refresh()
        found = self._queue.place(job_id)
        if found is not None and private:
            return Place(None, found.starts)
        return found

    def refresh(self) -> asyncio.Task[None]:
        """Begin a look, unless one is under way, and return its task."""
        if self._task is None or self._task.done():
            self._tried = time.monotonic()
            self._task = asyncio.get_running_loop().create_task(self._look())
        return self._task

    async def _look(self) -> None:
        began = time.monotonic()
        try:
            text = await self.client.query("squeue", "--start", f"--format={PENDING_FORMAT}")
            # Tens of thousands of rows are common; the event loop must not wait for them.
            self._queue = await asyncio.to_thread(lambda: Queue(parse_pending(text)))
        except (BackendUnavailable, Garbled) as error:
            # Old places would mislead; why a session waits is told without them.
            self._queue = Queue({})
            self.client.complain(self.log, f"The look at Slurm's waiting jobs failed: {error}")
        self._took = time.monotonic() - began

    async def close(self) -> None:
        """End a look that is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
