"""Why a session that starts is not there yet, and whether waiting helps. Pure.

The words of Kubernetes are those of the kubelet (``pkg/kubelet/images/types.go``,
``pkg/kubelet/kuberuntime``) and of the scheduler; sentences here name neither nodes nor paths of
nodes, which are nobody's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from .records import Pod, PodEvent


class Kind(StrEnum):
    """What is waited for; each has its own patience."""

    NODE = "unschedulable"
    IMAGE = "image"
    MOUNT = "mount"
    SETUP = "container"
    CRASH = "crash"
    PLAIN = "starting"


@dataclass(frozen=True, slots=True)
class Finding:
    """``hopeless``: waiting cannot help. ``sentence`` is for the user, without what to do."""

    kind: Kind
    sentence: str
    progress: int = 20
    hopeless: bool = False


_PULL = {
    "ErrImagePull": "the image cannot be pulled",
    "ImagePullBackOff": "the image cannot be pulled",
    "RegistryUnavailable": "the image's registry does not answer",
    "ErrImageNeverPull": "the image is not on the node, and pulling it is switched off",
    "InvalidImageName": "the image's name is not a valid one",
    "ImageInspectError": "the image on the node is damaged",
    "SignatureValidationFailed": "the image's signature is not valid",
}
_NEVER = {"ErrImageNeverPull", "InvalidImageName", "SignatureValidationFailed"}
_MOUNT_EVENTS = {"FailedMount", "FailedAttachVolume", "FailedMapVolume"}
_VOLUME = re.compile(r'(?:for volume |volumes?=\[?|volume )"?([a-z0-9][a-z0-9.\-]*)"?')
_PULL_WHY = (
    (re.compile(r"not found|manifest unknown|does not exist", re.I), "there is no such image"),
    (
        re.compile(r"unauthorized|authentication|denied|forbidden", re.I),
        "the cluster may not read it",
    ),
    (
        re.compile(r"timeout|no such host|connection refused|i/o|TLS|dial", re.I),
        "its registry does not answer",
    ),
    (re.compile(r"no space left", re.I), "the node's disk is full"),
    (re.compile(r"no match for platform", re.I), "it is made for another processor"),
)


def diagnose(
    pod: Pod, events: Iterable[PodEvent], areas: Mapping[str, str], image: str = ""
) -> Finding:
    """What a pod that is not running yet waits for.

    ``areas``: our volumes' names -> what a person calls them ("data area raw of HG-123").
    """
    events = list(events)
    container = pod.notebook
    if container.state == "terminated" or container.reason == "CrashLoopBackOff":
        return _crash(pod)
    if container.reason in _PULL:
        return _image(pod, image)
    if container.reason in ("CreateContainerConfigError", "CreateContainerError"):
        return Finding(Kind.SETUP, f"the container cannot be made: {_safe(container.message)}", 40)
    if container.reason in ("RunContainerError", "StartError", "ContainerCannotRun"):
        return _crash(pod)
    if not pod.node:
        return Finding(Kind.NODE, "Waiting for a free place on the cluster", 15)
    if failed := [e for e in events if e.reason in _MOUNT_EVENTS and e.warning]:
        return _mount(max(failed, key=lambda e: e.at), areas)
    if any(e.reason == "FailedCreatePodSandBox" for e in events):
        return Finding(Kind.SETUP, "the node cannot set up the pod's network or sandbox", 30)
    pulling = {e.reason for e in events} & {"Pulling", "Pulled"}
    if pulling == {"Pulling"}:
        return Finding(
            Kind.PLAIN, "The image is being pulled to the node; a new one takes minutes", 35
        )
    if pod.phase == "Running":
        return Finding(Kind.PLAIN, "The pod runs; the notebook server is starting", 50)
    return Finding(Kind.PLAIN, "A node was found; the pod is being set up there", 30)


def _image(pod: Pod, image: str) -> Finding:
    reason, message = pod.notebook.reason, pod.notebook.message
    why = next((words for pattern, words in _PULL_WHY if pattern.search(message)), "")
    named = f" ({image})" if image else ""
    sentence = _PULL[reason] + named + (f": {why}" if why and reason not in _NEVER else "")
    return Finding(Kind.IMAGE, sentence, 35, hopeless=reason in _NEVER)


def _mount(event: PodEvent, areas: Mapping[str, str]) -> Finding:
    found = next((name for name in areas if name in event.message), "")
    if found:
        return Finding(Kind.MOUNT, f"the {areas[found]} cannot be mounted", 30)
    named = _VOLUME.search(event.message)
    what = f"the volume {named[1]}" if named else "a volume"
    return Finding(Kind.MOUNT, f"{what} cannot be mounted", 30)


def _crash(pod: Pod) -> Finding:
    container = pod.notebook
    why = "the notebook server ended right after its start"
    if "OOMKilled" in (container.reason, container.last_reason):
        why = "it needed more memory than it has; choose more"
    elif container.reason in ("RunContainerError", "StartError", "ContainerCannotRun"):
        why = f"the image's command cannot be run: {_safe(container.message)}"
    elif container.exit_code:
        why += f" with status {container.exit_code}"
    return Finding(Kind.CRASH, why, 50, hopeless=True)


def _safe(message: str) -> str:
    """What a runtime says, cut short and in one line."""
    return " ".join(message.split())[:200].rstrip(".") or "no reason is told"
