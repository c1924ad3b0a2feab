"""Nodes, pods, profiles and launches in few words."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from kubernetes_asyncio.client import ApiClient, Configuration

from panosc_hub.backends.kubernetes.options import KubernetesOptions, validate_options
from panosc_hub.backends.kubernetes.records import Node, Pod, Taint, Where
from panosc_hub.core.identity import Person
from panosc_hub.core.plan import Launch, SessionPlan
from panosc_hub.core.profiles import Environment, Profile, resolve
from panosc_hub.core.selection import parse

GI = 2**30
GPU = "nvidia.com/gpu"
PRODUCT = "nvidia.com/gpu.product"
A100, L4 = "NVIDIA-A100-SXM4-40GB", "NVIDIA-L4"

NASTY = [
    "a\n", "\na", "a\nb", "{userid}", "{0.__class__}", "}", "a}{", "../a", "a/../b", "a b",
    "<script>alert(1)</script>", "$(id)", "`id`", "a;b", "a\x00b", "a\u2028b", "é", "%s" * 3,
    "-a", "a-", "x" * 5000,
]  # fmt: skip
"""What must not get into any name."""


def profile(**parts: Any) -> Profile:
    return Profile.model_validate(
        {"id": "p", "title": "Small", "backend": "kubernetes", "memory": "4G", **parts}
    )


def options(**parts: Any) -> KubernetesOptions:
    return validate_options(parts)


def launch(made: Profile | None = None, **parts: Any) -> Launch:
    """With ``environment`` (a dictionary), ``selection`` (as JSON) and ``plan``."""
    made = made or profile()
    selection = parse(parts.get("selection"))
    resources, problems = resolve(made, selection.wish)
    assert not problems
    return Launch(
        plan=parts.get("plan") or SessionPlan(facility="demo"),
        profile=made,
        resources=resources,
        environment=Environment(id="e", title="pyFAI", **parts.get("environment", {})),
        selection=selection,
        person=Person("paula"),
    )


def node(
    name: str = "n1",
    cpu: float = 8,
    memory: int = 32,
    *,
    usable: bool = True,
    taints: tuple[Taint, ...] = (),
    labels: dict[str, str] | None = None,
    pods: int | None = 110,
    **others: int,
) -> Node:
    """``memory`` in GiB; ``gpu=4`` and the like by the end of the resource's name."""
    there = {"cpu": int(cpu * 1000), "memory": memory * GI}
    there |= {f"nvidia.com/{kind.replace('_', '-')}": count for kind, count in others.items()}
    if pods is not None:
        there["pods"] = pods
    return Node(name, usable, labels or {}, taints, there)


def pod(
    name: str = "p1",
    on: str = "",
    cpu: float = 1,
    memory: int = 1,
    *,
    where: Where | None = None,
    fixed: bool = False,
    priority: int = 0,
    created: float = 0,
    phase: str = "",
    gpu: int = 0,
    doomed: float | None = None,
) -> Pod:
    """On a node, or waiting for one that ``where`` allows."""
    requests = {"cpu": int(cpu * 1000), "memory": memory * GI} | ({GPU: gpu} if gpu else {})
    phase = phase or ("Running" if on else "Pending")
    return Pod(
        namespace="jhub",
        name=name,
        uid=f"uid-{name}",
        phase=phase,
        node=on,
        created=created,
        priority=priority,
        doomed=doomed,
        requests={} if phase in ("Succeeded", "Failed") else requests,
        where=None if on else where or Where(),
        fixed=fixed,
    )


def serializer() -> ApiClient:
    """Turns models into JSON and back; it has no connection."""
    made = ApiClient.__new__(ApiClient)
    made.configuration = Configuration()
    return made


def is_known(body: dict[str, Any], model: str) -> bool:
    """Whether Kubernetes' own model has every key of ``body``: it loses one that it has not."""
    client = serializer()
    answer = SimpleNamespace(data=json.dumps(body))
    kept = client.sanitize_for_serialization(client.deserialize(answer, model))
    return bool(_as_texts(kept) == _as_texts(body))


def _as_texts(value: Any) -> Any:
    """Amounts are numbers or texts to Kubernetes, as one likes."""
    if isinstance(value, dict):
        return {key: _as_texts(part) for key, part in value.items()}
    return [_as_texts(part) for part in value] if isinstance(value, list) else str(value)
