"""Kubernetes' JSON as records: real shapes, and odd ones that must not end a watch."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from kubespawner.objects import make_pod

from panosc_hub.backends.kubernetes.parse import (
    amount,
    event_of,
    node_of,
    pod_of,
    quantity,
    timestamp,
    where_of,
)
from panosc_hub.backends.kubernetes.records import (
    HUB,
    SESSION,
    Condition,
    Container,
    Node,
    Pod,
    Taint,
    Tolerance,
    Where,
)
from panosc_hub.backends.kubernetes.settings import settings
from tests.unit.backends.kubernetes.makers import GI, launch, options, serializer

RUNNING: dict[str, Any] = {
    "metadata": {
        "namespace": "jhub",
        "name": "jupyter-paula",
        "uid": "u-1",
        "creationTimestamp": "2026-11-21T10:00:00Z",
        "labels": {SESSION: "0123", HUB: "hub-a", "app": "jupyterhub"},
    },
    "spec": {
        "nodeName": "n1",
        "activeDeadlineSeconds": 3600,
        "priority": 10,
        "containers": [
            {
                "name": "notebook",
                "resources": {
                    "requests": {"cpu": "500m", "memory": "1Gi"},
                    "limits": {"cpu": "2", "memory": "2Gi", "nvidia.com/gpu": "1"},
                },
            },
            {"name": "beside", "resources": {"requests": {"cpu": "0.1", "memory": "64M"}}},
        ],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.7",
        "startTime": "2026-11-21T10:00:05Z",
        "containerStatuses": [
            {"name": "beside", "state": {"waiting": {"reason": "CrashLoopBackOff"}}},
            {
                "name": "notebook",
                "restartCount": 2,
                "state": {"running": {"startedAt": "2026-11-21T10:00:09Z"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
            },
        ],
    },
}


def changed(**parts: Any) -> dict[str, Any]:
    """RUNNING with other values in metadata, spec or status."""
    body = json.loads(json.dumps(RUNNING))
    for part, values in parts.items():
        body[part].update(values)
    return dict(body)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1500m", "1.5"), ("2", "2"), (4, "4"), (0.5, "0.5"), ("1Gi", str(GI)),
        ("1.5Gi", str(3 * GI // 2)), ("64M", "64000000"), ("1k", "1000"), ("3Ki", "3072"),
        ("1e3", "1000"), ("2E3", "2000"),
        ("1E", "1e18"), ("1Ei", str(2**60)), ("+1", "1"), ("-1", "-1"), ("-500m", "-0.5"),
        (".5", "0.5"), ("1.", "1"), ("100n", "1e-7"), ("100u", "1e-4"),
        ("", "0"), (None, "0"), ("abc", "0"), ("1GiB", "0"), ("1 Gi", "0"), ("1\n", "0"),
        (True, "0"), ([], "0"), ("١", "0"),
    ],
)  # fmt: skip
def test_a_quantity_is_what_kubernetes_takes_it_for(text: Any, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["1e999999999", "1e-999999999", "9" * 5000 + "Ei", "1e400"])
def test_a_monstrous_quantity_is_none(text: str) -> None:
    assert amount("memory", text) == amount("cpu", text) == 0


def test_no_amount_is_more_than_kubernetes_knows() -> None:
    assert amount("memory", "999E") == amount("cpu", "1e99") == 2**63 - 1


@pytest.mark.parametrize(
    ("resource", "text", "number"),
    [("cpu", "1500m", 1500), ("cpu", "0.0001", 1), ("memory", "1500m", 2),
     ("memory", "2Gi", 2 * GI), ("nvidia.com/gpu", "4", 4), ("cpu", 2, 2000), ("cpu", "0", 0)],
)  # fmt: skip
def test_amounts_are_rounded_up_as_the_scheduler_does(
    resource: str, text: Any, number: int
) -> None:
    assert amount(resource, text) == number


def test_a_running_pod_is_read_with_the_server_alone() -> None:
    found = pod_of(RUNNING)
    assert (found.namespace, found.name, found.uid) == ("jhub", "jupyter-paula", "u-1")
    assert (found.session, found.hub) == ("0123", "hub-a")
    assert found.started == found.created + 5 == timestamp("2026-11-21T10:00:05Z")
    assert (found.deadline, found.priority, found.ip, found.node) == (3600, 10, "10.0.0.7", "n1")
    assert found.notebook == Container("running", restarts=2, last_reason="OOMKilled")
    assert found.running  # whatever its helpers do
    assert found.requests == {"cpu": 600, "memory": GI + 64_000_000, "nvidia.com/gpu": 1}
    assert found.where is None
    assert not found.over


def test_a_pod_that_ends_or_is_not_served_does_not_run() -> None:
    assert not pod_of(changed(metadata={"deletionTimestamp": "2026-11-21T11:00:00Z"})).running
    assert not pod_of(changed(status={"podIP": ""})).running
    assert not pod_of(changed(status={"phase": "Failed"})).running
    assert not pod_of(changed(status={"containerStatuses": []})).running


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_ended_requests_nothing(phase: str) -> None:
    found = pod_of(changed(status={"phase": phase}))
    assert found.over
    assert found.requests == {}


def test_a_server_that_ended_says_how() -> None:
    ended = {"reason": "Error", "exitCode": 1, "message": "no module"}
    status = {"containerStatuses": [{"name": "notebook", "state": {"terminated": ended}}]}
    found = pod_of(changed(status=status)).notebook
    assert (found.state, found.reason, found.exit_code, found.message) == (
        "terminated",
        "Error",
        1,
        "no module",
    )


def test_the_scheduler_and_the_cluster_say_why() -> None:
    conditions = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"},
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"},
    ]
    found = pod_of(changed(spec={"nodeName": ""}, status={"conditions": conditions}))
    assert (found.unscheduled, found.disruption) == ("0/3", "PreemptionByScheduler")
    conditions[0]["reason"] = "SchedulingGated"
    conditions[1]["status"] = "False"
    found = pod_of(changed(status={"conditions": conditions}))
    assert (found.unscheduled, found.disruption) == ("", "")


def test_init_containers_count_as_the_scheduler_counts_them() -> None:
    def asking(cpu: str, **parts: Any) -> dict[str, Any]:
        return {"name": "i", "resources": {"requests": {"cpu": cpu}}, **parts}

    def cpus(init: list[Any], overhead: Any = None) -> int:
        spec = {"initContainers": init, "overhead": overhead}
        return pod_of(changed(spec=spec)).requests["cpu"]

    assert cpus([asking("200m"), asking("300m")]) == 600
    assert cpus([asking("2"), asking("3")]) == 3000
    beside = asking("1", restartPolicy="Always")
    assert cpus([beside]) == 1600
    assert cpus([beside, asking("2")]) == 3000  # it runs beside the ones that come after it
    assert cpus([asking("2"), beside]) == 2000
    assert cpus([], {"cpu": "250m"}) == 850


def test_a_pod_that_looks_for_a_node_keeps_where_it_may_be() -> None:
    spec = {
        "nodeName": None,
        "nodeSelector": {"b": "2", "a": "1"},
        "tolerations": [{"key": "k", "operator": "Exists"}, {"key": "l", "value": "v"}, "odd"],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [{"key": "p", "operator": "In", "values": ["x"]}],
                            "matchFields": [
                                {"key": "metadata.name", "operator": "In", "values": ["n1"]}
                            ],
                        },
                        {},
                    ]
                },
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}],
            }
        },
    }
    assert pod_of(changed(spec=spec)).where == Where(
        selector=(("a", "1"), ("b", "2")),
        terms=(
            (
                Condition("p", "In", ("x",)),
                Condition("metadata.name", "In", ("n1",), field=True),
            ),
            (),
        ),
        tolerations=(Tolerance("k", "Exists"), Tolerance("l", "Equal", "v")),
    )
    gated = {**spec, "schedulingGates": [{"name": "later"}]}
    assert pod_of(changed(spec=gated)).where is None
    assert pod_of(changed(spec={**spec, "nodeName": "n1"})).where is None


def test_what_a_profile_asks_for_is_read_the_same_from_its_pod() -> None:
    wanted = options(
        node_selector={"pool": "gpu"},
        node_affinity={"required": [{"key": "n", "operator": "Gt", "values": [3]}]},
        tolerations=[{"key": "k", "effect": "NoSchedule"}],
    )
    made = make_pod(name="p", cmd=["x"], port=1, **{"image": "i", **settings(launch(), wanted)})
    body = serializer().sanitize_for_serialization(made)
    assert where_of(body["spec"]) == Where(
        (("pool", "gpu"),),
        ((Condition("n", "Gt", ("3",)),),),
        (Tolerance("k", "Equal", "", "NoSchedule"),),
    )
    assert pod_of(body).requests == {"cpu": 1000, "memory": 4 * GI}


@pytest.mark.parametrize(("kind", "fixed"), [("DaemonSet", True), ("Node", True), ("Job", False)])
def test_pods_that_belong_to_a_node_are_known(kind: str, fixed: bool) -> None:
    assert pod_of(changed(metadata={"ownerReferences": [{"kind": kind}]})).fixed is fixed


def test_a_node_is_usable_when_it_is_ready_and_not_cordoned() -> None:
    body: dict[str, Any] = {
        "metadata": {"name": "n1", "labels": {"a": "b", "n": 5}},
        "spec": {"taints": [{"key": "gpu", "effect": "NoSchedule"}, None]},
        "status": {
            "allocatable": {"cpu": "7910m", "memory": "65123456Ki", "pods": "110"},
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": "True"},
            ],
        },
    }
    assert node_of(body) == Node(
        "n1",
        True,
        {"a": "b", "n": "5"},
        (Taint("gpu", "", "NoSchedule"),),
        {"cpu": 7910, "memory": 65123456 * 1024, "pods": 110},
    )
    for part, value in (
        ("spec", {"unschedulable": True}),
        ("status", {"conditions": [{"type": "Ready", "status": "Unknown"}]}),
        ("status", {"conditions": None}),
        ("status", None),
    ):
        assert not node_of({**body, part: value}).usable


@pytest.mark.parametrize(
    ("times", "at"),
    [
        ({"lastTimestamp": "2026-11-21T10:00:00Z"}, "2026-11-21T10:00:00Z"),
        ({"eventTime": "2026-11-21T10:00:00.123456Z"}, "2026-11-21T10:00:00.123456Z"),
        (
            {
                "eventTime": "2026-11-21T10:00:00Z",
                "series": {"lastObservedTime": "2026-11-21T11:00:00Z", "count": 7},
            },
            "2026-11-21T11:00:00Z",
        ),
        ({"metadata": {"creationTimestamp": "2026-11-21T10:00:00Z"}}, "2026-11-21T10:00:00Z"),
        ({"lastTimestamp": None, "eventTime": None}, None),
    ],
)
def test_an_event_has_any_of_several_times(times: dict[str, Any], at: str | None) -> None:
    about = {"kind": "Pod", "uid": "u", "name": "p"}
    found = event_of({"involvedObject": about, "reason": "Pulled", "type": "Normal", **times})
    assert found is not None
    assert found.at == (timestamp(at) if at else 0.0)
    assert found.count == (7 if "series" in times else 1)
    assert not found.warning


def test_events_about_anything_else_are_not_kept() -> None:
    assert event_of({"involvedObject": {"kind": "Node", "name": "n1"}}) is None
    assert event_of({}) is None


ODD: list[Any] = [None, "x", 5, -1, 1.5, True, [], [None], {}, {"a": None}, [[]], "\x00", 10**30]


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_no_odd_value_of_somebody_elses_object_ends_a_watch(odd: Any) -> None:
    def everywhere(value: Any) -> list[Any]:
        """``value`` with ``odd`` in the place of each of its parts, one after the other."""
        found = [odd]
        if isinstance(value, dict):
            found += [{**value, k: v} for k in value for v in everywhere(value[k])]
        elif isinstance(value, list):
            for i, part in enumerate(value):
                found += [[*value[:i], v, *value[i + 1 :]] for v in everywhere(part)]
        return found

    full = changed(
        metadata={"ownerReferences": [{"kind": "Job"}], "deletionTimestamp": "x"},
        spec={
            "nodeName": "",
            "schedulingGates": [],
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "a"}],
            "overhead": {"cpu": "1"},
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "1"}}}],
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "values": ["b"]}]}]
                    }
                }
            },
        },
        status={"conditions": [{"type": "PodScheduled"}, {"type": "DisruptionTarget"}]},
    )
    for body in everywhere(full):
        if isinstance(body, dict):
            found = pod_of(body)
            assert isinstance(found, Pod)
            hash(found.where)
            assert all(type(count) is int for count in found.requests.values())
    node = {
        "metadata": {"name": "n", "labels": {"a": "b"}},
        "spec": {"taints": [{"key": "a"}], "unschedulable": False},
        "status": {"allocatable": {"cpu": "1"}, "conditions": [{"type": "Ready"}]},
    }
    assert all(isinstance(node_of(b), Node) for b in everywhere(node) if isinstance(b, dict))
    about = {"kind": "Pod", "uid": "u", "name": "p"}
    event = {
        "metadata": {"creationTimestamp": "x"},
        "involvedObject": about,
        "series": {"count": 1, "lastObservedTime": "x"},
        "count": 1,
        "type": "Warning",
        "reason": "a",
        "message": "b",
        "eventTime": "x",
    }
    for body in everywhere(event):
        if isinstance(body, dict):
            event_of(body)
