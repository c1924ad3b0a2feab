"""What a cluster has, what of it is in use, and how many sessions fit now. Pure.

Counted as the scheduler counts: a node's allocatable amounts less what the pods on it request,
node by node, for a session never spans two. Pods that are ending still have what they requested.

Pods that wait for a node take theirs too: in the scheduler's order (priority, then age) each is
thought of as being on the first node, by name, that it may be on and that has room for it. One
that fits nowhere takes nothing. So where they will really be is a guess, and that they will be
somewhere is not. Pods of a negative priority are placeholders: they give way to a session, so
they neither use anything nor stand in line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ...core.profiles import Profile, Resources
from .options import KubernetesOptions
from .parse import amounts, where_of
from .placing import may_be_on
from .records import Amounts, Node, Pod, Where
from .settings import gpus, listed, require, required

PODS = "pods"
"""A node takes only so many pods (``maxPods``), and each is one."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one session asks the scheduler for."""

    requests: Amounts
    where: Where = field(default_factory=Where)


def need_of(
    profile: Profile,
    resources: Resources,
    options: KubernetesOptions,
    configured: Mapping[str, Any] | None = None,
) -> Need:
    """What a session with ``resources`` needs; ``configured`` is as in :mod:`.settings`."""
    has = configured or {}
    cpus = options.guarantee.millicpus(resources.cpus * 1000)
    requests = {
        **amounts(has.get("extra_resource_guarantees")),
        "cpu": cpus,
        "memory": options.guarantee.bytes(resources.memory),
        **gpus(profile, resources, options),
    }
    return Need(
        {name: count for name, count in requests.items() if count > 0},
        where_for(profile, resources, options, has),
    )


def where_for(
    profile: Profile,
    resources: Resources,
    options: KubernetesOptions,
    configured: Mapping[str, Any],
) -> Where:
    """On which nodes such a session may be."""
    terms = require(
        listed(configured.get("node_affinity_required")), required(profile, resources, options)
    )
    tolerations = [
        *listed(configured.get("tolerations")),
        *(each.to_dict() for each in options.tolerations),
    ]
    affinity = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return where_of(
        {
            "nodeSelector": {**(configured.get("node_selector") or {}), **options.node_selector},
            "tolerations": tolerations,
            "affinity": {"nodeAffinity": affinity},
        }
    )


class Look:
    """One look at nodes and pods; what is reckoned of it is reckoned once, for all profiles.

    ``pods`` None: those of others cannot be seen, so what is in use is not known.
    """

    def __init__(self, nodes: Iterable[Node], pods: Iterable[Pod] | None) -> None:
        every = sorted(nodes, key=lambda node: node.name)
        self.nodes = tuple(node for node in every if node.usable)
        self.out = tuple(node for node in every if not node.usable)
        """Nodes that are cordoned or not ready."""

        self.counted = pods is not None
        self.room: dict[str, dict[str, int]] = {}
        """By node: what it has besides the pods that belong to it."""

        self.free: dict[str, dict[str, int]] = {}
        """By node: what no pod on it requests. Below zero where a node has become smaller."""

        self.waiting: tuple[Pod, ...] = ()
        """Pods without a node, in the scheduler's order."""

        self._eligible: dict[Where, tuple[Node, ...]] = {}
        for node in self.nodes:
            self.room[node.name] = dict(node.allocatable)
            self.free[node.name] = dict(node.allocatable)
        waiting = []
        for pod in pods or ():
            if pod.over:
                continue
            if pod.node:
                self._count(pod)
            elif pod.where is not None and pod.doomed is None and pod.priority >= 0:
                waiting.append(pod)
        self.waiting = tuple(sorted(waiting, key=order))

    def _count(self, pod: Pod) -> None:
        free = self.free.get(pod.node)
        if free is None:
            return
        for amounts_left in (free, self.room[pod.node]) if pod.fixed else (free,):
            if pod.priority < 0 and not pod.fixed:
                break
            for name, count in pod.requests.items():
                if name in amounts_left:
                    amounts_left[name] -= count
            if PODS in amounts_left:
                amounts_left[PODS] -= 1

    def eligible(self, where: Where) -> tuple[Node, ...]:
        """The usable nodes that such a pod may be on."""
        found = self._eligible.get(where)
        if found is None:
            found = tuple(node for node in self.nodes if may_be_on(where, node))
            self._eligible[where] = found
        return found

    @cached_property
    def left(self) -> Mapping[str, Mapping[str, int]]:
        """``free`` once the waiting pods are where they fit."""
        left = {name: dict(free) for name, free in self.free.items()}
        # Of equal pods each looks on from where the last one found room.
        begin: dict[tuple[Where, tuple[tuple[str, int], ...]], int] = {}
        for pod in self.waiting:
            assert pod.where is not None  # or it were not waiting
            shape = (pod.where, tuple(sorted(pod.requests.items())))
            nodes = self.eligible(pod.where)
            at = begin.get(shape, 0)
            while at < len(nodes) and not fits(pod.requests, left[nodes[at].name]):
                at += 1
            begin[shape] = at
            if at < len(nodes):
                here = left[nodes[at].name]
                for name, count in pod.requests.items():
                    here[name] -= count
                if PODS in here:
                    here[PODS] -= 1
        return left


def order(pod: Pod) -> tuple[int, float, str, str]:
    """The scheduler's: priority, then age."""
    return (-pod.priority, pod.created, pod.namespace, pod.name)


def times(requests: Amounts, free: Mapping[str, int]) -> int:
    """How many pods with ``requests`` fit into ``free``."""
    most = max(0, free.get(PODS, 0)) if PODS in free else 2**31
    for name, count in requests.items():
        if count > 0:
            most = min(most, free.get(name, 0) // count)
            if most <= 0:
                return 0
    return most


def fits(requests: Amounts, free: Mapping[str, int]) -> bool:
    """Whether one does."""
    if free.get(PODS, 1) < 1:
        return False
    return all(free.get(name, 0) >= count for name, count in requests.items() if count > 0)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How it is on the nodes that a session may be on.

    ``free``: sessions that fit now. ``possible``: whether one would fit on any of the nodes if
    that were empty. ``total`` and ``used``: of each resource that it asks for, on all of them.
    """

    nodes: int
    possible: bool
    free: int
    total: Amounts
    used: Amounts


def capacity(need: Need, look: Look) -> Capacity:
    """The numbers of ``need`` in ``look``."""
    nodes = look.eligible(need.where)
    total = dict.fromkeys(need.requests, 0)
    used = dict(total)
    for node in nodes:
        free = look.free[node.name]
        for name in total:
            has = node.allocatable.get(name, 0)
            total[name] += has
            used[name] += has - min(has, max(0, free.get(name, 0)))
    return Capacity(
        nodes=len(nodes),
        possible=any(fits(need.requests, look.room[node.name]) for node in nodes),
        free=sum(times(need.requests, look.left[node.name]) for node in nodes),
        total=total,
        used=used,
    )
