"""What the API server itself says of the pods and Secrets that sessions are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubespawner.objects import make_pod

from panosc_hub.backends.kubernetes.manifest import finish, session_secret, take_variables
from panosc_hub.backends.kubernetes.mounts import plan_mounts
from panosc_hub.backends.kubernetes.settings import settings
from panosc_hub.core.proposals import Area, Mode
from panosc_hub.session import source
from tests.kubernetes.cluster.access import Failed, Kubernetes
from tests.unit.backends.kubernetes.makers import A100, launch, options, profile, serializer

LABELS = {"panosc-hub/session": "0123456789abcdef", "panosc-hub/hub": "h"}
EVERYTHING: dict[str, Any] = {
    "image": "quay.io/ours/pyfai:v1",
    "guarantee": {"cpus": "33%", "memory": "1G"},
    "gpu_products": {"a100": [A100]},
    "node_selector": {"pool": "gpu", "rack": 7},
    "node_affinity": {
        "required": [
            {"key": "n", "operator": "Gt", "values": [3]},
            {"key": "m", "operator": "Lt", "values": [9]},
            {"key": "a", "operator": "In", "values": ["b", "c"]},
            {"key": "d", "operator": "NotIn", "values": ["e"]},
            {"key": "f.example/g", "operator": "Exists"},
            {"key": "h", "operator": "DoesNotExist"},
        ],
        "preferred": [{"key": "fast", "values": ["yes"], "weight": 100}],
    },
    "tolerations": [
        {"operator": "Exists", "effect": "NoSchedule"},
        {"key": "gpu", "value": "a100"},
        {"key": "k", "operator": "Exists", "effect": "NoExecute", "seconds": 30},
    ],
    "scheduler": "user-scheduler",
    "shm": "1G",
    "read_only_root": True,
}
VOLUMES: dict[str, dict[str, Any]] = {
    "/nfs": {"nfs": {"server": "nfs.facility.example", "path": "/export"}},
    "/claim": {"persistentVolumeClaim": {"claimName": "scratch"}},
    "/csi": {"csi": {"driver": "cvmfs.example", "volumeAttributes": {"repository": "a"}}},
    "/host": {"hostPath": {"path": "/gpfs"}},
    "/image": {"image": {"reference": "quay.io/ours/data:1", "pullPolicy": "IfNotPresent"}},
}


def session(parts: dict[str, Any], volumes: dict[str, Any], **more: Any) -> dict[str, Any]:
    gpus = {"gpus": {"type": "a100", "count": 2}} if parts else {}
    asked = launch(profile(cpus=3, memory="4G", walltime="4h", options=parts, **gpus))
    found = options(**parts)
    pod = make_pod(
        name="jupyter-paula",
        cmd=["start"],
        port=8888,
        **{"image": "quay.io/a/b", **settings(asked, found), **more},
    )
    body = serializer().sanitize_for_serialization(pod)
    areas = [
        Area(mode.name.lower(), f"{prefix}/id02/HG-123/{mode.name.lower()}", prefix, mode)
        for prefix, volume in volumes.items()
        for mode in Mode
        if "image" not in volume or mode is Mode.READ_ONLY
    ]
    take_variables(body)
    return finish(
        body,
        options=found,
        labels=LABELS,
        secret="panosc-session-0",
        mounts=plan_mounts(areas, volumes, host_path_allowed=True),
        walltime=asked.resources.walltime,
    )


def accepted(kubernetes: Kubernetes, body: dict[str, Any], namespace: str) -> dict[str, Any]:
    """What the API server would have made of it, unknown keys being mistakes."""
    text = kubernetes.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-o=json", f"--namespace={namespace}",
        "-f", "-", stdin=json.dumps(body),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(text)
    return found


def test_every_setting_of_a_profile_is_one_of_the_api_server(
    kubernetes: Kubernetes, namespace: str
) -> None:
    pod = session(EVERYTHING, {})
    spec = accepted(kubernetes, pod, namespace)["spec"]
    (container,) = spec["containers"]
    assert container["resources"] == {
        "limits": {"cpu": "3", "memory": str(4 * 2**30), "nvidia.com/gpu": "2"},
        "requests": {"cpu": "990m", "memory": str(2**30), "nvidia.com/gpu": "2"},
    }
    assert spec["affinity"] == pod["spec"]["affinity"]
    assert spec["activeDeadlineSeconds"] == 4 * 3600


@pytest.mark.parametrize("prefix", VOLUMES)
def test_every_kind_of_data_volume_is_one_of_the_api_server(
    prefix: str, kubernetes: Kubernetes, namespace: str
) -> None:
    pod = session({}, {prefix: VOLUMES[prefix]})
    (container,) = accepted(kubernetes, pod, namespace)["spec"]["containers"]
    mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
    raw = mounts[f"{prefix}/id02/HG-123/read_only"]
    assert raw["readOnly"] is True
    assert raw["recursiveReadOnly"] == "IfPossible"
    if prefix != "/image":
        assert "readOnly" not in mounts[f"{prefix}/id02/HG-123/read_write"]


def test_a_session_keeps_to_the_strictest_rules_that_kubernetes_has(
    kubernetes: Kubernetes, namespace: str
) -> None:
    level = "pod-security.kubernetes.io/enforce=restricted"
    kubernetes.kubectl("label", "namespace", namespace, level, "--overwrite")
    claim = {"/claim": VOLUMES["/claim"]}
    assert accepted(kubernetes, session(EVERYTHING, claim, uid=1000), namespace)
    # The rules are on: a session as root breaks them.
    with pytest.raises(Failed, match="violates PodSecurity"):
        accepted(kubernetes, session({}, {}, uid=0), namespace)


def test_the_secret_of_a_session_may_be_as_large_as_kubernetes_allows(
    kubernetes: Kubernetes, namespace: str
) -> None:
    parts: dict[str, Any] = {"owner_uid": "u-1", "pod_name": "jupyter-paula", "labels": LABELS}
    start = source()
    empty = session_secret("s", env={}, plan="", start=start, **parts)
    size = 2**20 - len(start.encode()) - len("{}")
    assert len(empty["data"]) == 3
    largest = session_secret("s", env={}, plan="x" * size, start=start, **parts)
    assert accepted(kubernetes, largest, namespace)["data"].keys() == largest["data"].keys()
