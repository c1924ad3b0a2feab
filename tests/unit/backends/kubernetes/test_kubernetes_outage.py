"""What is believed of pods while the API fails in the ways that real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from traitlets.config import Config

from panosc_hub.backends.kubernetes.shared import Watchers, close_all, watchers
from panosc_hub.core.jobstate import JobState
from tests.fake_kubernetes import Server

GONE, RUNNING, UNKNOWN = JobState.GONE, JobState.RUNNING, JobState.UNKNOWN


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    fake = Server()
    await fake.start()
    yield fake
    await close_all()
    await fake.close()


@pytest.fixture
async def cluster(server: Server) -> Watchers:
    config = Config()
    config.KubernetesClient.api_host = server.url
    config.PodWatcher.longest_pause = 0.1
    config.PodWatcher.confirm_after = 0.05
    return watchers(config, object)


async def make(cluster: Watchers, name: str) -> str:
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "notebook"}]}}
    path = "/api/v1/namespaces/hub/pods"
    made = await cluster.client.request("POST", path, body=body)
    uid = str(made["metadata"]["uid"])
    cluster.pods.watch("hub", name, uid, starting=True)
    return uid


async def until(cluster: Watchers, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await cluster.pods.news(0.05)


def state(cluster: Watchers, name: str) -> JobState:
    return cluster.pods.see("hub", name).state


async def test_a_pod_is_seen_from_its_start_to_its_end(server: Server, cluster: Watchers) -> None:
    uid = await make(cluster, "a")
    await until(cluster, lambda: state(cluster, "a") is RUNNING)
    assert await cluster.pods.delete("hub", "a", uid)
    await until(cluster, lambda: state(cluster, "a") is GONE)
    assert server.count("get") == 0  # the watch told all
    assert cluster.pods.pod("hub", "a") is None


async def test_an_api_that_is_away_loses_no_pod(server: Server, cluster: Watchers) -> None:
    names = [f"p{n}" for n in range(200)]
    for name in names:
        await make(cluster, name)
    await until(cluster, lambda: all(state(cluster, n) is RUNNING for n in names))
    await server.stop()
    await until(cluster, lambda: cluster.pods.failures >= 5)
    assert {state(cluster, n) for n in names} == {UNKNOWN}
    assert cluster.pods.trouble
    await server.start()
    await until(cluster, lambda: all(state(cluster, n) is RUNNING for n in names))
    assert not cluster.pods.trouble


async def test_a_first_list_that_fails_is_tried_again(server: Server, cluster: Watchers) -> None:
    await make(cluster, "a")
    fault = server.fail(500, "list", "pods", times=3)
    await until(cluster, lambda: state(cluster, "a") is RUNNING)
    assert fault.seen == 3


@pytest.mark.parametrize("how", ["event", "status"])
async def test_a_version_that_is_too_old_brings_a_new_list(
    server: Server, cluster: Watchers, how: str
) -> None:
    await make(cluster, "a")
    await until(cluster, lambda: state(cluster, "a") is RUNNING)
    server.watches.expires_as = how
    server.forget_history()
    before = cluster.pods.relists
    server.watches.strike("drop")
    await until(cluster, lambda: cluster.pods.relists > before)
    assert state(cluster, "a") is RUNNING


@pytest.mark.parametrize("how", ["garbage", "half", "drop", "end"])
async def test_a_watch_that_breaks_is_begun_again(
    server: Server, cluster: Watchers, how: str
) -> None:
    await make(cluster, "a")
    await until(cluster, lambda: state(cluster, "a") is RUNNING)
    assert server.watches.strike(how, "pods") == 1
    uid = await make(cluster, "b")
    await until(cluster, lambda: state(cluster, "b") is RUNNING)
    assert state(cluster, "a") is RUNNING
    assert uid


async def test_another_pod_of_that_name_is_never_deleted(server: Server, cluster: Watchers) -> None:
    old = await make(cluster, "a")
    await until(cluster, lambda: state(cluster, "a") is RUNNING)
    server.store.remove("pods", "hub", "a")
    await until(cluster, lambda: state(cluster, "a") is GONE)
    await make(cluster, "a")
    assert not await cluster.pods.delete("hub", "a", old)
    assert server.pod("a")


async def test_a_deletion_is_owed_until_the_api_takes_it(server: Server, cluster: Watchers) -> None:
    uid = await make(cluster, "a")
    await until(cluster, lambda: state(cluster, "a") is RUNNING)
    await server.stop()
    cluster.pods.owe("hub", "a", uid)
    await until(cluster, lambda: bool(cluster.pods.trouble))
    assert cluster.pods.owed
    await server.start()
    await until(cluster, lambda: not cluster.pods.owed)
    await until(cluster, lambda: state(cluster, "a") is GONE)
