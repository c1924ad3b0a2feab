"""The SLURM backend: a session is a batch job.

Thin: the job is described in ``job``, commands run in ``client``, and what is believed of a
job comes from the shared ``watcher``. ``batchspawner.SlurmSpawner`` is the base so that a
site's ``c.SlurmSpawner.req_*`` settings keep working as defaults; its command running and its
reading of job states are not used.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from jupyterhub.spawner import Spawner
from traitlets import Float

from ...core.choices import Menu
from ...core.identity import Person
from ...core.jobstate import JobState
from ...core.profiles import Profile
from ...errors import BackendError, Refusal, SiteError
from ..base import Availability, Known
from . import offers
from .client import SlurmClient
from .known import known_session, verdict
from .options import validate_options
from .shared import watchers
from .starting import SlurmStart
from .submit import submit


class SlurmBackend(SlurmStart):
    """One batch job per session."""

    backend_name: ClassVar[str] = "slurm"
    tells_limits: ClassVar[bool] = True
    own_environments: ClassVar[bool] = True
    progress = Spawner.progress  # lines go through ``tell``

    stop_timeout = Float(
        30,
        min=0,
        config=True,
        help="Seconds for which a stop waits for Slurm to say that the job is ending.",
    )

    # -- life cycle -------------------------------------------------------------------------

    async def start(self) -> str:
        """Submit, wait for a node, wait for the port; returns the server's URL.

        Raises :class:`~panosc_hub.errors.PanoscError`; then the job is cancelled, or its
        cancellation is owed to Slurm and tried until it succeeds.
        """
        if self.launch is None:
            raise BackendError("The session was not planned; this is a fault of the Hub's set-up.")
        launch, shared = self.launch, self.shared
        self._forget()
        self.ended = ""
        self.port = 0
        name = self.new_name()
        settled = await self.settle(launch)
        if self._stopping:
            raise BackendError("The start was cancelled.", reason="cancelled")
        text, env = self.script(launch, name, settled.options), self.get_env()
        self._log_path = self.log_path(settled.options)
        for notice in settled.notices:
            self.tell(notice, 12)
        limit = launch.profile.start_timeout or self.start_timeout
        # Before the Hub's own limit, so that the sentence can say why the job still waits.
        patience = limit - min(10.0, limit / 10)
        deadline = time.monotonic() + patience
        self._limit, self._until = int(limit), int(time.time() + patience)
        self.job_name, self._starting = name, True
        try:
            self.save_state()
        except BaseException:
            self._forget()  # nothing is submitted that could not be found again
            raise
        try:
            self.job_id = await submit(shared, text, env, name, self.user.name)
            self._log_path = self._log_path.replace("%j", self.job_id)
            self.save_state()
            self.tell(f"SLURM took the job: number {self.job_id}", 15)
            url = await self._arrive(deadline, limit)
        except Refusal:
            self._forget()  # there is no job
            raise
        except BaseException:
            # Whatever ended the start, a cancellation included, must not leave a job behind.
            self._starting = False
            if not self._stopping:
                await asyncio.shield(self._cancel())
            raise
        return url

    async def poll(self) -> int | None:
        """What the watcher last saw; never raises."""
        if not self.job_name:
            return 0
        try:
            jobs = self.shared.jobs
            who, place = self.user.name, self._place
            jobs.watch(
                self.job_name, self.job_id, account=who, starting=self._starting, place=place
            )
            self.job_id = self.job_id or jobs.found_id(self.job_name)
            status, ended = verdict(jobs, self.job_name, self.job_id, who, self._host)
        except Exception:
            self.log.exception("Could not look at job %s; it is kept", self.job_name)
            return None
        self.ended = self.ended or ended
        return status

    async def stop(self, now: bool = False) -> None:
        """Cancel the job and wait, within limits, until Slurm says that it ends."""
        self._stopping = True
        if not self.job_name:
            return
        jobs = self.shared.jobs
        if not await self._cancel() or now:
            return
        jobs.watch(self.job_name, self.job_id, account=self.user.name, starting=True)
        deadline = time.monotonic() + self.stop_timeout
        while (left := deadline - time.monotonic()) > 0:
            seen = jobs.see(self.job_name)
            if seen.state is JobState.GONE or seen.reason == "COMPLETING":
                return
            jobs.refresh_now()
            await jobs.news(left)
        self.log.warning("Job %s was cancelled but has not ended yet", self.job_id)

    # -- state ------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """What finds the job again; no secrets."""
        state: dict[str, Any] = {
            "name": self.job_name,
            "job_id": self.job_id,
            "host": self._host,
            "url": self._url,
            "log": self._log_path,
        }
        if self._starting:  # for the next Hub, if this one is killed now
            state |= {"port": self._chosen_port, "until": self._until, "limit": self._limit}
        return {k: v for k, v in state.items() if v} if self.job_name else {}

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of ``get_state``; odd values are dropped, for this must never raise."""
        self._forget()
        known = {k: v for k, v in state.items() if isinstance(v, str)}
        self.job_name, self.job_id = known.get("name", ""), known.get("job_id", "")
        self._host, self._url = known.get("host", ""), known.get("url", "")
        self._log_path = known.get("log", "")
        numbers = {k: v for k, v in state.items() if type(v) is int}
        self._until, self._limit = numbers.get("until", 0), numbers.get("limit", 0)
        # The Hub was killed before the start ended: the job's port may still come.
        self._starting = bool(self.job_name and not self._url)
        self._chosen_port = numbers.get("port") if self._starting else None
        self.recall(self.config, self.user.name, state)

    @classmethod
    def known(cls, kwargs: Mapping[str, Any], saved: Mapping[str, Any]) -> Known | None:
        """A session that is known to run needs no child until it is stopped."""
        user, server = kwargs["user"], kwargs["orm_spawner"]
        return known_session(watchers(kwargs["config"]).jobs, user.name, server, saved)

    @classmethod
    def recall(cls, config: Any, username: str, saved: Mapping[str, Any]) -> None:
        """Owe again what ``lasting_state`` of an earlier Hub says."""
        owed = saved.get("owed")
        for name, job_id in owed.items() if isinstance(owed, dict) else ():
            watchers(config).jobs.owe(str(name), str(job_id), username)

    def lasting_state(self) -> dict[str, Any]:
        """Cancellations that Slurm has not taken yet, so that a Hub restart does not lose them."""
        try:
            owed = self.shared.jobs.owed
        except RuntimeError:  # no event loop, so nothing can have been owed
            return {}
        mine = {o.name: o.job_id for o in owed.values() if o.username == self.user.name}
        return {"owed": mine} if mine else {}

    def clear_state(self) -> None:
        """The session is over."""
        if self.job_name:
            self.shared.jobs.forget(self.job_name)
        self._forget()

    # -- what pages ask ---------------------------------------------------------------------

    @classmethod
    def availability(cls, profiles: Mapping[str, Profile], config: Any) -> dict[str, Availability]:
        """From the last look at the nodes; a stale one is renewed in the background."""
        nodes = watchers(config).nodes
        return {name: nodes.availability(profile) for name, profile in profiles.items()}

    @classmethod
    def offered(cls, profiles: Mapping[str, Profile], config: Any) -> dict[str, Profile | str]:
        """The profiles within what Slurm has, from the same look."""
        return offers.offered(profiles, config)

    @classmethod
    def menus(cls, profile: Profile, person: Person, config: Any) -> tuple[Menu, ...]:
        """Account, QOS, reservation …, as Slurm last told what ``person`` has."""
        return offers.menus_for(profile, person, config)

    @classmethod
    async def look(cls, config: Any) -> None:
        """Have all looks, for a command line."""
        await offers.look(config)

    @classmethod
    def present(cls, config: Any) -> bool:
        """Whether sbatch is installed here."""
        return shutil.which(SlurmClient(config=config).sbatch) is not None

    @classmethod
    def check_profile(cls, profile: Profile) -> Iterable[str]:
        """Mistakes in the profile's options."""
        try:
            validate_options(profile.options)
        except SiteError as error:
            yield error.sentence
