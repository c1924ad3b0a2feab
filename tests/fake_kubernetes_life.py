"""What a cluster does with pods by itself, at a tempo that a test sets: scheduler and kubelet."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tests.fake_kubernetes_store import Object, Scope, Store, stamp


@dataclass
class Life:
    """Seconds for each step; None: that step is never done."""

    schedule: float | None = 0.0
    start: float | None = 0.01
    stop: float | None = 0.01
    node: str = "node-1"
    ip: str = "127.0.0.1"


@dataclass
class Cluster:
    """Brings the pods of a store to life, as long as it is entered as a task."""

    store: Store
    life: Life = field(default_factory=Life)
    tells: bool = True
    """Whether there are events."""

    def __post_init__(self) -> None:
        self._timers: set[asyncio.TimerHandle] = set()

    def born(self, pod: Object) -> None:
        self._status(pod, phase="Pending", qosClass="Burstable")
        self._later(self.life.schedule, self._schedule, pod)

    def doomed(self, pod: Object) -> None:
        if pod["metadata"].get("deletionGracePeriodSeconds"):
            self._later(self.life.stop, self._gone, pod)

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _later(self, after: float | None, do: Any, pod: Object) -> None:
        if after is None:
            return
        loop = asyncio.get_running_loop()

        def step() -> None:
            self._timers.discard(timer)
            now = self._same(pod)
            if now is not None:
                do(now)

        timer = loop.call_later(after, step)
        self._timers.add(timer)

    def _same(self, pod: Object) -> Object | None:
        meta = pod["metadata"]
        now = self.store.objects["pods"].get((meta["namespace"], meta["name"]))
        return now if now is not None and now["metadata"]["uid"] == meta["uid"] else None

    def _schedule(self, pod: Object) -> None:
        self._change(pod, {"spec": {"nodeName": self.life.node}})
        ok = {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp()}
        self._status(pod, conditions=[ok])
        meta = pod["metadata"]
        self.tell(
            pod,
            "Scheduled",
            f"Successfully assigned {meta['namespace']}/{meta['name']} to {self.life.node}",
        )
        self._later(self.life.start, self._start, pod)

    def _start(self, pod: Object) -> None:
        for reason in ("Pulled", "Created", "Started"):
            self.tell(pod, reason, f"{reason} container notebook")
        self.run(pod)

    def _gone(self, pod: Object) -> None:
        meta = pod["metadata"]
        zero = {"deletionGracePeriodSeconds": 0}
        self.store.update("pods", meta["namespace"], meta["name"], {"metadata": zero})

    def _change(self, pod: Object, change: Object) -> Object:
        meta = pod["metadata"]
        return self.store.update("pods", meta["namespace"], meta["name"], change)

    def _status(self, pod: Object, **status: Any) -> Object:
        return self._change(pod, {"status": status})

    # For tests: what else can become of a pod.

    def run(self, pod: Object) -> Object:
        at = stamp()
        containers = [
            self._container(c["name"], {"running": {"startedAt": at}}, ready=True)
            for c in pod["spec"].get("containers", [])
        ]
        conditions = [
            {"type": name, "status": "True", "lastTransitionTime": at}
            for name in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ]
        return self._status(
            pod,
            phase="Running",
            podIP=self.life.ip,
            startTime=at,
            conditions=conditions,
            containerStatuses=containers,
        )

    def wait(self, pod: Object, reason: str, message: str = "") -> Object:
        """Its server's container waits, for that reason."""
        state = {"waiting": {"reason": reason, "message": message}}
        return self._status(pod, containerStatuses=[self._container("notebook", state)])

    def end(
        self,
        pod: Object,
        *,
        code: int = 0,
        reason: str = "Completed",
        why: str = "",
        text: str = "",
    ) -> Object:
        """Its server's container ends; ``why`` is the pod's own reason, such as Evicted."""
        state = {"terminated": {"exitCode": code, "reason": reason, "finishedAt": stamp()}}
        return self._status(
            pod,
            phase="Succeeded" if code == 0 else "Failed",
            containerStatuses=[self._container("notebook", state)],
            **({"reason": why, "message": text} if why else {}),
        )

    def disrupt(self, pod: Object, reason: str) -> Object:
        """The cluster says why it will end it."""
        told = {"type": "DisruptionTarget", "status": "True", "reason": reason}
        kept = pod.get("status", {}).get("conditions", [])
        return self._status(pod, conditions=[*kept, told])

    def tell(self, pod: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """An event about it."""
        if not self.tells:
            return
        meta, at = pod["metadata"], stamp()
        body = {
            "metadata": {"generateName": f"{meta['name']}."},
            "involvedObject": {
                "kind": "Pod",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "reason": reason,
            "message": message,
            "type": "Warning" if warning else "Normal",
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        self.store.create("events", meta["namespace"], body)

    def _container(self, name: str, state: Object, *, ready: bool = False) -> Object:
        return {"name": name, "ready": ready, "restartCount": 0, "state": state}

    def pods(self) -> list[Object]:
        return self.store.items(Scope("pods"))
