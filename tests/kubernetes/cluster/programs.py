"""How each program of the cluster is called, and the files that it reads. No I/O but ``write``."""

from __future__ import annotations

import ipaddress
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster.certificates import Authority
from tests.kubernetes.cluster.image import PAUSE

TOLERATION = 5
"""Seconds that a pod stays on a node that is lost."""
GRACE = 20
"""Seconds without a word from a node until it counts as lost."""
PRIVATE = {
    "/var/lib/kubelet": "kubelet",
    "/var/log/containers": "log/containers",
    "/run/containerd": "run/containerd",
    "/run/netns": "run/netns",
    "/var/lib/cni": "cni/lib",
}
"""Directories whose names are built into the programs, and ours that lie over them."""

_CONTROLLERS = (
    "bootstrap-signer-controller,cronjob-controller,horizontal-pod-autoscaler-controller,"
    "endpointslice-mirroring-controller,endpointslice-controller,endpoints-controller,"
    "certificatesigningrequest-signing-controller,certificatesigningrequest-approving-controller,"
    "certificatesigningrequest-cleaner-controller,daemonset-controller,job-controller,"
    "ttl-controller,ttl-after-finished-controller,"
    "node-ipam-controller,node-route-controller,cloud-node-lifecycle-controller,"
    "service-lb-controller,replicationcontroller-controller,statefulset-controller,"
    "service-cidr-controller,validatingadmissionpolicy-status-controller,"
    "token-cleaner-controller,volumeattributesclass-protection-controller,"
    "legacy-serviceaccount-token-cleaner-controller"
)
"""What no test needs; each costs memory and watches."""

_CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "{folder}/run/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/{pause}"
  restrict_oom_score_adj = {restrict}
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{folder}/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    snapshotter = "overlayfs"
    discard_unpacked_layers = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false
"""

_SCHEDULER = """\
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {{leaderElect: false}}
clientConnection: {{kubeconfig: {folder}/scheduler.kubeconfig}}
podInitialBackoffSeconds: 1
podMaxBackoffSeconds: 2
"""


@dataclass(frozen=True)
class Layout:
    """Where the parts of one cluster are."""

    folder: Path
    programs: Path
    address: str
    subnet: str
    bridge: str
    cgroup: str
    node: str
    api_port: int
    etcd_port: int
    peer_port: int
    kubelet_port: int
    cni: str

    @property
    def server(self) -> str:
        """The API's URL."""
        return f"https://{self.address}:{self.api_port}"


def write(at: Layout, *, restrict_oom: bool) -> None:
    """All certificates and settings."""
    pki = Authority(at.folder / "pki")
    pki.token_key()
    service = str(ipaddress.ip_network("10.96.0.0/24")[1])
    pki.sign("api", "kube-apiserver", hosts=[at.address, "127.0.0.1", "kubernetes", service])
    pki.sign("api-to-kubelet", "api-to-kubelet", ["system:masters"])
    pki.sign("kubelet-server", at.node, hosts=[at.address, at.node])
    for name, user, group in (
        ("admin", "admin", "system:masters"),
        ("controller-manager", "system:kube-controller-manager", ""),
        ("scheduler", "system:kube-scheduler", ""),
        ("kubelet", f"system:node:{at.node}", "system:nodes"),
    ):
        pki.kubeconfig(at.folder / f"{name}.kubeconfig", at.server, user, [group] if group else [])
    values = {
        "folder": at.folder,
        "pause": PAUSE,
        "restrict": str(restrict_oom).lower(),
        "cni": at.cni,
    }
    for name in ("log", "log/pods", "etcd", "cni/net.d", "run", "plugins", "volumes"):
        (at.folder / name).mkdir(parents=True, exist_ok=True)
    (at.folder / "containerd.toml").write_text(_CONTAINERD.format(**values))
    (at.folder / "scheduler.yaml").write_text(_SCHEDULER.format(folder=at.folder))
    (at.folder / "kubelet.yaml").write_text(json.dumps(kubelet(at), indent=1))
    (at.folder / "cni" / "net.d" / "10-bridge.conflist").write_text(json.dumps(network(at)))


