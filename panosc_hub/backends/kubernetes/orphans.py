"""Pods of a Hub that none of its servers claims. Pure.

A pod is the Hub's by its label. It is claimed if a server that is not stopped has its name or its
session in the saved state. A server whose state says nothing about a pod (it begins at this
moment, or another version of this package saved it) claims every pod of its user and server
name: rather none than a living one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.state import Server, load_state
from .parse import pod_of

USER, SERVER = "hub.jupyter.org/username", "hub.jupyter.org/servername"
"""KubeSpawner's annotations of its pods: the names as they are."""


@dataclass(frozen=True, slots=True)
class HubPod:
    """One pod of the Hub; ``created`` in seconds since the epoch."""

    namespace: str
    name: str
    uid: str
    phase: str
    created: float
    session: str
    user: str
    server: str


def pods_of_hub(items: Iterable[Mapping[str, Any]], hub: str) -> list[HubPod]:
    """The Hub's pods that are not being removed already; ``hub`` is the label's value."""
    found = []
    for item in items:
        pod = pod_of(item)
        if pod.hub != hub or not pod.session or pod.doomed is not None:
            continue
        notes = item.get("metadata", {}).get("annotations") or {}
        found.append(
            HubPod(
                pod.namespace,
                pod.name,
                pod.uid,
                pod.phase,
                pod.created,
                pod.session,
                str(notes.get(USER, "")),
                str(notes.get(SERVER, "")),
            )
        )
    return found


def orphans(pods: Iterable[HubPod], servers: Iterable[Server], backend: str) -> list[HubPod]:
    """Those of ``pods`` that no server claims. ``servers`` must have been read after ``pods``:
    a server's state names its pod before the pod exists."""
    sessions: set[str] = set()
    unsure: set[tuple[str, str]] = set()
    for server in servers:
        state = load_state(server.state)
        part = state.backends.get(backend, {})
        if session := part.get("session"):
            sessions.add(str(session))
        elif state.active in ("", backend):
            unsure.add((server.user, server.name))
    return [p for p in pods if p.session not in sessions and (p.user, p.server) not in unsure]
