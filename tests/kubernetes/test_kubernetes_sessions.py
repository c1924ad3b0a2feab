"""Sessions as pods, seen from the Hub and from the cluster."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.hub.harness import HubProcess
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.hubs import UID, ask, pods, stop, visit

Make = Callable[..., HubProcess]


async def test_a_session_is_a_pod_that_holds_no_token(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    hub = make()
    await hub.start()
    assert await ask(hub, "paula") in (201, 202)
    assert (await visit(hub, "paula"))["environment"]["MEM_LIMIT"] == str(256 * 2**20)
    (pod,) = pods(cluster, namespace).values()
    secret = json.loads(cluster.kubectl("get", "secrets", "-n", namespace, "-o", "json"))["items"]
    (mine,) = (s for s in secret if s["metadata"]["name"].startswith("panosc-session-"))
    assert mine["metadata"]["ownerReferences"][0]["uid"] == pod["metadata"]["uid"]
    (notebook,) = pod["spec"]["containers"]
    assert not notebook.get("env")
    assert "JUPYTERHUB_API_TOKEN" not in json.dumps(pod)
    assert notebook["securityContext"]["runAsUser"] == UID
    assert notebook["securityContext"]["allowPrivilegeEscalation"] is False
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert await stop(hub, "paula") in (202, 204)
    await hub.until("paula", ready=False)
    cluster.until(lambda found: not found["items"], "pods", "-n", namespace)
    cluster.until(
        lambda found: (
            not [s for s in found["items"] if s["metadata"]["name"].startswith("panosc-session-")]
        ),
        *("secrets", "-n", namespace),
    )


async def test_named_and_default_servers_have_pods_of_their_own(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    hub = make()
    await hub.start()
    for name in ("", "second"):
        assert await ask(hub, "paula", name=name) in (201, 202)
    await visit(hub, "paula"), await visit(hub, "paula", "second")
    assert set(pods(cluster, namespace)) == {"jupyter-paula", "jupyter-paula--second"}
    assert await stop(hub, "paula") in (202, 204)
    await hub.until("paula", ready=False)
    await visit(hub, "paula", "second")
    cluster.until(lambda found: len(found["items"]) == 1, "pods", "-n", namespace)


async def test_a_fifth_gpu_waits_with_a_sentence_and_starts_when_one_is_free(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    cluster.set_gpus({"nvidia.com/gpu": 4}, product="NVIDIA-A100-SXM4-40GB")
    hub = make()
    await hub.start()
    users = ["ann", "ben", "cleo", "dan"]
    for user in users:
        assert await ask(hub, user, "gpu") in (201, 202)
    for user in users:
        await visit(hub, user)
    assert await ask(hub, "eve", "gpu") in (201, 202)
    lines: list[str] = []
    async with hub.api() as api, api.stream("GET", "/users/eve/server/progress") as stream:
        async for line in stream.aiter_lines():
            lines.append(line)
            if "4 of 4 in use" in line:
                break
    told = json.loads(lines[-1].removeprefix("data:"))
    assert "Waiting for 1 × A100: 4 of 4 in use" in told["message"]
    assert await stop(hub, "ann") in (202, 204)
    await visit(hub, "eve")
