"""A session that runs, as its saved state tells it: all that a Hub needs of it for hours.

The spawner itself has some two hundred settings, of which a poll needs none. A Hub with thousands
of sessions therefore makes it when a session is started, stopped or asked for more than this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.jobstate import poll_status
from .pods import PodWatcher
from .starting import end_of


def verdict(
    pods: PodWatcher, namespace: str, name: str, uid: str, *, starting: bool, remove: bool
) -> tuple[int | None, str]:
    """``poll``'s answer for a pod, and why its session ended, if it did. Never waits.

    With ``remove``, what is left of an ended session is deleted: JupyterHub stops only servers
    that live, and a pod that failed would keep its name for ever.
    """
    pods.watch(namespace, name, uid, starting=starting)
    seen = pods.see(namespace, name, uid)
    status = poll_status(seen.state)
    if status is None:
        return None, ""
    pod = pods.pod(namespace, name)
    if remove and pod is not None and pod.uid:
        pods.owe(namespace, name, pod.uid, force=pod.doomed is not None)
    return status, seen.words


@dataclass(slots=True)
class KnownPod:
    """Answers as :class:`~.spawner.KubernetesBackend` with this state would."""

    pods: PodWatcher
    server: Any
    """Of JupyterHub's database; it knows the path below which the session's server answers."""

    namespace: str
    name: str
    uid: str
    url: str
    remove: bool = True
    ended: str = ""

    @property
    def ends_at(self) -> float | None:
        """When its deadline passes."""
        pod = self.pods.pod(self.namespace, self.name)
        return end_of(pod) if pod is not None and pod.uid == self.uid else None

    async def poll(self) -> int | None:
        """What the watcher last saw; never raises."""
        try:
            status, ended = verdict(
                self.pods, self.namespace, self.name, self.uid, starting=False, remove=self.remove
            )
        except Exception:
            self.pods.log.exception("Could not look at pod %s; it is kept", self.name)
            return None
        self.ended = self.ended or ended
        return status

    async def get_url(self) -> str:
        """Address and port, and the path below which the server answers."""
        row = self.server.server
        return f"{self.url}{row.base_url if row else ''}"


def known_session(
    pods: PodWatcher, server: Any, saved: Mapping[str, Any], remove: bool
) -> KnownPod | None:
    """The session of that state; None where it is not sure to have come up."""
    parts = [saved.get(key) for key in ("namespace", "pod_name", "uid", "url")]
    if not all(isinstance(part, str) and part for part in parts):
        return None
    namespace, name, uid, url = (str(part) for part in parts)
    return KnownPod(pods, server, namespace, name, uid, url, remove)
