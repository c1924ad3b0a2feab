"""One look at the queue serves every server of the Hub.

A :class:`SlurmWatcher` runs one ``squeue`` per interval for all jobs that it was told of, while
there are any, and keeps what it saw; ``see`` is a dictionary look-up. A look that fails changes
no belief: jobs stay as they were last seen, and are never declared gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Collection, Iterator
from typing import Any

from traitlets import Float, Integer
from traitlets.config import LoggingConfigurable

from ...core.jobstate import Sighting
from ...errors import BackendError, BackendUnavailable
from . import words
from .client import SlurmClient, own_account
from .ledger import Owed, Watched
from .parse import (
    NAMED_FORMAT,
    QUEUE_FORMAT,
    Garbled,
    JobRow,
    parse_config,
    parse_named,
    parse_queue,
)


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
        3,
        min=0.05,
        config=True,
        help="Seconds between two looks while a session waits or starts, or is being stopped.",
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
        50,
        min=0,
        config=True,
        help="""
        Up to so many jobs are asked for by id, which keeps the answer short; above it the
        whole queue is read, which is cheaper for Slurm than a long list.
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

        self.settings: dict[str, str] = {}
        self._looks = 0
        self._failures = 0
        self._warned = -1e9
        self._took = 0.0
        self._sees_others = False
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Future[None] | None = None
        self._again = asyncio.Event()
        self._news = asyncio.Event()

    # What servers call. Names are keys, for they exist before ids do.

    def watch(
        self, name: str, job_id: str = "", *, starting: bool = False, place: str = ""
    ) -> None:
        """Look after a job from now on. Needs a running event loop."""
        job = self.jobs.setdefault(name, Watched(name))
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

    @property
    def private(self) -> bool:
        """Whether Slurm may hide other people's jobs from the Hub's account."""
        hidden = "jobs" in self.settings.get("PrivateData", "").lower()
        return hidden and os.geteuid() != 0

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
        busy = bool(self.owed) or any(job.busy for job in self._living())
        base = max(self.busy_interval if busy else self.interval, 5 * self._took)
        return min(base * 2 ** min(self._failures, 16), max(base, self.longest_interval))

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
        asked = {job.name: job.job_id for job in self._living()}
        try:
            if not self.settings:
                self.settings = parse_config(await self.client.query("scontrol", "show", "config"))
            rows = await self._rows_by_id({i for i in asked.values() if i})
            named = await self._rows_by_name([name for name, i in asked.items() if not i])
        except (BackendUnavailable, Garbled) as error:
            self._failed(error)
        except Exception as error:  # A mistake of ours must not end the watch
            self.log.exception("The look at Slurm's queue failed in an unexpected way")
            self._failed(error)
        else:
            self._failures, self.trouble = 0, ""
            self.looked = time.time()
            self._took = time.monotonic() - began
            for name, job_id in asked.items():
                if name in self.jobs and self.jobs[name].job_id == job_id:
                    self._note(self.jobs[name], rows.get(job_id) if job_id else named.get(name))
        await self._pay()

    async def _rows_by_id(self, ids: set[str]) -> dict[str, JobRow]:
        if not ids:
            return {}
        arguments = ["--states=all", f"--format={QUEUE_FORMAT}"]
        if len(ids) <= self.list_limit:
            # One id alone makes squeue fail when the job is gone; a list just leaves it out.
            arguments.append(f"--jobs={','.join([*sorted(ids), min(ids)])}")
        return parse_queue(await self.client.query("squeue", *arguments))

    async def _rows_by_name(self, names: Collection[str]) -> dict[str, JobRow]:
        if not names:
            return {}
        arguments = ["--states=all", f"--format={NAMED_FORMAT}", f"--name={','.join(names)}"]
        return parse_named(await self.client.query("squeue", *arguments))

    async def find(self, name: str) -> JobRow | None:
        """The job of that name, the newest if there were two, or None if Slurm lists none.

        Raises :class:`BackendUnavailable` or :class:`Garbled` if Slurm cannot tell.
        """
        return (await self._rows_by_name([name])).get(name)

    def _note(self, job: Watched, row: JobRow | None) -> None:
        if row is not None:
            self._sees_others |= row.user != own_account()
            job.listed(row)
        elif self._absence_counts():
            job.unlisted(self.unlisted_grace)

    def _absence_counts(self) -> bool:
        """Whether squeue shows other accounts' jobs to us; if not, absence proves nothing."""
        if not self.private or not self.client.run_as or self._sees_others:
            return True
        self._warn(
            "Slurm's PrivateData hides the users' jobs from the Hub's account, so the end of a "
            "job cannot be seen: make that account a Slurm operator "
            "(sacctmgr modify user NAME set AdminLevel=Operator)"
        )
        return False

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self.trouble = str(error)
        self._warn(f"The look at Slurm's queue failed, all sessions are kept: {error}")

    def _warn(self, text: str) -> None:
        """At most one warning per minute, however often it happens."""
        if time.monotonic() - self._warned >= 60:
            self._warned = time.monotonic()
            self.log.warning(text)

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
