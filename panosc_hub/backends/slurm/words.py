"""Slurm's words in sentences for the user. Pure."""

from __future__ import annotations

import functools
from datetime import datetime

from ...core.jobstate import JobState, Sighting
from .parse import JobRow

_WAITING = {
    "Priority": "other jobs are ahead in the queue",
    "Resources": "it is next, as soon as enough CPUs, memory or GPUs are free",
    "None": "Slurm has not looked at it yet",
    "BeginTime": "its start time has not come yet",
    "Reservation": "its reservation has not begun yet",
    "JobHeldAdmin": "an administrator holds the job",
    "JobHeldUser": "the job is held; release it or stop the session",
    "Licenses": "no licence is free",
    "PartitionDown": "the partition is closed at the moment",
    "PartitionInactive": "the partition is closed at the moment",
    "PartitionNodeLimit": "the partition does not allow so many nodes",
    "PartitionTimeLimit": "the partition does not allow such a long session; ask for less time",
    "ReqNodeNotAvail": "the nodes it needs are down or reserved, perhaps for maintenance",
    "NodeDown": "the node it needs is down",
    "BadConstraints": "no node can ever satisfy it; choose another profile",
    "AssocMaxJobsLimit": "your account already runs as many jobs as it may",
    "QOSMaxJobsPerUserLimit": "you already run as many jobs as you may",
    "QOSMaxSubmitJobPerUserLimit": "you already have as many jobs as you may",
    "AssociationJobLimit": "your account already runs as many jobs as it may",
    "launch_failed_requeued_held": "the node could not start the job; tell the support",
}

_ENDED = {
    "BOOT_FAIL": "the node could not be booted",
    "CANCELLED": "the job was cancelled on the cluster",
    "COMPLETED": "the notebook server ended by itself",
    "DEADLINE": "the job's deadline passed",
    "FAILED": "the job failed",
    "NODE_FAIL": "the node failed",
    "OUT_OF_MEMORY": "it used more memory than it asked for",
    "PREEMPTED": "a job with higher priority took its place",
    "TIMEOUT": "it reached its time limit",
}
_ADVICE = {
    "OUT_OF_MEMORY": " Start again with more memory.",
    "TIMEOUT": " Start again, with more time if you need it.",
    "NODE_FAIL": " Start again.",
    "PREEMPTED": " Start again later.",
}
_ALIVE = {
    "COMPLETING": "The job is ending.",
    "CONFIGURING": "A node is being prepared for the job.",
    "EXPEDITING": "Slurm put the job back into the queue, before all others.",
    "LAUNCH_FAILED": "The node could not start the job; Slurm may put it back into the queue.",
    "POWER_UP_NODE": "A node is being switched on for the job.",
    "PREEMPTED": "A job with higher priority is taking the place of this one.",
    "RECONFIG_FAIL": "The node could not be set up; Slurm may put the job back into the queue.",
    "REQUEUED": "Slurm is putting the job back into the queue.",
    "REQUEUE_HOLD": "Slurm put the job back and holds it; tell the facility's support.",
    "SPECIAL_EXIT": "Slurm put the job back and holds it; tell the facility's support.",
    "STOPPED": "Slurm has paused the job.",
    "SUSPENDED": "Slurm has paused the job; it goes on later.",
}
UNSEEN = Sighting(JobState.UNKNOWN, words="Waiting for SLURM's answer.")
MISSING = Sighting(JobState.UNKNOWN, words="SLURM's last answer did not list the job.")
VANISHED = Sighting(
    JobState.GONE, reason="not listed", words="SLURM does not know the job any more."
)


def waiting(reason: str) -> str:
    """Why a job waits, in words; a reason we have no words for is shown as Slurm wrote it."""
    key = reason.split(",")[0].strip("() ")
    if key.startswith("Nodes required for job are DOWN"):
        return "the nodes it needs are down, drained or kept for jobs with higher priority"
    if key in _WAITING:
        return _WAITING[key]
    if key.startswith(("QOSMax", "QOSGrp", "AssocMax", "AssocGrp", "MaxCpuPer", "MaxMemPer")):
        return f"a limit of your account is reached ({key})"
    return f"SLURM's reason is {reason[:100]}"


def clock(at: float, now: float) -> str:
    """A time to come as people say it: ``"now"``, ``"about 14:20 (in 25 min)"``, ``"about
    Mon 23 Nov, 09:30 (in 2 days)"``; the Hub's local time, hence also the span."""
    left = at - now
    if left < 60:
        return "now"
    then, today = datetime.fromtimestamp(at), datetime.fromtimestamp(now)
    day = "" if then.date() == today.date() else f"{then:%a} {then.day} {then:%b}, "
    minutes = int(left // 60)
    span = f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
    span = span if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"
    return f"about {day}{then:%H:%M} (in {span})"


def standing(ahead: int | None, starts: float | None, now: float) -> str:
    """Where a job stands in the queue, as the end of a sentence; empty if nothing is known."""
    parts = []
    if ahead is not None:
        jobs = "job is" if ahead == 1 else "jobs are"
        parts.append(f"{ahead} {jobs} ahead of it" if ahead else "no job is ahead of it")
    if starts is not None and starts > now:
        parts.append(f"Slurm expects it to start {clock(starts, now)}")
    return ", ".join(parts)


def ended(
    state: str, exit_code: tuple[int, int] | None = None, by_owner: bool | None = None
) -> str:
    """Why a job ended: a sentence, with what to do where that is clear.

    ``by_owner``: whether the job's own account cancelled it; None if that is not known.
    """
    text = f"The session ended: {_ENDED.get(state, f'SLURM says {state}')}"
    if exit_code and state == "FAILED":
        status, number = exit_code
        text += f" (signal {number})" if number else f" (exit status {status})"
        if number == 9 or status == 137:
            text += ", perhaps because it used more memory than it asked for"
    if state == "CANCELLED":
        who = "with your account" if by_owner else "by an administrator"
        text += f", {'by you or an administrator' if by_owner is None else who}"
    return text + "." + _ADVICE.get(state, "")


def sighting(row: JobRow) -> Sighting:
    """What one row of squeue tells. ``reason`` is the state, or why the job waits."""
    return _sighting(row.belief, row.state, row.host, row.reason)


@functools.lru_cache(maxsize=1024)
def _sighting(belief: JobState, state: str, host: str, reason: str) -> Sighting:
    """Remembered: a thousand jobs run in few states on few hosts."""
    if belief is JobState.GONE:
        return Sighting(belief, host, state, ended(state))
    if state == "PENDING":
        return Sighting(belief, "", reason, f"Waiting in the queue: {waiting(reason)}.")
    words = _ALIVE.get(state, "The job runs." if belief is JobState.RUNNING else "")
    return Sighting(belief, host, state, words or f"SLURM says {state}.")
