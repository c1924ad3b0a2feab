"""A real Kubernetes of one node on one machine, all of it in one directory.

``Cluster()`` starts etcd, the API server (RBAC), controller manager, scheduler, containerd and a
kubelet in a process and mount namespace of their own, with a bridge network and ports of their own;
a Kubernetes or containerd that already runs on the machine is left in peace, and so is a second
cluster of another checkout. When the process that started it ends, however it ends, all pods,
mounts, cgroups and the bridge go. For development::

    python -m tests.kubernetes.cluster up --dir DIR      # stays; KUBECONFIG=DIR/admin.kubeconfig

See README.md beside this file for what was needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster import build, host, programs, store
from tests.kubernetes.cluster.access import Failed, Kubernetes
from tests.kubernetes.cluster.keeper import SOCKET, cgroup_roots
from tests.kubernetes.cluster.objects import hollow_node, storage

PACKAGES = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "busybox": "busybox-static",
    "ip": "iproute2",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "iptables": "iptables",
}
_CNI = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_CAP_SYS_RESOURCE = 1 << 24


class CannotRun(Exception):
    """Why the cluster cannot run here, in a sentence."""


def _cni() -> str:
    return next((each for each in _CNI if Path(each, "bridge").exists()), "")


def why_not() -> str:
    """Empty if a cluster can be started here, else the reason."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a real Kubernetes node needs Linux and root"
    missing = [PACKAGES[each] for each in PACKAGES if not shutil.which(each)]
    if not _cni():
        missing.append("containernetworking-plugins")
    if missing:
        return f"not installed (Debian: apt-get install {' '.join(dict.fromkeys(missing))})"
    if not cgroup_roots():
        return "no cgroups are mounted here"
    return build.why_not()


