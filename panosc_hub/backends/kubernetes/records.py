"""What is kept of a pod, a node and an event: the few fields that anything here asks for.

A cluster may have ten thousand pods of others; of those only what they request counts.
Amounts are whole numbers by resource name: ``cpu`` in thousandths of a CPU, ``memory`` (and
other bytes) in bytes, everything else, such as ``nvidia.com/gpu``, as a count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SESSION = "panosc-hub/session"
"""Label of a pod: which start of a session it is. Unique, and saved before the pod is made."""

HUB = "panosc-hub/hub"
"""Label of a pod: which Hub made it, for two may share a namespace."""

NOTEBOOK = "notebook"
"""The container of the server; all others are helpers of it."""

Amounts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Container:
    """The server's container. ``state`` is waiting, running or terminated, empty if not told."""

    state: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    restarts: int = 0
    last_reason: str = ""
    """Why it ended the last time, if it was started again since."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One expression of a node affinity. ``field``: about the node's name, not a label."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    field: bool = False


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A toleration."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Where:
    """On which nodes a pod may be: the ones with all of ``selector``, that meet every condition
    of any one term (if there are terms), and whose taints are tolerated."""

    selector: tuple[tuple[str, str], ...] = ()
    terms: tuple[tuple[Condition, ...], ...] = ()
    tolerations: tuple[Tolerance, ...] = ()


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod. Times in seconds since the epoch.

    ``where`` is known while a node is looked for; None for a pod that has one, or waits for its
    scheduling gates. ``fixed`` is whether it belongs to its node, as those of a DaemonSet do.

    ``unscheduled`` is the scheduler's own sentence while no node is found; ``doomed`` is when the
    grace of a deletion ends; ``disruption`` is the cluster's word for why it ends the pod
    (``PreemptionByScheduler``, ``DeletionByTaintManager``, ``EvictionByEvictionAPI`` …).
    """

    namespace: str
    name: str
    uid: str
    phase: str = ""
    node: str = ""
    ip: str = ""
    session: str = ""
    hub: str = ""
    created: float = 0.0
    started: float | None = None
    deadline: int | None = None
    doomed: float | None = None
    reason: str = ""
    message: str = ""
    unscheduled: str = ""
    disruption: str = ""
    priority: int = 0
    requests: Amounts = field(default_factory=dict)
    notebook: Container = field(default_factory=Container)
    where: Where | None = None
    fixed: bool = False

    @property
    def over(self) -> bool:
        """Whether it ended; such a pod requests nothing any more."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def running(self) -> bool:
        """Whether its server's container runs at an address, other containers or not."""
        return (
            self.phase == "Running"
            and bool(self.ip)
            and self.doomed is None
            and self.notebook.state == "running"
        )


@dataclass(frozen=True, slots=True)
class Taint:
    """Keeps pods away that do not tolerate it."""

    key: str
    value: str = ""
    effect: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """One node; ``usable`` is whether it is ready and not cordoned."""

    name: str
    usable: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    allocatable: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodEvent:
    """One event about a pod, the newest of its kind."""

    uid: str
    pod: str
    reason: str
    message: str
    warning: bool
    count: int
    at: float
