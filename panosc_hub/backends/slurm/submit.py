"""Submission that ends with one job or none, even when Slurm's answer is lost."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping

from ...errors import BackendUnavailable, Refusal
from .parse import Garbled, JobRow, parse_job_id
from .shared import Watchers

LOOK_FOR = 15.0
"""Seconds for which a job is looked for by its name after sbatch's answer was lost."""

_REFUSED_BY_SUDO = re.compile(r"sudo: |Sorry, user ")
"""The last line is sudo's, not sbatch's, which so did not run."""


async def submit(
    shared: Watchers, script: str, environment: Mapping[str, str], name: str, username: str
) -> str:
    """The id of the submitted job, whose script gives it the unique ``name``.

    Raises :class:`Refusal` with Slurm's own words when Slurm refused it, and
    :class:`BackendUnavailable` when no job came to be or Slurm cannot be asked. A job that
    turned up in the meantime is then cancelled by its name, now or as soon as Slurm answers.
    """
    try:
        answer = await shared.client.submit(script, environment, username)
        if answer.status == 0:
            return parse_job_id(answer.out)[0]
    except (BackendUnavailable, Garbled) as error:
        trouble = str(error)
    else:
        if _REFUSED_BY_SUDO.match(answer.err.strip().rpartition("\n")[2]):
            raise Refusal(
                f"The Hub may not start jobs for the account {username} "
                f"({answer.complaint}). Ask your administrators to allow it.",
                reason="sudo_refused",
            )
        if not answer.unanswered:
            raise Refusal(f"SLURM refused the job: {answer.complaint}.", reason="slurm_refused")
        trouble = f"SLURM does not answer (sbatch: {answer.complaint})."
    row = await _look_for(shared, name, username)
    if row is None:
        raise BackendUnavailable(f"{trouble} No job was started; try again in some minutes.")
    return row.job_id


async def _look_for(shared: Watchers, name: str, username: str) -> JobRow | None:
    """The job if Slurm took it after all; None if not (and then it will not appear later)."""
    deadline = time.monotonic() + LOOK_FOR
    while True:
        try:
            row = await shared.jobs.find(name, username)
        except (BackendUnavailable, Garbled):
            row = None
        if row is not None:
            return row
        if time.monotonic() > deadline:
            shared.jobs.owe(name, "", username)
            return None
        await asyncio.sleep(1)
