"""A Kubernetes cluster as tests use it, through its API alone: ours or any that is given."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.cluster import build, image
from tests.kubernetes.cluster.certificates import write_kubeconfig

SHIPPED = Path(__file__).parents[3] / "config" / "kubernetes" / "rbac.yaml"

OF = "panosc.test/namespace"
"""The label of what is not in the test's namespace but goes with it."""


class Failed(Exception):
    """What kubectl said."""


class Kubernetes:
    """A cluster's API with an administrator's rights.

    ``host`` is True where the machine under the cluster is ours to fault.
    """

    host = False
    node = ""
    """The node that tests may change; empty: the first one."""
    image = os.environ.get("PANOSC_KUBERNETES_IMAGE", image.SESSION)
    """The image with jupyterhub-singleuser."""

    def __init__(self, kubeconfig: Path | str) -> None:
        self.kubeconfig = Path(kubeconfig)
        self._numbers = iter(range(10**6))

    @property
    def address(self) -> str:
        """This machine as pods reach it: ``$PANOSC_KUBERNETES_HUB_ADDRESS``, else the address
        from which it reaches the API."""
        if given := os.environ.get("PANOSC_KUBERNETES_HUB_ADDRESS"):
            return given
        server = urllib.parse.urlsplit(self._server()["server"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((server.hostname, server.port or 443))
            return str(probe.getsockname()[0])

    def _server(self) -> dict[str, Any]:
        whole = self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
        cluster: dict[str, Any] = json.loads(whole)["clusters"][0]["cluster"]
        return cluster

    @property
    def program(self) -> str:
        """kubectl: our own where it is built, else the one of the machine."""
        own = build.folder() / "kubectl"
        found = str(own) if own.exists() else shutil.which("kubectl")
        if not found:
            raise Failed("kubectl is neither built nor installed")
        return found

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 60) -> str:
        """What kubectl prints; raises :class:`Failed` with what it complained of."""
        said = subprocess.run(
            [self.program, f"--kubeconfig={self.kubeconfig}", *args],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if said.returncode:
            raise Failed(said.stderr.strip() or said.stdout.strip())
        return said.stdout

    def get(self, *args: str) -> Any:
        """``kubectl get … -o json``, as Python."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))

    def apply(self, *objects: Mapping[str, Any], namespace: str = "default") -> None:
        """Create or change objects."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(whole))

    def create(self, what: Mapping[str, Any], namespace: str) -> Any:
        """Create one object and return it as the API has it."""
        args = ("create", "-n", namespace, "-o", "json", "-f", "-")
        return json.loads(self.kubectl(*args, stdin=json.dumps(what)))

    def pod(self, namespace: str, name: str, *command: str, **spec: Any) -> dict[str, Any]:
        """Create a plain pod of the image; ``spec`` has further keys of the pod's, and under
        ``container`` of the container's specification."""
        container = {
            "name": "notebook",
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(command),
            **spec.pop("container", {}),
        }
        made = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "containers": [container],
                **spec,
            },
        }
        created: dict[str, Any] = self.create(made, namespace)
        return created

    def until(
        self,
        good: Callable[[Any], Any],
        *args: str,
        timeout: float = 120,
    ) -> Any:
        """Wait until ``kubectl get`` of that shows what ``good`` takes; returns the object."""
        end = time.monotonic() + timeout
        seen: Any = None
        while True:
            try:
                seen = self.get(*args)
                if good(seen):
                    return seen
            except (Failed, subprocess.TimeoutExpired) as error:
                seen = error
            if time.monotonic() > end:
                text = seen if isinstance(seen, Exception) else json.dumps(seen, indent=1)[-3000:]
                raise TimeoutError(f"{' '.join(args)}: not within {timeout:.0f} s: {text}")
            time.sleep(0.3)

    def phase(self, namespace: str, name: str, *phases: str, timeout: float = 120) -> Any:
        """Wait until the pod is in one of the phases; returns the pod."""
        return self.until(
            lambda pod: pod["status"].get("phase") in phases,
            *("pod", name, "-n", namespace),
            timeout=timeout,
        )

    def logs(self, namespace: str, name: str, *args: str) -> str:
        """What the pod printed."""
        return self.kubectl("logs", "-n", namespace, name, *args)

    @contextlib.contextmanager
    def namespace(self, prefix: str = "test") -> Iterator[str]:
        """A namespace of its own that goes with all that is in it, without waiting for pods."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.kubectl("create", "namespace", name)
        self.until(bool, "serviceaccount", "default", "-n", name)
        try:
            yield name
        finally:
            force = ("--grace-period=0", "--force", "--ignore-not-found")
            with contextlib.suppress(Failed, subprocess.TimeoutExpired):
                self.kubectl("delete", "pods", "--all", "-n", name, "--wait=false", *force)
            kinds = "clusterroles,clusterrolebindings"
            self.kubectl("delete", kinds, "-l", f"{OF}={name}", "--ignore-not-found")
            self.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def hub_kubeconfig(self, namespace: str, *, cluster_wide: bool = True) -> Path:
        """A kubeconfig with the Hub's rights and no more, as ``config/kubernetes/rbac.yaml``
        gives them; without ``cluster_wide`` what is not bound to the namespace is left out."""
        objects = [
            each
            for each in _rights(namespace)
            if cluster_wide or not each["kind"].startswith("Cluster")
        ]
        self.apply(*objects, namespace=namespace)
        account = next(each for each in objects if each["kind"] == "ServiceAccount")
        token = self.kubectl(
            *("create", "token", account["metadata"]["name"], "-n", namespace, "--duration=24h")
        )
        cluster = self._server()
        return write_kubeconfig(
            self._own_files / f"{namespace}-{next(self._numbers)}.kubeconfig",
            cluster["server"],
            cluster.get("certificate-authority-data", ""),
            {"token": token.strip()},
            namespace,
        )

    @functools.cached_property
    def _own_files(self) -> Path:
        """Where kubeconfigs of Hubs are kept; they go with this process."""
        folder = Path(tempfile.mkdtemp(prefix="panosc-hub-rights-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def set_gpus(
        self, gpus: Mapping[str, int], *, product: str = "", node: str | None = None
    ) -> None:
        """Pretend GPUs, and the label that GPU feature discovery would set."""
        node = node or self.node or self.get("nodes")["items"][0]["metadata"]["name"]
        amounts = {name: str(count) for name, count in gpus.items()}
        patch = json.dumps({"status": {"capacity": amounts, "allocatable": amounts}})
        self.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", patch)
        if product:
            self.kubectl("label", "node", node, "--overwrite", f"nvidia.com/gpu.product={product}")
        self.until(
            lambda seen: all(seen["status"]["allocatable"].get(k) == v for k, v in amounts.items()),
            *("node", node),
        )


def _rights(namespace: str) -> list[dict[str, Any]]:
    """The shipped rights, brought into the namespace."""
    found = [each for each in yaml.safe_load_all(SHIPPED.read_text()) if each]
    renamed = {each["metadata"]["name"] for each in found if each["kind"] == "ClusterRole"}
    for each in found:
        cluster_wide = each["kind"].startswith("Cluster")
        if cluster_wide:
            # Cluster-wide objects of several tests must not overwrite each other.
            each["metadata"]["name"] += f"-{namespace}"
            each["metadata"].setdefault("labels", {})[OF] = namespace
        else:
            each["metadata"]["namespace"] = namespace
        role = each.get("roleRef", {})
        if role.get("kind") == "ClusterRole" and role["name"] in renamed:
            role["name"] += f"-{namespace}"
        for subject in each.get("subjects", ()):
            subject["namespace"] = namespace
    return found


def token_of(kubeconfig: Path) -> str:
    """The bearer token in a Hub's kubeconfig, for tests that must not find it elsewhere."""
    token: str = json.loads(kubeconfig.read_text())["users"][0]["user"]["token"]
    return token
