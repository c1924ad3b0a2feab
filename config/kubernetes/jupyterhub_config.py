"""A Hub on a machine of its own, beside Slurm, with sessions on two Kubernetes clusters.

For a Hub inside the cluster take ``values.yaml``. This one reaches each cluster's API with a
kubeconfig of the account in ``rbac.yaml``, and the proxy must reach the addresses of the pods.
"""

import panosc_hub
from panosc_hub.backends.kubernetes.spawner import KubernetesBackend

c = get_config()  # noqa: F821 (JupyterHub provides it)


class GpuCluster(KubernetesBackend):
    """The second cluster: ``backend: gpu-cluster`` in site.yaml."""

    backend_name = "gpu-cluster"


panosc_hub.configure(c, site="/etc/panosc-hub/site.yaml", authenticator="umbrella")

c.PanoscSpawner.backends = {
    "slurm": "panosc_hub.backends.slurm.spawner.SlurmBackend",
    "kubernetes": KubernetesBackend,
    "gpu-cluster": GpuCluster,
}

# What holds for both clusters. Everything of c.KubeSpawner does, too.
c.KubeSpawner.namespace = "jupyterhub"
c.KubernetesBackend.hub_name = "facility-hub"
c.KubernetesBackend.account = "panosc_hub.backends.kubernetes.accounts.from_nss"
c.KubernetesBackend.data_volumes = {
    "/data/visitor": {"nfs": {"server": "nfs.facility.example", "path": "/export/visitor"}},
    "/data/scratch": {"persistentVolumeClaim": {"claimName": "scratch"}},
}
c.KubernetesBackend.cluster = {"kubeconfig": "/etc/panosc-hub/cluster.kubeconfig"}

# What is different on the second.
c.GpuCluster.cluster = {"kubeconfig": "/etc/panosc-hub/gpu-cluster.kubeconfig"}
c.GpuCluster.node_patience = 900  # seconds; its nodes are added on demand

# Pods come to the Hub by this address; it is not behind the proxy.
c.JupyterHub.hub_bind_url = "http://0.0.0.0:8081"
c.JupyterHub.hub_connect_url = "http://hub.facility.example:8081"
c.JupyterHub.cleanup_servers = False
