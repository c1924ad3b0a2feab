"""Kubernetes' JSON to records. Pure; an odd value is as good as an absent one, for one strange
object of somebody else's must not end a watch.

Shapes: Kubernetes API reference, ``core/v1`` Pod, Node and Event; quantities as in
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from .records import (
    HUB,
    NOTEBOOK,
    SESSION,
    Condition,
    Container,
    Node,
    Pod,
    PodEvent,
    Taint,
    Tolerance,
    Where,
)

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,2})?"
)
_FACTOR = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** n for n, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{f"{unit}i": Decimal(1024) ** n for n, unit in enumerate("KMGTPE", 1)},
}


_MOST = 2**63 - 1
"""The largest number that Kubernetes knows."""

_OF_A_NODE = ("DaemonSet", "Node")
"""Owners of pods that are on their node as long as it is there; Node owns the static ones."""


def quantity(value: Any) -> Decimal:
    """``"1500m"``, ``"2Gi"``, ``4`` as a number; 0 for what is none."""
    text = str(value) if isinstance(value, (str, int, float)) else ""
    found = _QUANTITY.fullmatch(text) if len(text) <= 64 else None
    if found is None:
        return Decimal(0)
    number, unit = found.groups()
    if unit and unit not in _FACTOR:
        return Decimal(f"{number}{unit}")
    return Decimal(number) * _FACTOR.get(unit or "", 1)


def amount(resource: str, value: Any) -> int:
    """A quantity in the unit of :mod:`.records`, rounded up as the scheduler does."""
    number = quantity(value) * (1000 if resource == "cpu" else 1)
    return min(math.ceil(number), _MOST)


def amounts(values: Any) -> dict[str, int]:
    """A resource list in those units."""
    return {name: amount(name, value) for name, value in _map(values).items()}


def timestamp(value: Any) -> float | None:
    """Seconds since the epoch."""
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return None


def pod_of(body: Mapping[str, Any]) -> Pod:
    """The record of a pod."""
    meta, spec, status = (
        _map(body.get("metadata")),
        _map(body.get("spec")),
        _map(body.get("status")),
    )
    labels = _map(meta.get("labels"))
    conditions = {_text(c.get("type")): c for c in _maps(status.get("conditions"))}
    scheduled = conditions.get("PodScheduled", {})
    disrupted = conditions.get("DisruptionTarget", {})
    waits = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    over = status.get("phase") in ("Succeeded", "Failed")
    return Pod(
        namespace=_text(meta.get("namespace")),
        name=_text(meta.get("name")),
        uid=_text(meta.get("uid")),
        phase=_text(status.get("phase")),
        node=_text(spec.get("nodeName")),
        ip=_text(status.get("podIP")),
        session=_text(labels.get(SESSION)),
        hub=_text(labels.get(HUB)),
        created=timestamp(meta.get("creationTimestamp")) or 0.0,
        started=timestamp(status.get("startTime")),
        deadline=_whole(spec.get("activeDeadlineSeconds")),
        doomed=timestamp(meta.get("deletionTimestamp")),
        reason=_text(status.get("reason")),
        message=_text(status.get("message")),
        unscheduled=_text(scheduled.get("message")) if waits else "",
        disruption=_text(disrupted.get("reason")) if disrupted.get("status") == "True" else "",
        priority=_whole(spec.get("priority")) or 0,
        requests={} if over else _requests(spec),
        notebook=_notebook(status),
        where=None
        if over or spec.get("nodeName") or spec.get("schedulingGates")
        else where_of(spec),
        fixed=any(o.get("kind") in _OF_A_NODE for o in _maps(meta.get("ownerReferences"))),
    )


def where_of(spec: Mapping[str, Any]) -> Where:
    """Which nodes the spec of a pod allows."""
    affinity = _map(_map(spec.get("affinity")).get("nodeAffinity"))
    required = _map(affinity.get("requiredDuringSchedulingIgnoredDuringExecution"))
    return Where(
        selector=tuple(sorted((str(k), str(v)) for k, v in _map(spec.get("nodeSelector")).items())),
        terms=tuple(
            tuple(
                Condition(
                    _text(each.get("key")),
                    _text(each.get("operator")),
                    tuple(map(str, _list(each.get("values")))),
                    field,
                )
                for kind, field in (("matchExpressions", False), ("matchFields", True))
                for each in _maps(term.get(kind))
            )
            for term in _maps(required.get("nodeSelectorTerms"))
        ),
        tolerations=tuple(
            Tolerance(
                _text(each.get("key")),
                _text(each.get("operator")) or "Equal",
                _text(each.get("value")),
                _text(each.get("effect")),
            )
            for each in _maps(spec.get("tolerations"))
        ),
    )


def _requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """What the scheduler counts: all containers together, or the largest init container."""
    total: dict[str, int] = {}
    for container in _maps(spec.get("containers")):
        for name, count in _asked(container).items():
            total[name] = total.get(name, 0) + count
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in _maps(spec.get("initContainers")):
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":  # it stays beside the others
            for name, count in asked.items():
                sidecars[name] = sidecars.get(name, 0) + count
            asked = {}
        for name in {*asked, *sidecars}:
            peak[name] = max(peak.get(name, 0), asked.get(name, 0) + sidecars.get(name, 0))
    for name, count in sidecars.items():
        total[name] = total.get(name, 0) + count
    for name, count in peak.items():
        total[name] = max(total.get(name, 0), count)
    for name, count in amounts(spec.get("overhead")).items():
        total[name] = total.get(name, 0) + count
    return total


def _asked(container: Mapping[str, Any]) -> dict[str, int]:
    resources = _map(container.get("resources"))
    return amounts(resources.get("limits")) | amounts(resources.get("requests"))


def _notebook(status: Mapping[str, Any]) -> Container:
    for each in _maps(status.get("containerStatuses")):
        if each.get("name") != NOTEBOOK:
            continue
        state, last = _map(each.get("state")), _map(each.get("lastState"))
        name = next((n for n in ("running", "terminated", "waiting") if n in state), "")
        told = _map(state.get(name))
        return Container(
            state=name,
            reason=_text(told.get("reason")),
            message=_text(told.get("message")),
            exit_code=_whole(told.get("exitCode")),
            restarts=_whole(each.get("restartCount")) or 0,
            last_reason=_text(_map(last.get("terminated")).get("reason")),
        )
    return Container()


def node_of(body: Mapping[str, Any]) -> Node:
    """The record of a node."""
    meta, spec, status = (
        _map(body.get("metadata")),
        _map(body.get("spec")),
        _map(body.get("status")),
    )
    ready = any(
        c.get("type") == "Ready" and c.get("status") == "True"
        for c in _maps(status.get("conditions"))
    )
    return Node(
        name=_text(meta.get("name")),
        usable=ready and not spec.get("unschedulable"),
        labels={str(k): str(v) for k, v in _map(meta.get("labels")).items()},
        taints=tuple(
            Taint(_text(t.get("key")), _text(t.get("value")), _text(t.get("effect")))
            for t in _maps(spec.get("taints"))
        ),
        allocatable=amounts(status.get("allocatable")),
    )


def event_of(body: Mapping[str, Any]) -> PodEvent | None:
    """The record of an event about a pod; None for one about anything else."""
    about, meta, series = (_map(body.get(k)) for k in ("involvedObject", "metadata", "series"))
    if about.get("kind") != "Pod":
        return None
    # An event has any one of these, and which depends on who reported it.
    times = (
        timestamp(value)
        for value in (
            series.get("lastObservedTime"),
            body.get("lastTimestamp"),
            body.get("eventTime"),
            meta.get("creationTimestamp"),
        )
    )
    return PodEvent(
        uid=_text(about.get("uid")),
        pod=_text(about.get("name")),
        reason=_text(body.get("reason")),
        message=_text(body.get("message")),
        warning=body.get("type") == "Warning",
        count=_whole(series.get("count")) or _whole(body.get("count")) or 1,
        at=next((t for t in times if t is not None), 0.0),
    )


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _maps(value: Any) -> Iterable[Mapping[str, Any]]:
    return [v for v in _list(value) if isinstance(v, Mapping)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if type(value) is int else None
