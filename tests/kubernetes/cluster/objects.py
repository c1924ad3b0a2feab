"""Objects that a fresh cluster has beside its node: volumes to claim, and hollow nodes."""

from __future__ import annotations

import base64
import contextlib
import datetime
import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster.access import Kubernetes

VOLUMES = 60
"""Enough for one claim each of many tests; what was claimed once stays so."""
RENEWAL = 3.0
"""Seconds between two signs of life of a hollow node."""


def storage(folder: Path, node: str) -> dict[str, Any]:
    """The default class with local volumes that are there already; they obey ``fsGroup``."""
    meta = {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    }
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": meta,
            "provisioner": "kubernetes.io/no-provisioner",
        }
    ]
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    for number in range(VOLUMES):
        path = folder / "volumes" / f"v{number}"
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        spec = {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "storageClassName": "standard",
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "spec": spec}
        items.append({**volume, "metadata": {"name": f"v{number}"}})
    return {"apiVersion": "v1", "kind": "List", "items": items}


def node_object(
    name: str,
    amounts: Mapping[str, str],
    labels: Mapping[str, str],
    taints: tuple[Mapping[str, str], ...],
) -> dict[str, Any]:
    """A node that says of itself that it is ready."""
    now = _now()
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    whole = {"cpu": "8", "memory": "64Gi", "pods": "110", **amounts}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **labels}},
        "spec": {"taints": list(taints)},
        "status": {"capacity": whole, "allocatable": whole, "conditions": [ready]},
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@contextlib.contextmanager
def hollow_node(
    cluster: Kubernetes,
    name: str = "hollow",
    *,
    amounts: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    taints: tuple[Mapping[str, str], ...] = (
        {"key": "panosc.test/hollow", "effect": "NoSchedule"},
    ),
) -> Iterator[str]:
    """A node object that is kept ready by a thread of ours and runs nothing.

    A cluster whose *every* node is lost evicts nobody; beside a hollow node the loss of the real
    one has its consequences. Without its taint, pods are bound to it and stay Pending for ever.
    """
    node = node_object(name, amounts or {}, labels or {}, taints)
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(node))
    cluster.kubectl(
        *("patch", "node", name, "--subresource=status", "--type=merge", "-p"),
        json.dumps({"status": node["status"]}),
    )
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 8, "renewTime": _now()},
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(lease))
    ended = threading.Event()
    thread = threading.Thread(target=_renew, args=(cluster, name, ended), daemon=True)
    thread.start()
    try:
        cluster.until(lambda seen: len(seen["spec"].get("taints", ())) == len(taints), "node", name)
        yield name
    finally:
        ended.set()
        thread.join(30)
        cluster.kubectl("delete", "node", name, "--ignore-not-found", "--wait=false")


def _renew(cluster: Kubernetes, name: str, ended: threading.Event) -> None:
    """Sign of life until told to end; an API that is away is asked again."""
    login = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    authority, server = _login(login, cluster.kubeconfig.parent / f"hollow-{name}.pem")
    url = f"{server}/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}"
    while not ended.wait(RENEWAL):
        body = json.dumps({"spec": {"renewTime": _now()}}).encode()
        headers = {"Content-Type": "application/merge-patch+json"}
        asked = urllib.request.Request(url, body, headers, method="PATCH")
        with contextlib.suppress(OSError):
            urllib.request.urlopen(asked, timeout=5, context=authority).close()


def _login(config: Mapping[str, Any], file: Path) -> tuple[ssl.SSLContext, str]:
    """Client certificate of a kubeconfig, as Python wants it: in a file."""
    user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
    file.touch(mode=0o600)
    parts = (user["client-certificate-data"], user["client-key-data"])
    file.write_bytes(b"".join(base64.b64decode(each) for each in parts))
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    context.load_cert_chain(file)
    return context, cluster["server"]