def network(at: Layout) -> dict[str, Any]:
    """The pods' network. The bridge is there already with its address, so that the plug-in need
    not switch on forwarding for the whole host."""
    addresses = ipaddress.ip_network(at.subnet)
    span = {
        "subnet": at.subnet,
        "rangeStart": str(addresses[10]),
        "rangeEnd": str(addresses[250]),
        "gateway": at.address,
    }
    ipam = {
        "type": "host-local",
        "dataDir": str(at.folder / "cni" / "addresses"),
        "ranges": [[span]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": at.bridge,
        "isGateway": False,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": ipam,
    }
    return {"cniVersion": "0.4.0", "name": "panosc", "plugins": [bridge]}


def kubelet(at: Layout) -> dict[str, Any]:
    """The node. Nothing is evicted because the host's disk is full, and no image is collected."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": at.address,
        "port": at.kubelet_port,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(at.folder / "pki" / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(at.folder / "pki" / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(at.folder / "pki" / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{at.folder}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{at.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "serializeImagePulls": False,
        "podLogsDir": str(at.folder / "log" / "pods"),
        "volumePluginDir": str(at.folder / "plugins"),
        "resolvConf": "/etc/resolv.conf",
        "nodeLeaseDurationSeconds": 8,
        "nodeStatusUpdateFrequency": "5s",
        "oomScoreAdj": 0,
        "maxPods": 240,
        "syncFrequency": "10s",
    }


def commands(at: Layout) -> dict[str, list[str]]:
    """Name → argv, in the order in which they are started."""
    pki = at.folder / "pki"
    etcd = f"http://127.0.0.1:{at.etcd_port}"
    peers = f"http://127.0.0.1:{at.peer_port}"
    return {
        "etcd": [
            _found("etcd"),
            f"--data-dir={at.folder}/etcd/data",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--snapshot-count=20000",
            "--logger=zap",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            str(at.programs / "kube-apiserver"),
            f"--etcd-servers={etcd}",
            f"--bind-address={at.address}",
            f"--advertise-address={at.address}",
            f"--secure-port={at.api_port}",
            f"--tls-cert-file={pki}/api.crt",
            f"--tls-private-key-file={pki}/api.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/api-to-kubelet.crt",
            f"--kubelet-client-key={pki}/api-to-kubelet.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
            f"--service-account-key-file={pki}/service-accounts.key",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            f"--default-not-ready-toleration-seconds={TOLERATION}",
            f"--default-unreachable-toleration-seconds={TOLERATION}",
            "--profiling=false",
        ],
        "kube-controller-manager": [
            str(at.programs / "kube-controller-manager"),
            f"--kubeconfig={at.folder}/controller-manager.kubeconfig",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/service-accounts.key",
            f"--controllers=*,{','.join('-' + each for each in _CONTROLLERS.split(','))}",
            # The role of the program itself may do little; each controller has its own.
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--secure-port=0",
            "--node-monitor-period=2s",
            f"--node-monitor-grace-period={GRACE}s",
            "--node-eviction-rate=10",
            "--secondary-node-eviction-rate=10",
            "--pvclaimbinder-sync-period=5s",
            "--resource-quota-sync-period=30s",
            "--profiling=false",
        ],
        "kube-scheduler": [
            str(at.programs / "kube-scheduler"),
            f"--config={at.folder}/scheduler.yaml",
            "--secure-port=0",
        ],
        "containerd": [_found("containerd"), "--config", f"{at.folder}/containerd.toml"],
        "kubelet": [
            str(at.programs / "kubelet"),
            f"--config={at.folder}/kubelet.yaml",
            f"--kubeconfig={at.folder}/kubelet.kubeconfig",
            f"--hostname-override={at.node}",
            f"--node-ip={at.address}",
        ],
    }


def keeper(at: Layout, environment: Mapping[str, str]) -> dict[str, Any]:
    """What the keeper is told."""
    return {
        "private": PRIVATE,
        "programs": commands(at),
        "environment": dict(environment),
        "bridge": at.bridge,
        "cgroup": at.cgroup,
    }


def _found(name: str) -> str:
    path = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    assert path, f"{name} is not installed"
    return path
