"""What a pod, or a refusal of the API, is in sentences for the user. Pure.

No sentence names a node, an address or a path of the cluster: none helps its reader.
"""

from __future__ import annotations

import time

from ...core.jobstate import JobState, Sighting
from .records import Pod

LOST_GRACE = 30.0
"""Seconds after a deletion's grace for which a node that was lost may still come back."""

UNSEEN = Sighting(JobState.UNKNOWN, words="Waiting for Kubernetes' answer.")
MISSING = Sighting(
    JobState.UNKNOWN, words="Kubernetes' last answer did not list the session's pod."
)
VANISHED = Sighting(
    JobState.GONE,
    reason="NotFound",
    words="The session's pod was removed on the cluster. Start again.",
)

_STOPPED = "The session ended"
_DISRUPTED = {
    "PreemptionByScheduler": "a session with higher priority took its place. Start again later.",
    "DeletionByTaintManager": "its node was lost. Start again.",
    "DeletionByPodGC": "its node was lost. Start again.",
    "EvictionByEvictionAPI": "its node is taken out of use. Start again.",
    "TerminationByKubelet": "its node had not enough memory or disk left. Start again.",
}
_REASONS = {
    "Evicted": "its node had not enough memory or disk left. Start again.",
    "NodeLost": "its node was lost. Start again.",
    "NodeShutdown": "its node was switched off. Start again.",
    "Terminated": "its node was switched off. Start again.",
    "Shutdown": "its node was switched off. Start again.",
    "Preempting": "a pod that its node needs took its place. Start again later.",
    "DeadlineExceeded": "it reached its time limit. Start again, with more time if you need it.",
    "UnexpectedAdmissionError": "its node could not give it what it asked for. Start again.",
    "OutOfcpu": "its node had no CPUs left. Start again.",
    "OutOfmemory": "its node had no memory left. Start again.",
    "OutOfpods": "its node had no place left. Start again.",
    "NodeAffinity": "its node is not fit for it any more. Start again.",
}
_LOST = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})


def away(status: int) -> str:
    """Why nothing is known now, by the HTTP status of the answer (0: there was none)."""
    if status == 401:
        return (
            "The Kubernetes cluster does not accept the Hub's credentials; "
            "tell the facility's support."
        )
    if status == 429:
        return "The Kubernetes cluster has too much to do at the moment; try again in a minute."
    return "The Kubernetes cluster does not answer at the moment; try again in a minute."


def refused(status: int, why: str, message: str) -> tuple[str, str]:
    """A sentence about a refusal, and the metric's word for it."""
    if status == 403 and "exceeded quota" in message:
        return (
            "The cluster's quota is used up; stop another session or choose a smaller profile.",
            "quota",
        )
    if status == 403:
        return (
            "The Hub is not allowed to do this on the cluster; tell the facility's support.",
            "forbidden",
        )
    if status == 404:
        return "The cluster does not have what was asked for.", "not_found"
    if status == 409:
        return "The cluster already has something of this name.", "conflict"
    text = " ".join(message.split())[:200].rstrip(".")
    return f"The cluster refused the request: {text or why or status}.", "kubernetes_refused"


def ended(pod: Pod) -> str:
    """Why a pod ended, in a sentence, with what to do where that is clear."""
    container = pod.notebook
    if container.reason == "OOMKilled":
        return f"{_STOPPED}: it used more memory than it has; start again with more memory."
    if pod.reason in _REASONS:
        return f"{_STOPPED}: {_REASONS[pod.reason]}"
    if pod.reason.startswith("OutOf"):
        return f"{_STOPPED}: its node had no room left for what it asked for. Start again."
    if pod.disruption:
        told = _DISRUPTED.get(pod.disruption, "the cluster needed its place. Start again.")
        return f"{_STOPPED}: {told}"
    if container.exit_code == 0 or (container.exit_code is None and pod.phase == "Succeeded"):
        return f"{_STOPPED}: the notebook server ended by itself."
    if container.exit_code in (137, 143):
        return f"{_STOPPED}: it was stopped on the cluster."
    if container.exit_code is not None:
        return f"{_STOPPED}: the notebook server failed (exit status {container.exit_code})."
    return f"{_STOPPED}: the cluster reports that its pod failed."


def removed(pod: Pod) -> Sighting:
    """The last that was seen of a pod that is not there any more."""
    told = (
        pod.over
        or pod.notebook.state == "terminated"
        or bool(pod.disruption)
        or pod.reason in _REASONS
    )
    if not told:
        return VANISHED
    return Sighting(JobState.GONE, pod.ip, _reason(pod), ended(pod))


def sighting(pod: Pod, now: float | None = None) -> Sighting:
    """What a pod that is there tells."""
    if pod.over or pod.notebook.state == "terminated":
        return Sighting(JobState.GONE, pod.ip, _reason(pod), ended(pod))
    if pod.doomed is not None:
        return _doomed(pod, time.time() if now is None else now)
    if pod.phase == "Unknown":
        return Sighting(JobState.UNKNOWN, pod.ip, pod.reason, "The session's node does not answer.")
    if pod.running:
        return Sighting(JobState.RUNNING, pod.ip, pod.reason, "The session runs.")
    return Sighting(JobState.PENDING, pod.ip, _reason(pod), _waiting(pod))


def _doomed(pod: Pod, now: float) -> Sighting:
    """Somebody, or the cluster, deletes it. On a lost node that never comes to an end."""
    assert pod.doomed is not None
    lost = pod.disruption in _LOST or pod.reason == "NodeLost"
    if lost and now > pod.doomed + LOST_GRACE:
        return Sighting(JobState.GONE, pod.ip, "NodeLost", f"{_STOPPED}: {_REASONS['NodeLost']}")
    state = JobState.RUNNING if pod.notebook.state == "running" else JobState.PENDING
    text = "The session's node does not answer." if lost else "The session is being stopped."
    return Sighting(state, pod.ip, pod.disruption or "Terminating", text)


def _waiting(pod: Pod) -> str:
    if not pod.node:
        return "The session waits for a place on the cluster."
    if pod.notebook.restarts:
        return "The notebook server ended and is being started again."
    return "The session's container is being prepared."


def _reason(pod: Pod) -> str:
    return pod.notebook.reason or pod.reason or pod.disruption or pod.phase
