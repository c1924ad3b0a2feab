"""Jobs of a Hub that none of its servers claims. Pure.

A job is the Hub's by its name *and* by the whole Hub name in its comment, for names are cut
short. It is claimed if a server that is not stopped has its name in the saved state. A server
whose state says nothing about a job (it begins at this moment, or another version of this
package saved it) claims every job of its user and server name: rather none than a living one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...core.jobstate import JobState
from ...core.state import Server, load_state
from .parse import STATES, after_header
from .script import job_comment, job_name

FORMAT = "%A|%T|%u|%S|%j|%k|."
"""For ``squeue --format``. Rows of jobs with odd names or comments are not ours; passed over."""

_HEADER = "JOBID|STATE|USER|START_TIME|NAME|COMMENT|."


@dataclass(frozen=True, slots=True)
class Job:
    """One job of the Hub; ``account`` is the UNIX account that it runs as."""

    job_id: str
    state: str
    account: str
    start: str
    name: str
    comment: str


def jobs_of_hub(text: str, hub: str) -> list[Job]:
    """The Hub's jobs that have not ended, from ``squeue --states=all --format=FORMAT``.

    Raises :class:`~.parse.Garbled` for an answer that is not squeue's.
    """
    prefix = job_name(hub, "u", "s", "t").removesuffix("u-s-t")
    comment = job_comment(hub, "", "").removesuffix("user=,server=")
    found = []
    for line in after_header(text, _HEADER, "squeue"):
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 7 or cells[-1] != "." or not re.fullmatch(r"[0-9]{1,12}", cells[0]):
            continue
        job = Job(*cells[:6])
        ours = job.name.startswith(prefix) and job.comment.startswith(comment)
        over = job.state == "COMPLETING" or STATES.get(job.state) is JobState.GONE
        if ours and not over:
            found.append(job)
    return found


def orphans(jobs: Iterable[Job], servers: Iterable[Server], hub: str) -> list[Job]:
    """Those of ``jobs`` that no server claims. ``servers`` must have been read after ``jobs``:
    a server's state names its job before the job exists."""
    names: set[str] = set()
    comments: set[str] = set()
    for server in servers:
        part = load_state(server.state).backends.get("slurm", {})
        if name := part.get("name"):
            names.add(str(name))
        elif load_state(server.state).active in ("", "slurm"):
            comments.add(job_comment(hub, server.user, server.name))
    return [job for job in jobs if job.name not in names and job.comment not in comments]
