"""Slurm's answers, as text, to records. Pure.

Every answer that does not have exactly the expected shape raises :class:`Garbled`, which means
*unknown*: half an answer must never read as "the job is gone". All queries keep the header
line, for its presence proves that the command itself produced the (perhaps empty) answer, and
end every row with a mark, so that a row cut in the middle shows.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass

from ...core.jobstate import JobState

QUEUE_FORMAT = "%A|%T|%B|%u|%S|%L|%r|."
"""For ``squeue --format``: no field that a user may fill in freely (name, comment, paths)."""

NAMED_FORMAT = QUEUE_FORMAT.removesuffix(".") + "%j|."
"""With the job's name: only together with ``--name=``, so that no name but ours is in it."""

_QUEUE_HEADER = "JOBID|STATE|EXEC_HOST|USER|START_TIME|TIME_LEFT|REASON|."
_NAMED_HEADER = _QUEUE_HEADER.removesuffix(".") + "NAME|."

_STATE_NAMES = {
    # CONFIGURING, POWER_UP_NODE: the node boots for the job. The HOLDs can be released.
    JobState.PENDING: (
        "PENDING",
        "CONFIGURING",
        "EXPEDITING",
        "POWER_UP_NODE",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
        "RESV_DEL_HOLD",
        "SPECIAL_EXIT",
    ),
    JobState.RUNNING: (
        "RUNNING",
        "COMPLETING",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "STOPPED",
        "SUSPENDED",
    ),
    JobState.GONE: (
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "TIMEOUT",
    ),
    # A requeue may follow PREEMPTED, and follows the two FAILs, which are flags and no ends.
    # REVOKED: a sibling runs elsewhere in the federation.
    JobState.UNKNOWN: ("LAUNCH_FAILED", "PREEMPTED", "RECONFIG_FAIL", "REVOKED", "UPDATE_DB"),
}
STATES: dict[str, JobState] = {
    name: belief for belief, names in _STATE_NAMES.items() for name in names
}
"""Every state of squeue(1), "JOB STATE CODES", and every flag of later pages, up to 25.11."""


class Garbled(ValueError):
    """The answer cannot be understood, so nothing is known. The text says why."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """One row of ``squeue``. ``start`` is Slurm's own estimate while the job waits."""

    job_id: str
    state: str
    host: str
    user: str
    start: str
    left: str
    reason: str

    @property
    def belief(self) -> JobState:
        """A state that this version does not know is UNKNOWN, never GONE."""
        return STATES.get(self.state, JobState.UNKNOWN)


def parse_queue(text: str) -> dict[str, JobRow]:
    """Rows of ``squeue --states=all --format=QUEUE_FORMAT`` by job id.

    Raises :class:`Garbled` for anything but a header and whole rows. Lines before the header
    (warnings of plug-ins or wrappers) are passed over.
    """
    jobs: dict[str, JobRow] = {}
    for line in after_header(text, _QUEUE_HEADER, "squeue"):
        row = _job_row(line, [cell.strip() for cell in line.split("|")])
        jobs[row.job_id] = row
    return jobs


def parse_named(text: str) -> dict[str, JobRow]:
    """Rows of ``squeue --name=… --format=NAMED_FORMAT`` by name; of two jobs, the newer.

    Raises :class:`Garbled` as :func:`parse_queue` does.
    """
    jobs: dict[str, JobRow] = {}
    for line in after_header(text, _NAMED_HEADER, "squeue"):
        *cells, name, mark = (cell.strip() for cell in line.split("|"))
        row = _job_row(line, [*cells, mark])
        if name not in jobs or int(jobs[name].job_id) < int(row.job_id):
            jobs[name] = row
    return jobs


_JOB_ID = re.compile(r"[0-9]{1,12}")
_STATE = re.compile(r"[A-Z][A-Z0-9_+]{1,39}")


def _job_row(line: str, cells: list[str]) -> JobRow:
    if len(cells) != 8 or cells[-1] != "." or not _JOB_ID.fullmatch(cells[0]):
        raise Garbled(f"squeue: odd row {line[:80]!r}")
    if cells[1] not in STATES and not _STATE.fullmatch(cells[1]):
        raise Garbled(f"squeue: odd state {cells[1][:40]!r}")
    host = "" if cells[2] in ("n/a", "N/A", "(null)") else cells[2]
    # Few states and hosts for many jobs, of which the Hub keeps these.
    return JobRow(cells[0], sys.intern(cells[1]), sys.intern(host), *cells[3:7])


def after_header(text: str, header: str, command: str) -> list[str]:
    """The lines below ``header``. Raises :class:`Garbled` if it is not there whole."""
    if not text.endswith("\n"):
        raise Garbled(f"{command}: the answer is empty or cut off")
    lines = [line.rstrip() for line in text.splitlines()]
    try:
        return lines[lines.index(header) + 1 :]
    except ValueError:
        raise Garbled(f"{command}: no header in the answer, which begins {text[:80]!r}") from None


@functools.lru_cache(maxsize=1024)
def parse_span(text: str) -> int | None:
    """Seconds of squeue's ``days-hours:minutes:seconds``; None for UNLIMITED and the like."""
    match = re.fullmatch(r"(?:(\d{1,5})-)?(?:(\d{1,2}):)?(\d{1,2}):(\d{2})", text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def parse_job_id(text: str) -> tuple[str, str]:
    """Job id and cluster (empty: the local one) from ``sbatch --parsable``.

    Wrappers and plug-ins may print warnings before it, so the last line that is nothing but an
    id counts. Raises :class:`Garbled` if there is none.
    """
    for line in reversed(text.splitlines()):
        match = re.fullmatch(r"([1-9][0-9]{0,11})(?:;([A-Za-z0-9_.\-]{1,64}))?", line.strip())
        if match:
            return match.group(1), match.group(2) or ""
    raise Garbled(f"sbatch: no job id in {text[:80]!r}")


def parse_config(text: str) -> dict[str, str]:
    """``scontrol show config`` by key. Raises :class:`Garbled` without SLURM_VERSION."""
    found = re.findall(r"(?m)^(\S+)\s*= ?(.*?)\s*$", text)
    if "SLURM_VERSION" not in (settings := dict(found)):
        raise Garbled("scontrol show config: no SLURM_VERSION in the answer")
    return settings


def parse_exit(text: str) -> tuple[int, int] | None:
    """Exit status and signal from ``scontrol --oneliner show job``; None if it is not told."""
    match = re.search(r"\bExitCode=(\d{1,3}):(\d{1,3})\b", text)
    return (int(match.group(1)), int(match.group(2))) if match else None
