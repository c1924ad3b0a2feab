"""One look at the queue serves every server of the Hub.

A :class:`SlurmWatcher` runs one ``squeue`` per interval for all jobs that it was told of, while
there are any, and keeps what it saw; ``see`` is a dictionary look-up. A look that fails changes
no belief: jobs stay as they were last seen, and are never declared gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from traitlets import Float, Integer
from traitlets.config import LoggingConfigurable

from ...core.jobstate import Sighting
from ...errors import BackendError, BackendUnavailable
from . import words
from .client import SlurmClient
from .evidence import Evidence
from .facts import FactFinder
from .ledger import Ending, Owed, Question, Watched
from .parse import Garbled, JobRow
from .reader import Look, QueueReader

_TOLD_TOO_LITTLE = ("CANCELLED", "FAILED")
"""Ends of which Slurm's records know more than the queue: by whom, with which exit status."""


class SlurmWatcher(LoggingConfigurable):
    """The shared snapshot of one Slurm's queue; get it with :func:`shared.watchers`."""

    interval = Float(
        30,
        min=0.05,
        config=True,
        help="""
        Seconds between two looks at the queue while all sessions run. One look serves all.
        Lower notices a dead job sooner and costs slurmctld more. A look that takes long
        lengthens the interval to five times its duration.
        """,
    )
    busy_interval = Float(
        5,
        min=0.05,
        config=True,
        help="""
        Seconds between two looks while a session waits or starts, or is being stopped; up to
        twice as many while all who wait have done so for longer. No start takes longer by it:
        the session tells its port itself, and that brings a look at once.
        """,
    )
    longest_interval = Float(
        90,
        min=0.05,
        config=True,
        help="Seconds between two attempts that the back-off reaches while Slurm does not answer.",
    )
    unlisted_grace = Float(
        60,
        min=0,
        config=True,
        help="""
        Seconds for which a job that is known only by its name is looked for before it counts
        as never submitted: sbatch may still be on its way when the Hub is killed.
        """,
    )
    list_limit = Integer(
        200,
        min=0,
        config=True,
        help="""
        At most so many jobs are asked for by id, above it the whole queue is read. Below, the
        Hub takes what has cost less time so far, and measures the other way now and then.
        """,
    )
    people_per_look = Integer(
        20,
        min=2,
        config=True,
        help="""
        Only where Slurm's PrivateData hides the users' jobs from the Hub's account: for so many
        people one look asks, with one squeue each as that person. With more people than this
        their ends are noticed some looks later; those who wait for something come first.
        """,
    )

    def __init__(self, client: SlurmClient, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.client = client
        self.jobs: dict[str, Watched] = {}
        self.owed: dict[str, Owed] = {}

        self.looked: float | None = None
        """``time.time()`` of the last look that succeeded."""

        self.trouble = ""
        """Why the last look failed; empty when it did not."""

        self.facts = FactFinder(client, parent=self)
        self.reader = QueueReader(client, self.facts, self.list_limit, self.people_per_look)
        self.evidence = Evidence(self.facts, parent=self)
        self._failures = 0
        self._took = 0.0
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Future[None] | None = None
        self._again = asyncio.Event()
        self._news = asyncio.Event()

    # What servers call. Names are keys, for they exist before ids do.

    def watch(
        self,
        name: str,
        job_id: str = "",
        *,
        account: str = "",
        starting: bool = False,
        place: str = "",
    ) -> None:
        """Look after a job of the user ``account`` from now on. Needs a running event loop."""
        job = self.jobs.get(name) or self.jobs.setdefault(name, Watched(name))
        job.account = account or job.account
        if job_id and not job.job_id:
            job.job_id, job.misses, job.sighting = job_id, 0, words.UNSEEN
        if starting and not job.starting:
            self._again.set()
        job.starting, job.place = starting, place or job.place
        self._ensure_running()

    def claim(self, name: str, place: str) -> bool:
        """Whether ``place`` (``node:port``) is this job's and no other living one's."""
        if any(job.place == place and job.name != name for job in self._living()):
            return False
        self.jobs[name].place = place
        return True

    def forget(self, name: str) -> None:
        """The server is over; nobody asks for this job any more."""
        self.jobs.pop(name, None)

    def see(self, name: str) -> Sighting:
        """What is believed of a job now. Never raises, never waits."""
        job = self.jobs.get(name)
        return job.sighting if job else words.UNSEEN

    def ends(self, name: str) -> float | None:
        """When the job's wall time ends, seconds since the epoch, as Slurm has it now."""
        job = self.jobs.get(name)
        return job.ends if job else None

    def expected(self, name: str) -> float | None:
        """When Slurm expects to start the job, while it waits; seconds since the epoch."""
        job = self.jobs.get(name)
        return job.starts if job else None

    @property
    def private(self) -> bool:
        """Whether Slurm hides other people's jobs from the Hub's account."""
        return self.facts.others_hidden

    def found_id(self, name: str) -> str:
        """The id of a job that was known only by its name, once a look has found it."""
        job = self.jobs.get(name)
        return job.job_id if job else ""

    def owe(self, name: str, job_id: str, username: str) -> None:
        """Try to cancel this job with every look until Slurm takes it."""
        self.owed.setdefault(name, Owed(name, job_id, username))
        self._ensure_running()

    def refresh_now(self) -> None:
        """Look as soon as possible instead of at the end of the interval."""
        self._again.set()

    async def news(self, patience: float) -> None:
        """Return after the next look, failed or not, or after ``patience`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._news.wait()

    async def close(self) -> None:
        """Stop looking."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # The loop.

    def _ensure_running(self) -> None:
        if not self.owed and not any(self._living()):
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        while self.owed or any(self._living()):
            self._again.clear()
            await self.look()
            # Not wait_for: on Python 3.11 it can swallow a cancellation.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.pause()):
                    await self._again.wait()

    def _living(self) -> Iterator[Watched]:
        return (job for job in self.jobs.values() if not job.gone)

    def pause(self) -> float:
        """Seconds until the next look is due."""
        base = max(self._unhurried(), 5 * self._took)
        return min(base * 2 ** min(self._failures, 16), max(base, self.longest_interval))

    def _unhurried(self) -> float:
        """The pause while Slurm answers quickly."""
        busy = [job for job in self._living() if job.busy]
        if not self.owed and not busy:
            return self.interval
        if self.owed or any(job.misses for job in busy):
            return self.busy_interval
        waited = time.monotonic() - max(job.since for job in busy)
        return self.busy_interval * min(2.0, 1 + waited / 30)

    async def look(self) -> None:
        """One look now, or the result of the one under way: there are never two at a time."""
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(self._look_is_over)
        await asyncio.shield(self._looking)

    def _look_is_over(self, _: asyncio.Future[None]) -> None:
        self._looking = None
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _look(self) -> None:
        began = time.monotonic()
        questions = [job.question for job in self._living()]
        try:
            look = await self.reader.look(questions)
            took = time.monotonic() - began  # slurmdbd is not slurmctld
            endings = await self._endings(questions, look)
        except (BackendUnavailable, Garbled) as error:
            self._failed(error)
        except Exception as error:  # A mistake of ours must not end the watch
            self.log.exception("The look at Slurm's queue failed in an unexpected way")
            self._failed(error)
        else:
            self._failures, self.trouble = 0, ""
            self.looked = time.time()
            self._took = took
            for asked in questions:
                self._note(asked, look, endings.get(asked.job_id))
            if look.refused:
                self._warn(f"Some people's jobs cannot be asked for: {look.refused}")
        await self._pay()

    async def _endings(self, questions: list[Question], look: Look) -> dict[str, Ending]:
        absent = look.asked - look.rows.keys()
        missing = [q for q in questions if q.job_id and q.name in absent]
        failed = [
            q
            for q in questions
            if (row := look.rows.get(q.name)) is not None and row.state in _TOLD_TOO_LITTLE
        ]
        return await self.evidence.endings(missing, failed)

    def _note(self, asked: Question, look: Look, ending: Ending | None) -> None:
        job = self.jobs.get(asked.name)
        if job is None or job.job_id != asked.job_id:
            return  # forgotten, or its id came meanwhile
        row = look.rows.get(asked.name)
        if row is not None:
            job.listed(row, ending)
        elif asked.name in look.asked:
            job.unlisted(self.unlisted_grace, ending)

    async def find(self, name: str, account: str = "") -> JobRow | None:
        """The job of that name, the newest if there were two, or None if Slurm lists none.

        Raises :class:`BackendUnavailable` or :class:`Garbled` if Slurm cannot tell.
        """
        await self.facts.renew()
        as_owner = account if self.facts.ours_hidden else ""
        return (await self.reader.by_name([name], as_owner)).get(name)

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.trouble = str(error)
        self._warn(f"The look at Slurm's queue failed, all sessions are kept: {error}")

    def _warn(self, text: str) -> None:
        self.client.complain(self.log, text)

    async def _pay(self) -> None:
        for debt in list(self.owed.values()):
            try:
                await self.client.cancel(debt.name, debt.job_id, debt.username)
            except BackendUnavailable as error:
                self._warn(str(error))
                continue
            except BackendError as error:
                self.log.error("Job %s is not cancelled and will not be: %s", debt.name, error)
            else:
                if not debt.job_id and time.monotonic() - debt.since < self.unlisted_grace:
                    continue  # the job may still appear
                self.log.info("Job %s (%s) is cancelled at last", debt.name, debt.job_id)
            self.owed.pop(debt.name, None)
