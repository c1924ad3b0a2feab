"""What a pod without a node waits for, in words that everybody understands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...core.profiles import Resources
from ...core.quantities import show_memory
from .capacity import PODS, Look, fits, order
from .options import KubernetesOptions
from .placing import may_be_on
from .records import Node, Pod

_USUAL = ("cpu", "memory", "ephemeral-storage", PODS)
_LETTER_NUMBER = re.compile(r"[a-z]{1,4}\d{1,4}[a-z]?")


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why it waits (empty: not for room, as far as can be told), and whether any node of the
    cluster could ever hold it."""

    words: str
    possible: bool = True


def waiting(pod: Pod, look: Look, called: Mapping[str, str] | None = None) -> Waiting:
    """What ``pod`` waits for: "Waiting for 1 × A100: 4 of 4 in use, 2 ahead of you".

    ``called`` is what people call a resource (see :func:`names`). "Ahead" are the pods without a
    node that ask for the same, may be on one of the same nodes, and come first in the
    scheduler's order; those of a higher priority come first however young they are.
    """
    if pod.where is None:
        return Waiting("")
    needs = {name: count for name, count in pod.requests.items() if count > 0}
    nodes = look.eligible(pod.where)
    if not nodes:
        if any(may_be_on(pod.where, node) for node in look.out):
            # They may come back, as after a restart of the cluster's own programs.
            return Waiting("Waiting for nodes that are out of service now")
        return Waiting("no node of the cluster is of the kind that this session asks for", False)
    say = _Words(needs, called or {})
    if not any(fits(needs, look.room[node.name]) for node in nodes):
        return Waiting(say.impossible(nodes, look), False)
    if not look.counted:
        return Waiting("")
    # One after the other, the rarest first: nodes without a free GPU need not be asked for CPUs.
    left, beside = nodes, ""
    for name in say.in_order:
        free = [node for node in left if look.free[node.name].get(name, 0) >= needs.get(name, 1)]
        if not free:
            return Waiting(say.lacking(name, left, beside, look) + _ahead(pod, name, left, look))
        if name not in _USUAL and len(free) < len(left):
            beside = f" on a node with {say.amount(name)} free"
        left = tuple(free)
    line = _ahead(pod, "", left, look)
    # There is room, so it is their turn, or something else is in the way.
    return Waiting(f"Waiting for a node: {line.removeprefix(', ')}" if line else "")


def names(resources: Resources, options: KubernetesOptions, shared: bool) -> dict[str, str]:
    """What the person who chose ``resources`` calls them."""
    kind = resources.gpus.type
    if not kind:
        return {}
    shown = kind.upper() if _LETTER_NUMBER.fullmatch(kind) else kind
    if shared:
        shown = f"share of an {shown}" if shown[0] in "AEFHILMNORSX" else f"share of a {shown}"
    return {options.resource_of(kind, shared): shown}


def _ahead(pod: Pod, resource: str, nodes: Iterable[Node], look: Look) -> str:
    there, ours = {node.name for node in nodes}, order(pod)
    count = sum(
        1
        for other in look.waiting
        if other.uid != pod.uid
        and order(other) < ours
        and (not resource or resource == PODS or other.requests.get(resource, 0) > 0)
        and other.where is not None
        and any(node.name in there for node in look.eligible(other.where))
    )
    return f", {count} ahead of you" if count else ""


class _Words:
    def __init__(self, needs: Mapping[str, int], called: Mapping[str, str]) -> None:
        self._needs = needs
        self._called = called
        rare = sorted(name for name in needs if name not in _USUAL)
        self.in_order = (*rare, *(name for name in _USUAL if name in needs or name == PODS))

    def amount(self, name: str, count: int | None = None) -> str:
        """``1 × A100``, ``4 CPUs``, ``8 GB memory``."""
        number = self._needs.get(name, 1) if count is None else count
        if name == "cpu":
            cpus = number / 1000
            return f"{cpus:g} CPU" if cpus == 1 else f"{cpus:g} CPUs"
        if name == "memory":
            return f"{show_memory(number)} memory"
        if name == "ephemeral-storage":
            return f"{show_memory(number)} temporary disk space"
        return f"{number} × {self._called.get(name) or _plain(name)}"

    def lacking(self, name: str, nodes: Iterable[Node], beside: str, look: Look) -> str:
        """The resource that no node has enough of now."""
        if name == PODS:
            return "Waiting for a place: every node has as many pods as it may"
        total = idle = most = 0
        for node in nodes:
            has = node.allocatable.get(name, 0)
            here = min(has, max(0, look.free[node.name].get(name, 0)))
            total, idle, most = total + has, idle + here, max(most, here)
        start = f"Waiting for {self.amount(name)}{beside}"
        show = _shown.get(name, str)
        if idle >= self._needs[name]:
            return f"{start} on one node: at most {show(most)} of {show(total)} free together"
        return f"{start}: {show(total - idle)} of {show(total)} in use"

    def impossible(self, nodes: Iterable[Node], look: Look) -> str:
        """That no node has it, even when nobody else is there."""
        for name in self.in_order:
            most = max(look.room[node.name].get(name, 0) for node in nodes)
            if most >= self._needs.get(name, 1):
                continue
            text = f"no node of the cluster has {self.amount(name)}"
            if name == "cpu":
                most -= most % 1000
            return text if most <= 0 else f"{text}: the most is {(_shown.get(name) or str)(most)}"
        parts = [self.amount(name) for name in self.in_order if name in self._needs]
        return f"no node of the cluster has {', '.join(parts[:-1])} and {parts[-1]} together"


def _cpus(millis: int) -> str:
    return f"{round(millis / 1000, 1):g}"


def _memory(size: int) -> str:
    """In the units of what was asked for, rounded: sums of nodes are odd."""
    gigas = size / 2**30
    if gigas >= 10_000:
        return f"{gigas / 1024:.1f} TB"
    return f"{gigas:.0f} GB" if gigas >= 10 else f"{round(gigas, 1):g} GB"


_shown = {"cpu": _cpus, "memory": _memory, "ephemeral-storage": _memory}


def _plain(resource: str) -> str:
    name = resource.rpartition("/")[2]
    return {
        "gpu": "GPU",
        "gpu.shared": "share of a GPU",
    }.get(name, name.removeprefix("mig-"))
