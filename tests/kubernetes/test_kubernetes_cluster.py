"""The test cluster is what the other tests take it for."""

from __future__ import annotations

import contextlib
import http.server
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster.access import Failed, Kubernetes
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.cluster.host import alive

ROOT = Path(__file__).parents[2]
GPU = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
SLEEP = ("sleep", "3600")
GPUS = {"nvidia.com/gpu": 4, "nvidia.com/mig-1g.10gb": 2}


@contextlib.contextmanager
def page(address: str, text: bytes) -> Iterator[int]:
    """A page of this machine; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

    with http.server.ThreadingHTTPServer((address, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


def restarts(pod: dict) -> int:
    return sum(each["restartCount"] for each in pod["status"]["containerStatuses"])


def test_the_node_is_ready_and_has_the_images(cluster: Cluster) -> None:
    assert cluster.node_ready(cluster.node)
    # The kubelet tells of its images once in half a minute.
    cluster.until(
        lambda node: "docker.io/panosc-demo/analysis:1" in str(node["status"].get("images")),
        *("node", cluster.node),
    )


def test_the_image_has_a_sessions_software_for_any_user(
    kubernetes: Kubernetes, namespace: str
) -> None:
    """As nobody whom the image knows, with a read-only root, as sessions run."""
    code = (
        "import os, jupyterhub.singleuser, jupyterlab, ipykernel, h5py, extra_data, pyFAI,"
        " nexusformat, matplotlib; print(os.getuid(), os.getgid(), jupyterlab.__version__)"
    )
    secure = {
        "runAsUser": 23456,
        "runAsGroup": 34567,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "securityContext": secure,
        "env": [{"name": "HOME", "value": "/home/me"}],
        "volumeMounts": [
            {"name": "home", "mountPath": "/home/me"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    volumes = [{"name": "home", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
    kubernetes.pod(namespace, "a", "python3", "-c", code, container=container, volumes=volumes)
    pod = kubernetes.phase(namespace, "a", "Succeeded", "Failed")
    said = kubernetes.logs(namespace, "a")
    assert pod["status"]["phase"] == "Succeeded", said
    assert said.split()[-3:-1] == ["23456", "34567"]


def test_a_fifth_gpu_waits_until_one_is_free(cluster: Cluster, namespace: str) -> None:
    cluster.set_gpus(GPUS, product="NVIDIA-A100-SXM4-40GB")
    for number in range(4):
        cluster.pod(namespace, f"g{number}", *SLEEP, container=GPU)
    for number in range(4):
        cluster.phase(namespace, f"g{number}", "Running")
    cluster.pod(namespace, "g4", *SLEEP, container=GPU)
    pod = cluster.until(lambda seen: seen["status"].get("conditions"), "pod", "g4", "-n", namespace)
    assert "Insufficient nvidia.com/gpu" in pod["status"]["conditions"][0]["message"]
    assert pod["status"]["phase"] == "Pending"
    cluster.kubectl("delete", "pod", "g0", "-n", namespace, "--wait=false")
    cluster.phase(namespace, "g4", "Running")


def test_pretended_gpus_stay_when_the_kubelet_starts_again(cluster: Cluster) -> None:
    cluster.set_gpus(GPUS)
    cluster.kill_kubelet()
    last = cluster.get("node", cluster.node)["status"]["conditions"]
    beat = next(each["lastHeartbeatTime"] for each in last if each["type"] == "Ready")
    cluster.start_kubelet()

    def looked_again(node: dict) -> bool:
        said = {each["type"]: each["lastHeartbeatTime"] for each in node["status"]["conditions"]}
        return said["Ready"] > beat

    node = cluster.until(looked_again, "node", cluster.node)
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert node["status"]["allocatable"]["nvidia.com/mig-1g.10gb"] == "2"


def test_pods_and_this_machine_reach_each_other(cluster: Cluster, namespace: str) -> None:
    with page(cluster.address, b"hello, pod") as port:
        url = f"http://{cluster.address}:{port}/"
        cluster.pod(namespace, "asks", "wget", "-q", "-O-", url)
        cluster.phase(namespace, "asks", "Succeeded", "Failed")
        assert cluster.logs(namespace, "asks") == "hello, pod"
    serve = ("python3", "-m", "http.server", "8888", "--directory", "/etc")
    ready = {"readinessProbe": {"httpGet": {"port": 8888, "path": "/"}, "periodSeconds": 1}}
    cluster.pod(namespace, "serves", *serve, container=ready)
    cluster.kubectl(
        *("wait", "--for=condition=Ready", "pod/serves", "-n", namespace, "--timeout=60s"),
        timeout=70,
    )
    address = cluster.get("pod", "serves", "-n", namespace)["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:8888/passwd", timeout=10) as answer:
        assert b"nobody" in answer.read()


def test_pods_outlive_the_api_server(cluster: Cluster, namespace: str) -> None:
    cluster.pod(namespace, "stays", *SLEEP)
    before = cluster.phase(namespace, "stays", "Running")
    cluster.stop_api()
    with pytest.raises(Failed):
        cluster.get("pod", "stays", "-n", namespace)
    assert "kubelet" in cluster.status()["running"]
    cluster.start_api()
    after = cluster.phase(namespace, "stays", "Running")
    assert restarts(after) == restarts(before) == 0
    assert cluster.kubectl("exec", "-n", namespace, "stays", "--", "echo", "here") == "here\n"


def test_a_frozen_api_server_says_nothing_and_recovers(cluster: Cluster) -> None:
    with cluster.frozen_api(), pytest.raises(subprocess.TimeoutExpired):
        cluster.kubectl("get", "nodes", timeout=2)
    cluster.until(bool, "nodes")


def test_a_lost_node_dooms_its_pods_beside_a_living_one(cluster: Cluster, namespace: str) -> None:
    with cluster.hollow_node("hollow"):
        cluster.pod(namespace, "lost", *SLEEP)
        cluster.phase(namespace, "lost", "Running")
        cluster.kill_kubelet()
        try:
            pod = cluster.until(
                lambda seen: seen["metadata"].get("deletionTimestamp"),
                *("pod", "lost", "-n", namespace),
            )
            said = {each["type"]: each for each in pod["status"]["conditions"]}
            assert said["DisruptionTarget"]["reason"] == "DeletionByTaintManager"
            assert cluster.node_ready("hollow")
        finally:
            cluster.start_kubelet()
    cluster.until(
        lambda seen: not [each for each in seen["items"] if each["metadata"]["name"] == "lost"],
        *("pods", "-n", namespace),
    )


def test_the_hub_has_its_rights_and_no_more(kubernetes: Kubernetes, namespace: str) -> None:
    hub = Kubernetes(kubernetes.hub_kubeconfig(namespace))
    assert hub.get("pods", "-n", namespace)["items"] == []
    for asked in (
        ("get", "secrets", "-n", namespace),
        ("create", "pods", "-n", "kube-system"),
        ("create", "pods", "--subresource=exec", "-n", namespace),
        ("create", "rolebindings", "-n", namespace),
        ("patch", "nodes"),
    ):
        with pytest.raises(Failed, match="no"):
            hub.kubectl("auth", "can-i", *asked)
    assert hub.kubectl("auth", "can-i", "create", "pods", "-n", namespace).strip() == "yes"


def test_a_claim_gets_a_volume_that_its_group_may_write(cluster: Cluster, namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "home"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    cluster.create(claim, namespace)
    cluster.pod(
        *(namespace, "writes", "sh", "-c", "touch /home/me/here && ls /home/me"),
        container={"volumeMounts": [{"name": "home", "mountPath": "/home/me"}]},
        volumes=[{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}],
        securityContext={"runAsUser": 2001, "fsGroup": 3001},
    )
    cluster.phase(namespace, "writes", "Succeeded", "Failed")
    assert cluster.logs(namespace, "writes") == "here\n"


def test_a_killed_owner_leaves_nothing_and_two_clusters_live_side_by_side(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Its pods, its bridge and its cgroups go with it; the next start removes its files."""
    command = [sys.executable, "-m", "tests.kubernetes.cluster", "up", "--dir", str(tmp_path / "k")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        try:
            assert owner.stdout
            assert owner.stdout.readline().startswith("KUBECONFIG="), "it did not start"
            other = Cluster.attach(tmp_path / "k")
            assert other.share
            assert other.address != cluster.address
            other.pod("default", "sleeps", *SLEEP)
            other.phase("default", "sleeps", "Running")
            owner.send_signal(signal.SIGKILL)
            gone = time.monotonic() + 60
            while alive(other.share):
                assert time.monotonic() < gone, "a killed cluster lives on"
                time.sleep(0.1)
        except BaseException:
            owner.kill()
            raise
    assert not Path("/sys/class/net", other.share.bridge).exists()
    assert not list(Path("/sys/fs/cgroup").rglob(other.share.cgroup))
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
    assert cluster.node_ready(cluster.node)
