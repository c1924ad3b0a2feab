"""What KubeSpawner makes beside a pod: certificates, a Service, what a facility's hook makes.

Only with ``JupyterHub.internal_ssl``, ``KubeSpawner.services_enabled`` or
``KubeSpawner.after_pod_created_hook``. Everything is owned by the pod and goes with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jupyterhub.utils import exponential_backoff, maybe_future
from kubespawner.objects import make_owner_reference


async def make_extras(spawner: Any, pod: Mapping[str, Any], uid: str) -> None:
    """Make them for ``pod``. Raises the client's ``ApiException`` or ``TimeoutError``."""
    if spawner.internal_ssl or spawner.services_enabled:
        owner = make_owner_reference(spawner.pod_name, uid)
        if spawner.internal_ssl:
            await _replace(spawner, "secret", spawner.get_secret_manifest(owner))
        service = spawner.get_service_manifest(owner, spawner.port)
        await _replace(spawner, "service", service)
    if spawner.after_pod_created_hook:
        made = {**pod, "metadata": {**pod["metadata"], "uid": uid}}
        await maybe_future(spawner.after_pod_created_hook(spawner, made))


async def _replace(spawner: Any, kind: str, manifest: Any) -> None:
    name = manifest.metadata.name
    await exponential_backoff(
        lambda: spawner._ensure_not_exists(kind, name), f"Could not remove {kind} {name}"
    )
    await exponential_backoff(
        lambda: spawner._make_create_resource_request(kind, manifest),
        f"Could not create {kind} {name}",
    )
