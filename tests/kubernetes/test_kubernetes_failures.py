"""A session that cannot start, or ends, says so in plain words; its pod is removed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.hub.harness import HubProcess
from tests.kubernetes.cluster.cluster import Cluster
from tests.kubernetes.hubs import SITE, ask, pods, visit

Make = Callable[..., HubProcess]

MORE = """
  - {{<<: *small, id: crash, title: Crashes, environments: [crash]}}
"""
CRASH = """
  - {{id: crash, title: Crashes, backends: [kubernetes], image: {image},
      command: [python3, -c, "import sys; sys.exit('the kernel of all evil')"]}}
"""


async def failure(hub: HubProcess, user: str, profile: str) -> str:
    """The sentence that a start ends with: in the answer, or later on the pending page."""
    async with hub.api() as api:
        await api.post(f"/users/{user}")
        answer = await api.post(f"/users/{user}/server", json={"profile": profile})
    if answer.status_code >= 400:
        return str(answer.json()["message"])
    events = await hub.progress(user)
    assert events[-1].get("failed"), events
    return str(events[-1]["message"])


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ("nowhere", "no node of the cluster is of the kind that this session asks for"),
        ("lacking", "the image cannot be pulled (registry.invalid/none:1)"),
        ("crash", "the kernel of all evil"),
    ],
)
async def test_a_start_that_cannot_succeed_fails_fast_and_in_words(
    make: Make, cluster: Cluster, namespace: str, profile: str, words: str
) -> None:
    site = SITE.replace("profiles:\n", CRASH.strip("\n") + "\nprofiles:\n") + MORE.strip("\n")
    hub = make(site=site)
    await hub.start()
    assert words in await failure(hub, "paula", profile)
    cluster.until(lambda found: not found["items"], "pods", "-n", namespace)


async def test_a_quota_that_is_used_up_is_a_refusal_in_words(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "sessions"},
        "spec": {"hard": {"pods": "0"}},
    }
    cluster.apply(quota, namespace=namespace)
    cluster.until(
        lambda found: found.get("status", {}).get("hard"), "quota", "sessions", "-n", namespace
    )
    hub = make()
    await hub.start()
    await ask(hub, "paula")
    model = await hub.until("paula", ready=False)
    assert not model.get("ready")
    assert "0 of 0 pods used" in hub.log
    assert not pods(cluster, namespace)


async def test_a_pod_that_is_removed_on_the_cluster_is_told_on_the_home_page(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    hub = make()
    await hub.start()
    assert await ask(hub, "paula") in (201, 202)
    await visit(hub, "paula")
    cluster.kubectl(
        "delete", "pod", "jupyter-paula", "-n", namespace, "--grace-period=0", "--force"
    )
    await hub.until("paula", ready=False)
    async with hub.browser("paula") as browser:
        page = (await browser.client.get("/hub/home")).text
    assert "removed on the cluster" in page or "stopped on the cluster" in page


async def test_a_session_without_memory_says_so(
    make: Make, cluster: Cluster, namespace: str
) -> None:
    """The server itself grows beyond its limit: the kernel ends the container."""
    eater = json.dumps(["python3", "-c", "x = [b'x' * 2**24 for _ in range(10**4)]"])
    site = (
        SITE.replace(
            "profiles:\n",
            f"  - {{{{id: eater, title: Eats, backends: [kubernetes], image: {{image}}, "
            f"command: {eater.replace('{', '{{').replace('}', '}}')}}}}}\nprofiles:\n",
        )
        + "  - {{<<: *small, id: eats, title: Eats, environments: [eater]}}\n"
    )
    hub = make(site=site)
    await hub.start()
    assert "more memory" in await failure(hub, "paula", "eats")
