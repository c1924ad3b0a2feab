"""What is idle, and the most that one session can get, on the nodes that a cluster has. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.profiles import Limits, Profile, Resources
from ...core.quantities import Gpus
from .capacity import PODS, Look, where_for
from .options import KubernetesOptions
from .placing import may_be_on
from .records import Node
from .settings import gpus


def idle(
    profile: Profile,
    options: KubernetesOptions,
    look: Look,
    configured: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Idle CPUs, and GPUs by type, where such sessions may be (see ``Availability.idle``).

    A GPU on a node without room for anything else is not idle, for no session could use it.
    """
    has = configured or {}
    found = {"cpus": 0}
    seen: set[str] = set()
    for kind in _kinds(profile):
        wanted = Resources(1, 1, Gpus(kind or "", 1 if kind is not None else 0), None)
        for node in look.eligible(where_for(profile, wanted, options, has)):
            left = look.left[node.name]
            if left.get(PODS, 1) < 1:
                continue
            if node.name not in seen:
                seen.add(node.name)
                found["cpus"] += max(0, left.get("cpu", 0)) // 1000
            for resource in gpus(profile, wanted, options):
                name = f"gpu:{kind}" if kind else "gpu"
                found[name] = found.get(name, 0) + max(0, left.get(resource, 0))
    return found


def _kinds(profile: Profile) -> tuple[str | None, ...]:
    """The types of GPU that a session may have; None is "without"."""
    offer = profile.gpus
    if offer is None or not offer.count.max:
        return (None,)
    return (*offer.types, None) if not offer.count.min else offer.types


@dataclass(frozen=True, slots=True)
class _Most:
    cpus: int
    memory: int


def limits(
    profile: Profile,
    options: KubernetesOptions,
    look: Look,
    configured: Mapping[str, Any] | None = None,
) -> Limits | str:
    """The most that one session gets on the nodes it may be on; a text says why there are none.

    Per node, and less what belongs to the node (DaemonSets): that is never free. For a profile
    with GPUs only nodes that have them count, and of those the ones that have the least of the
    rest, for a node of another kind lends nothing.
    """
    has = configured or {}
    counts: dict[str, int] = {}
    useful: dict[str, Node] = {}
    any_nodes = False
    for kind in _kinds(profile):
        wanted = Resources(1, 1, Gpus(kind or "", 1 if kind is not None else 0), None)
        nodes = look.eligible(where_for(profile, wanted, options, has))
        any_nodes = any_nodes or bool(nodes)
        least = profile.gpus.count.min if profile.gpus and kind is not None else 0
        for resource in gpus(profile, wanted, options) or ("",):
            for node in nodes:
                there = max(0, look.room[node.name].get(resource, 0))
                if kind is not None:
                    shared = profile.gpus is not None and profile.gpus.kind == "shard"
                    name = f"shard:{kind}" if shared else kind
                    counts[name] = max(there, counts.get(name, 0))
                if there >= max(least, 1 if kind is not None else 0):
                    useful[node.name] = node
    if not any_nodes:
        return _none(profile, options, look, has)
    if not useful:
        return Limits(gpus=counts)  # ``tighten`` says what is missing
    most = [_most(node, options, look) for node in useful.values()]
    both = [m for m in most if m.cpus >= profile.cpus.min and m.memory >= profile.memory.min]
    one_by_one = (
        max(m.cpus for m in most) >= profile.cpus.min
        and max(m.memory for m in most) >= profile.memory.min
    )
    if one_by_one and not both:
        return "no node of the cluster has that many CPUs and that much memory together"
    return Limits(
        cpus=max(m.cpus for m in both or most),
        memory=max(m.memory for m in both or most),
        gpus=counts if profile.gpus else None,
    )


def _none(
    profile: Profile, options: KubernetesOptions, look: Look, configured: Mapping[str, Any]
) -> str:
    if not look.nodes and not look.out:
        return "the cluster has no nodes"
    for kind in _kinds(profile):
        wanted = Resources(1, 1, Gpus(kind or "", 1 if kind is not None else 0), None)
        where = where_for(profile, wanted, options, configured)
        if any(may_be_on(where, node) for node in look.out):
            return "its nodes are out of service now"
    return "no node of the cluster is of the kind that it asks for"


def _most(node: Node, options: KubernetesOptions, look: Look) -> _Most:
    """What one session gets of a node at most: not more than there is, and what it is
    guaranteed has to be free."""
    room = look.room[node.name]
    cpus = _largest(
        options.guarantee.millicpus, node.allocatable.get("cpu", 0), room.get("cpu", 0), 1000
    )
    memory = node.allocatable.get("memory", 0)
    step = 2**30 if memory >= 2**32 else 2**20  # amounts that people would write
    most = _largest(options.guarantee.bytes, memory, room.get("memory", 0), step)
    return _Most(cpus // 1000, most)


def _largest(guaranteed: Callable[[int], int], there: int, room: int, step: int) -> int:
    """The largest multiple of ``step`` up to ``there`` whose guarantee fits into ``room``."""
    low, high = 0, max(0, there) // step
    while low < high:
        middle = (low + high + 1) // 2
        if guaranteed(middle * step) <= room:
            low = middle
        else:
            high = middle - 1
    return low * step
