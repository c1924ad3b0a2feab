"""The API server goes away for real, and the Hub is killed: no session is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.hub.harness import HubProcess
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.hubs import SITE, ask, pods, stop, visit
from tests.slurm.hubs import wait_for

Make = Callable[..., HubProcess]


async def test_an_api_server_that_is_killed_ends_no_session(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    hub = make()
    await hub.start()
    for user in ("paula", "ingo"):
        assert await ask(hub, user) in (201, 202)
        await visit(hub, user)
    before = {n: p["metadata"]["uid"] for n, p in pods(cluster, namespace).items()}
    cluster.stop_api()
    try:
        for _ in range(20):  # as many polls
            await asyncio.sleep(1)
            for user in ("paula", "ingo"):
                await visit(hub, user)
    finally:
        cluster.start_api()
        wait_for("the node", lambda: cluster.node_ready(cluster.node), 200)
    assert {n: p["metadata"]["uid"] for n, p in pods(cluster, namespace).items()} == before
    # It recovers alone. Until the node is back the profile is refused, with that reason.
    for _ in range(60):
        if (status := await ask(hub, "mira")) != 400:
            break
        await asyncio.sleep(1)
    assert status in (201, 202)
    await visit(hub, "mira")
    assert await stop(hub, "paula") in (202, 204)
    await hub.until("paula", ready=False)


async def test_pods_that_a_killed_hub_left_are_adopted(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    """One runs; one waits for a GPU that is not there yet."""
    cluster.set_gpus({"nvidia.com/gpu": 4}, product="NVIDIA-A100-SXM4-40GB")
    hub = make(
        site=SITE.replace("gpus: {{type: a100, count: 1}}", "gpus: {{type: a100, count: 4}}")
    )
    await hub.start()
    assert await ask(hub, "paula", "gpu") in (201, 202)
    await visit(hub, "paula")
    assert await ask(hub, "ingo", "gpu") in (201, 202)
    cluster.until(lambda found: len(found["items"]) == 2, "pods", "-n", namespace)
    before = {n: p["metadata"]["uid"] for n, p in pods(cluster, namespace).items()}
    hub.kill()
    await hub.start()
    await visit(hub, "paula")
    assert await stop(hub, "paula") in (202, 204)
    await visit(hub, "ingo")
    after = {n: p["metadata"]["uid"] for n, p in pods(cluster, namespace).items()}
    assert after["jupyter-ingo"] == before["jupyter-ingo"]
