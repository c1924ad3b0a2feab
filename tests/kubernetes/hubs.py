"""Real Hubs whose sessions are pods of a real cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.hub.harness import ROOT, HubProcess
from tests.kubernetes.cluster.access import Kubernetes

TINY = (ROOT / "tests" / "hub" / "tiny_server.py").read_text()
"""A server that answers in half a second; the pods have no folder of the tests."""

UID = 2001
"""Nobody of the image, as at a facility."""

SITE = """
facility: {{id: test, title: Test facility, support: help@test.example}}
areas: {{}}
catalogue: {{kind: static, file: proposals.yaml}}
environments:
  - {{id: tiny, title: Tiny server, backends: [kubernetes], image: {image}, command: {tiny}}}
  - {{id: here, title: Tiny server here, backends: [local], command: [{python}, {path}]}}
profiles:
  - &small
    id: small
    title: Small
    backend: kubernetes
    memory: 256M
    start_timeout: 90
    options: {{guarantee: {{cpus: 0.05, memory: 64M}}}}
  - <<: *small
    id: gpu
    title: GPU A100
    gpus: {{type: a100, count: 1}}
    options:
      guarantee: {{cpus: 0.05, memory: 64M}}
      gpu_products: {{a100: [NVIDIA-A100-SXM4-40GB]}}
  - {{<<: *small, id: nowhere, title: On no node, options: {{node_selector: {{none: "yes"}}}}}}
  - {{<<: *small, id: lacking, title: No such image, options: {{image: registry.invalid/none:1}}}}
  - {{id: local, title: On this machine, backend: local, memory: 1G}}
"""

CONFIG = """
import panosc_hub
panosc_hub.configure(c, site={site!r})
c.JupyterHub.hub_bind_url = "http://0.0.0.0:{{hub_port}}"
c.JupyterHub.hub_connect_url = "http://{address}:{{hub_port}}"
c.JupyterHub.init_spawners_timeout = 1
c.JupyterHub.concurrent_spawn_limit = 0
c.Spawner.poll_interval = 1
c.LocalBackend.home_template = {homes!r}
c.KubernetesClient.kubeconfig = {kubeconfig!r}
c.KubernetesBackend.hub_name = "hub-under-test"
c.KubernetesBackend.adoption_grace = 10
c.KubernetesBackend.node_patience = 5
c.KubernetesBackend.image_patience = 5
c.KubernetesBackend.mount_patience = 20
c.KubernetesBackend.stop_timeout = 20
c.KubeSpawner.namespace = {namespace!r}
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.uid = {uid}
c.KubeSpawner.gid = {uid}
"""


def make_hub(
    folder: Path,
    cluster: Kubernetes,
    namespace: str,
    extra: str = "",
    *,
    site: str = SITE,
    name: str = "hub",
    **kwargs: Any,
) -> HubProcess:
    """A Hub of its own in ``folder``, with the rights that the project ships; not started yet."""
    path = ROOT / "tests" / "hub" / "tiny_server.py"
    if not (folder / "proposals.yaml").exists():
        (folder / "proposals.yaml").write_text("proposals: []\n")
    tiny = json.dumps(["python3", "-c", TINY])
    text = site.format(image=cluster.image, tiny=tiny, python=sys.executable, path=path)
    (folder / f"{name}.yaml").write_text(text)
    config = CONFIG.format(
        site=str(folder / f"{name}.yaml"),
        homes=str(folder / "home/{username}"),
        kubeconfig=str(cluster.hub_kubeconfig(namespace)),
        namespace=namespace,
        address=cluster.address,  # type: ignore[attr-defined]
        uid=UID,
    )
    (folder / name).mkdir()
    hub = HubProcess(folder / name, "", **kwargs)
    file = hub.folder / "jupyterhub_config.py"
    config = config.replace("{hub_port}", str(hub.hub_port))
    file.write_text(file.read_text() + config + extra)
    return hub


async def ask(
    hub: HubProcess, user: str, profile: str = "small", name: str = "", **more: Any
) -> int:
    """Ask for a server by the REST API; the status of the answer."""
    async with hub.api() as api:
        await api.post(f"/users/{user}")
        path = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
        return (await api.post(path, json={"profile": profile, **more})).status_code


async def stop(hub: HubProcess, user: str, name: str = "") -> int:
    async with hub.api() as api:
        path = f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
        return (await api.delete(path)).status_code


def pods(cluster: Kubernetes, namespace: str) -> dict[str, dict[str, Any]]:
    """The pods of the namespace by their names, as the API has them."""
    items = cluster.get("pods", "-n", namespace)["items"]
    return {item["metadata"]["name"]: item for item in items}


async def visit(hub: HubProcess, user: str, name: str = "") -> dict[str, Any]:
    """What the user's tiny server says of itself, by way of the proxy."""
    model = await hub.until(user, name)
    async with hub.api() as api:
        answer = await api.get(f"{hub.url}{model['url']}info")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found