class Cluster(Kubernetes):
    """One cluster in ``folder``; without one, in a new directory that goes with it."""

    host = True
    node = "node1"

    def __init__(self, folder: Path | str | None = None) -> None:
        self._ours = folder is None
        self.folder = Path(folder or tempfile.mkdtemp(prefix="panosc-kubernetes-")).resolve()
        self.times: dict[str, float] = {}
        self.share: host.Share | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        super().__init__(self.folder / "admin.kubeconfig")

    @classmethod
    def attach(cls, folder: Path | str) -> Cluster:
        """A cluster that another process started and that goes on when this one ends."""
        cluster = cls(folder)
        try:
            known = json.loads((cluster.folder / "share.json").read_text())
        except FileNotFoundError:
            raise CannotRun(f"no cluster was started in {folder}") from None
        cluster.share = host.Share(**known)
        if not host.alive(cluster.share):
            raise CannotRun(f"the cluster in {folder} has ended")
        return cluster

    @property
    def address(self) -> str:
        """The host as pods reach it, and the node's own address."""
        assert self.share
        return self.share.address

    # Start and stop

    def start(self) -> None:
        """Start everything; returns when the node is ready and the images are there."""
        if reason := why_not():
            raise CannotRun(reason)
        began = time.monotonic()
        try:
            binaries = build.build()
            store.make()
        except build.CannotBuild as error:
            raise CannotRun(str(error)) from error
        self._note("build", began)
        if not self._ours:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        try:
            self._start(binaries)
        except BaseException:
            self.stop()
            raise
        self._note("all", began)

    def _start(self, binaries: Path) -> None:
        began = time.monotonic()
        store.put(self.folder / "containerd")
        self._note("images", began)
        self.share, held = host.take(self.folder, ours=self._ours)
        try:
            self._write(binaries)
            self._keeper = subprocess.Popen(
                [
                    *("unshare", "--mount", "--propagation", "private", "--pid", "--fork"),
                    *("--mount-proc", sys.executable, "-B"),
                    *(str(Path(__file__).with_name("keeper.py")), str(self.folder)),
                ],
                stdin=subprocess.PIPE,
                stdout=open(self.folder / "log" / "keeper.log", "ab"),  # noqa: SIM115
                stderr=subprocess.STDOUT,
                pass_fds=(held,),
                # Ctrl-C is for the owner; it stops the keeper in its own time.
                start_new_session=True,
            )
        finally:
            os.close(held)
        self._until("the keeper", lambda: bool(self._told({"do": "status"})), 20)
        for name in ("containerd", "etcd", "kube-apiserver"):
            self._told({"do": "start", "name": name})
        began = time.monotonic()
        self._until("the API", self._api_ready, 90)
        self._note("api", began)
        for name in ("kube-controller-manager", "kube-scheduler", "kubelet"):
            self._told({"do": "start", "name": name})
        self._set_up()
        self._until("the node", lambda: self.node_ready(self.node), 90)
        self._note("node", began)

    def _write(self, binaries: Path) -> None:
        assert self.share
        api, etcd, peer, kubelet = host.free_ports(self.address, 4)
        layout = programs.Layout(
            folder=self.folder,
            programs=binaries,
            address=self.address,
            subnet=self.share.subnet,
            bridge=self.share.bridge,
            cgroup=self.share.cgroup,
            node=self.node,
            api_port=api,
            etcd_port=etcd,
            peer_port=peer,
            kubelet_port=kubelet,
            cni=_cni(),
        )
        status = Path("/proc/self/status").read_text()
        capabilities = int(status.split("CapEff:")[1].split()[0], 16)
        programs.write(layout, restrict_oom=not capabilities & _CAP_SYS_RESOURCE)
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        told = programs.keeper(layout, {"PATH": path, "HOME": str(self.folder)})
        (self.folder / "keeper.json").write_text(json.dumps(told, indent=1))
        (self.folder / "share.json").write_text(json.dumps(asdict(self.share)))

    def _set_up(self) -> None:
        """A storage class with volumes that are there already."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps(storage(self.folder, self.node)))

    def stop(self) -> None:
        """End everything; does nothing to a cluster that was only attached to."""
        if self._keeper and self._keeper.stdin:
            self._keeper.stdin.close()
            try:
                self._keeper.wait(60)
            except subprocess.TimeoutExpired:
                self._keeper.kill()
        if self.share and (self._keeper or not host.alive(self.share)):
            host.give_back(self.share)
        elif self._ours and not self.share:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._keeper = None

    # Faults

    def stop_api(self) -> None:
        """Kill the API server alone; pods go on."""
        self._told({"do": "kill", "name": "kube-apiserver"})

    def start_api(self, timeout: float = 90) -> None:
        """Start the API server again and wait until it is ready."""
        self._told({"do": "start", "name": "kube-apiserver"})
        self._until("the API", self._api_ready, timeout)

    @contextlib.contextmanager
    def frozen_api(self) -> Iterator[None]:
        """The API server takes connections and says nothing: what a hung control plane is like."""
        self._told({"do": "kill", "name": "kube-apiserver", "signal": signal.SIGSTOP})
        try:
            yield
        finally:
            self._told({"do": "kill", "name": "kube-apiserver", "signal": signal.SIGCONT})

    def kill_kubelet(self) -> None:
        """The node falls silent; its containers go on."""
        self._told({"do": "kill", "name": "kubelet"})

    def start_kubelet(self, timeout: float = 90) -> None:
        """The node comes back."""
        self._told({"do": "start", "name": "kubelet"})
        self._until("the node", lambda: self.node_ready(self.node), timeout)

    def hollow_node(self, name: str = "hollow", **what: Any) -> AbstractContextManager[str]:
        """A second, ready node that runs nothing, see :func:`objects.hollow_node`."""
        return hollow_node(self, name, **what)

    def status(self) -> dict[str, Any]:
        """Which programs run and which have ended, with their exit codes."""
        return self._told({"do": "status"})

    # Seeing

    def node_ready(self, name: str) -> bool:
        """Whether the API says that the node is ready."""
        try:
            node = self.get("node", name)
        except (Failed, subprocess.TimeoutExpired):
            return False
        said = {each["type"]: each["status"] for each in node["status"].get("conditions", ())}
        return said.get("Ready") == "True"

    def log(self, name: str, lines: int = 40) -> str:
        """The end of a program's log."""
        path = self.folder / "log" / f"{name}.log"
        text = path.read_text(errors="replace") if path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def summary(self) -> str:
        """What took how long at the start, in seconds."""
        return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.times.items())

    def _note(self, what: str, began: float) -> None:
        self.times[what] = time.monotonic() - began

    def _api_ready(self) -> bool:
        try:
            return self.kubectl("get", "--raw=/readyz", timeout=5).strip() == "ok"
        except (Failed, subprocess.TimeoutExpired):
            return False

    def _told(self, what: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the keeper; raises :class:`Failed` when it refuses, {} when it is not there yet."""
        # The path of a socket is limited to 107 bytes; that of its directory's descriptor is short.
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(30)
                line.connect(f"/proc/self/fd/{folder}/{SOCKET}")
                line.sendall(json.dumps(what).encode() + b"\n")
                said: dict[str, Any] = json.loads(line.makefile().readline())
        except (FileNotFoundError, ConnectionRefusedError):
            return {}
        finally:
            os.close(folder)
        if "error" in said:
            raise Failed(said["error"])
        return said

    def _until(self, what: str, ready: Any, timeout: float) -> None:
        end = time.monotonic() + timeout
        while not ready():
            ended = self._told({"do": "status"}).get("ended", {})
            if self._keeper and self._keeper.poll() is not None:
                raise CannotRun(f"the keeper ended: {self.log('keeper')}")
            if ended or time.monotonic() > end:
                name = next(iter(ended), "")
                logs = self.log(name or "kubelet", 15)
                raise CannotRun(f"{what}: not ready within {timeout:.0f} s. {name}: {logs}")
            time.sleep(0.1)
