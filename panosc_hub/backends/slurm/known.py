"""A session that runs, as its saved state tells it: all that a Hub needs of it for hours.

The spawner itself has some hundred settings, of which a poll needs none. A Hub with thousands of
sessions therefore makes it when a session is started, stopped or asked for more than this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ...core.jobstate import JobState, poll_status
from .watcher import SlurmWatcher


def verdict(
    jobs: SlurmWatcher, name: str, job_id: str, account: str, host: str
) -> tuple[int | None, str]:
    """``poll``'s answer for a job that is watched, and why its session ended, if it did.

    ``host``: where the session runs, once known. If Slurm has the job elsewhere, the session is
    lost although the job lives on, so its cancellation is owed.
    """
    seen = jobs.see(name)
    if host and seen.state is JobState.RUNNING and seen.host not in ("", host):
        jobs.owe(name, job_id, account)
        return 1, "The session ended: its node failed. Start again."
    status = poll_status(seen.state)
    return status, "" if status is None else seen.words


def place_of(host: str, url: str) -> str:
    """``node:port`` of a session."""
    return f"{host}:{urlsplit(url).port}"


@dataclass(slots=True)
class KnownSession:
    """Answers as :class:`~.spawner.SlurmBackend` with this state would."""

    jobs: SlurmWatcher
    account: str
    server: Any
    """Of JupyterHub's database; it knows the path below which the session's server answers."""

    saved: Mapping[str, Any]
    place: str
    ended: str = ""

    @property
    def ends_at(self) -> float | None:
        """As Slurm has it now."""
        return self.jobs.ends(self.saved["name"])

    async def poll(self) -> int | None:
        """What the watcher last saw; never raises."""
        saved = self.saved
        name, job_id, host = saved["name"], saved["job_id"], saved["host"]
        try:
            self.jobs.watch(name, job_id, account=self.account, place=self.place)
            status, ended = verdict(self.jobs, name, job_id, self.account, host)
        except Exception:
            self.jobs.log.exception("Could not look at job %s; it is kept", name)
            return None
        self.ended = self.ended or ended
        return status

    async def get_url(self) -> str:
        """Node and port, and the path below which the server answers."""
        row = self.server.server
        return f"{self.saved['url']}{row.base_url if row else ''}"


def known_session(
    jobs: SlurmWatcher, account: str, server: Any, saved: Mapping[str, Any]
) -> KnownSession | None:
    """The session of that state; None where it is not sure to have arrived at its node."""
    parts = [saved.get(key) for key in ("name", "job_id", "host", "url")]
    if not all(isinstance(part, str) and part for part in parts):
        return None
    try:
        place = place_of(saved["host"], saved["url"])
    except ValueError:
        return None
    return KnownSession(jobs, account, server, saved, place)
