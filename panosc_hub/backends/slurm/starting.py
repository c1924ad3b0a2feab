"""From a submitted job to a server that can be reached, also across a restart of the Hub.

A start that the Hub sees to its end and one that a killed Hub left to the next (adoption) wait
in the same way; JupyterHub asks ``get_url`` for the second kind.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from traitlets import Float, Unicode

from ...core.jobstate import JobState, Sighting
from ...core.quantities import show_duration
from ...errors import BackendError, BackendUnavailable, PanoscError
from ..base import Backend
from . import words
from .job import SlurmJob
from .known import place_of
from .pending import Place

NOWHERE = "http://127.0.0.1:1"
"""For a session that has no server. Not the address in JupyterHub's database: that is a guess
from before the start, where another user's server may listen; no user can listen on port 1."""

ADOPT_AGAIN = 1.0
"""Seconds until an adoption that failed for an unexpected reason is tried again; it doubles."""


class SlurmStart(SlurmJob, Backend):
    """The part of :class:`~.spawner.SlurmBackend` that brings a job to its URL, or cancels it."""

    adoption_grace = Float(
        60,
        min=0,
        config=True,
        help="""
        Seconds that a job whose start was interrupted by a Hub restart gets at least, even if
        its start limit has passed meanwhile. As long as a session repeats the post of its port.
        """,
    )

    job_name = Unicode(help="The job's unique name; set and saved before submission.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forget()

    def _forget(self) -> None:
        self.job_name = self.job_id = self.job_status = ""
        self._host = self._url = self._log_path = self._told = ""
        self._chosen_port: int | None = None
        self._until = self._limit = 0
        self._adoption: asyncio.Future[str] | None = None
        self._starting = self._stopping = self._cancelled = False

    @property
    def ends_at(self) -> float | None:
        """As Slurm has it now, for an administrator may extend a job."""
        return self.shared.jobs.ends(self.job_name) if self._url else None

    @property
    def _place(self) -> str:
        """``node:port``, once known."""
        return place_of(self._host, self._url) if self._url else ""

    async def _arrive(self, deadline: float, limit: float) -> str:
        """Wait for node and port; the server's URL. Raises :class:`BackendError` if it fails."""
        jobs = self.shared.jobs
        jobs.watch(self.job_name, self.job_id, account=self.user.name, starting=True)
        node, port = await self._ready(deadline, limit)
        scheme = "https" if self.internal_ssl else "http"
        url = f"{scheme}://{await self._at(node)}:{port}"
        self.job_id = self.job_id or jobs.found_id(self.job_name)
        self._host, self._url, self._starting = node, url, False
        jobs.watch(self.job_name, self.job_id, account=self.user.name, place=self._place)
        self.save_state()
        self.tell(f"The session runs on {node}", 90)
        return url

    async def _ready(self, deadline: float, limit: float) -> tuple[str, int]:
        """Node and port of the job, once both are known. Raises if it ends before or too late."""
        jobs, disputed = self.shared.jobs, 0
        while True:
            seen = jobs.see(self.job_name)
            if seen.state is JobState.GONE:
                raise BackendError(self._death(seen), reason="job_ended")
            if self._stopping:
                raise BackendError("The start was cancelled.", reason="cancelled")
            if self._chosen_port and seen.state is JobState.RUNNING and seen.host:
                place = f"{seen.host}:{self._chosen_port}"
                if jobs.claim(self.job_name, place):
                    return seen.host, self._chosen_port
                disputed += 1  # the other one may have ended since the last look
                if disputed > 2:
                    raise BackendError(
                        f"Another session on {seen.host} listens on port {self._chosen_port} "
                        "already. Start again.",
                        reason="port_taken",
                    )
            self._report(seen)
            if (left := deadline - time.monotonic()) <= 0:
                raise BackendError(self._too_late(seen, limit), reason="timeout")
            await jobs.news(left)

    def _report(self, seen: Sighting) -> None:
        """One line for each change; why it waits and its place in the queue replace each other."""
        text, progress, waits = seen.words, 20, False
        if seen.state is JobState.RUNNING:
            text, progress = f"The job runs on {seen.host}; the notebook server is starting", 50
        elif self.shared.jobs.trouble:
            text = "SLURM does not answer at the moment; waiting for it"
        elif seen.state is JobState.PENDING:
            text, waits = self._waiting(seen), True
        if text != self._told:
            self._told = text
            self.tell(text, progress, replaces=waits)

    def _waiting(self, seen: Sighting) -> str:
        shared = self.shared
        # Where jobs are hidden from the Hub, the estimate comes with the job's own row.
        place = shared.pending.place(self.job_id, private=shared.jobs.private) or Place(
            None, shared.jobs.expected(self.job_name)
        )
        standing = words.standing(place.ahead, place.starts, time.time())
        return f"{seen.words.removesuffix('.')}; {standing}." if standing else seen.words

    def _too_late(self, seen: Sighting, limit: float) -> str:
        text = (
            f"The session did not start within {show_duration(int(limit))}, "
            "so its job was cancelled. "
        )
        if seen.state is JobState.RUNNING:
            return (
                text
                + f"It ran on {seen.host}, but no server came up; see the log {self._log_path}."
            )
        return text + seen.words + " Try again later, or choose another profile."

    def _death(self, seen: Sighting) -> str:
        self.ended = seen.words
        return (
            f"{self.ended} That was before the notebook server was ready; "
            f"its log is {self._log_path}."
        )

    async def _at(self, node: str) -> str:
        if node in self.node_hosts:
            return str(self.node_hosts[node])
        return await self.shared.nodes.address_of(node) if self.connect_to == "address" else node

    def accept_port(self, port: int) -> bool:
        """Take the session's port: an integer from 1024 to 65535, while starting, once.

        The same port again is taken too, for the session repeats a post whose answer was lost.
        """
        if not self._starting or self._chosen_port not in (None, port):
            return False
        if type(port) is not int or not 1024 <= port <= 65535:
            return False
        self._chosen_port = port
        try:
            self.save_state()  # it is told only once, and the Hub may be killed before it is used
        except PanoscError as error:
            self.log.warning("The port of job %s is not saved: %s", self.job_id, error)
        self.shared.jobs.refresh_now()
        return True

    async def _cancel(self) -> bool:
        """Cancel now (True), or note that it is owed. Once per job."""
        shared = self.shared
        if self._cancelled:
            return True
        self._cancelled = True
        try:
            await shared.client.cancel(self.job_name, self.job_id, self.user.name)
        except BackendUnavailable as error:
            self.log.warning("%s It will be tried again.", error)
            shared.jobs.owe(self.job_name, self.job_id, self.user.name)
            return False
        if not self.job_id:  # sbatch may still be under way
            shared.jobs.owe(self.job_name, "", self.user.name)
        shared.jobs.refresh_now()
        return True

    # -- adoption ---------------------------------------------------------------------------

    async def get_url(self) -> str:
        """Where the server is.

        JupyterHub asks this when it has been restarted. For a job that was still starting the
        answer waits, within the start's own limit, for node and port. If they do not come, the
        job is cancelled, ``ended`` says why, and the answer is an address where nobody listens.
        A fault of the Hub in this is no evidence against the job: it is kept and tried again.
        """
        if self._starting and not self._url:
            self._adoption = asyncio.ensure_future(self._adopt())
            try:
                await asyncio.wait([self._adoption])
                await self._adoption
            except BackendError as error:
                self.ended = error.sentence
            except asyncio.CancelledError:
                if not self._stopping:
                    raise  # the Hub is being stopped, not the session
                self.ended = "It was stopped from the Hub."
            finally:
                self._adoption = None
            if not self._url:
                self._starting = False
                self.log.warning("Job %s is not adopted: %s", self.job_name, self.ended)
                self.tell(self.ended, None)
                await self._cancel()
                return NOWHERE
            self.log.info("Job %s (%s) is adopted", self.job_name, self.job_id)
        base_url: Any = self.server.base_url if self.server else ""
        return self._url + str(base_url) if self._url else str(await super().get_url())

    def give_up(self) -> bool:
        """End the wait in ``get_url``, which then cancels the job."""
        if self._adoption is None:
            return False
        self._stopping = True
        return self._adoption.cancel()

    async def _adopt(self) -> str:
        """Raises :class:`BackendError` with the evidence that there is nothing to be adopted."""
        pause = ADOPT_AGAIN
        while True:
            try:
                self.tell("The Hub was restarted; it looks for the job again", 15)
                patience = max(self._until - time.time(), self.adoption_grace)
                return await self._arrive(time.monotonic() + patience, self._limit)
            except BackendError as error:
                jobs = self.shared.jobs
                known = jobs.see(self.job_name).state is not JobState.UNKNOWN and not jobs.trouble
                if error.reason != "timeout" or known:
                    raise
                # The limit has passed, but Slurm has not said whether the session came up in time.
                await jobs.news(30)
            except Exception:
                if self._url:
                    return self._url  # only what followed failed, such as saving it
                self.log.exception("Could not adopt job %s yet; it is kept", self.job_name)
                await asyncio.sleep(pause)
                pause = min(2 * pause, 60)
