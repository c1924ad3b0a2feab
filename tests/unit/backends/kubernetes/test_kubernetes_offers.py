"""What pages are told of a cluster: snapshots, one look for all, and nothing that is not known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from traitlets.config import Config

from panosc_hub.backends.base import Availability
from panosc_hub.backends.kubernetes import offers
from panosc_hub.backends.kubernetes.parse import pod_of
from panosc_hub.backends.kubernetes.shared import close_all, watchers
from panosc_hub.backends.kubernetes.spawner import KubernetesBackend
from panosc_hub.core.identity import Person
from panosc_hub.core.profiles import Profile
from tests.fake_kubernetes import Server
from tests.unit.backends.kubernetes.makers import A100, GPU, PRODUCT, launch, options, profile

ONE_GPU = profile(
    id="gpu",
    memory="1G",
    gpus={"type": "a100", "count": {"max": 9}},
    options={"gpu_products": {"a100": [A100]}},
)
SMALL = profile(cpus={"min": 1, "max": 99}, memory="4G")
BOTH = {"small": SMALL, "gpu": ONE_GPU}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    fake = Server()
    await fake.start()
    add_node(fake, "n1", {"cpu": "8", "memory": "32Gi", GPU: "4"}, {PRODUCT: A100})
    yield fake
    await close_all()
    await fake.close()


@pytest.fixture
def config(server: Server, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(offers, "_LASTS", 0.0)
    config = Config()
    config.KubernetesClient.api_host = server.url
    config.PodWatcher.longest_pause = 0.1
    return config


def add_node(server: Server, name: str, there: dict[str, str], labels: dict[str, str]) -> None:
    server.store.create(
        "nodes",
        "",
        {
            "metadata": {"name": name, "labels": labels},
            "status": {
                "allocatable": there,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        },
    )


def pod_body(name: str, node: str, requests: dict[str, str], **spec: Any) -> dict[str, Any]:
    container = {"name": "notebook", "resources": {"requests": requests, "limits": requests}}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [container], **spec},
        "status": {"phase": "Running" if node else "Pending"},
    }


def add_pod(
    server: Server, name: str, node: str, requests: dict[str, str], namespace: str = "other"
) -> dict[str, Any]:
    made: dict[str, Any] = server.store.create("pods", namespace, pod_body(name, node, requests))
    return made


def told(config: Config) -> dict[str, Availability]:
    return offers.availability(KubernetesBackend, BOTH, config)


async def until(config: Config, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await watchers(config, KubernetesBackend).pods.news(0.02)


async def test_a_page_does_not_wait_for_the_first_look(server: Server, config: Config) -> None:
    server.fail("hang", "list")
    began = time.perf_counter()
    assert told(config)["small"] == Availability(True, None, "asking Kubernetes …")
    assert offers.offered(KubernetesBackend, BOTH, config) == BOTH
    assert time.perf_counter() - began < 1


async def test_pods_of_everybody_count_and_news_of_them_is_seen(
    server: Server, config: Config
) -> None:
    add_pod(server, "a", "n1", {"cpu": "2", GPU: "3"})
    await offers.look(KubernetesBackend, config)
    await until(config, lambda: told(config)["gpu"].free == 1)
    found = told(config)
    assert found["small"].free == 6
    assert found["small"].words == "starts now"
    assert found["gpu"].idle == {"cpus": 6, "gpu:a100": 1}
    assert found["gpu"].age is not None
    assert found["gpu"].age < 60
    add_pod(server, "b", "n1", {GPU: "1"})
    await until(config, lambda: told(config)["gpu"].free == 0)
    assert told(config)["gpu"].words == "none free now: it will wait"
    assert told(config)["gpu"].usable
    server.store.remove("pods", "other", "a")
    await until(config, lambda: told(config)["gpu"].free == 3)


async def test_a_thousand_pages_are_one_look(server: Server, config: Config) -> None:
    await offers.look(KubernetesBackend, config)
    await until(config, lambda: told(config)["small"].free is not None)
    asked = server.count("list")
    first = offers.offered(KubernetesBackend, BOTH, config)
    for _ in range(1000):
        told(config)
        found = offers.offered(KubernetesBackend, BOTH, config)
        assert all(found[name] is first[name] for name in BOTH)
    assert server.count("list") == asked == 2


async def test_ranges_end_at_what_the_nodes_have(server: Server, config: Config) -> None:
    await offers.look(KubernetesBackend, config)
    found = offers.offered(KubernetesBackend, BOTH, config)
    small, gpu = found["small"], found["gpu"]
    assert isinstance(small, Profile)
    assert isinstance(gpu, Profile)
    assert (small.cpus.max, gpu.gpus.count.max if gpu.gpus else 0) == (8, 4)
    add_node(server, "n2", {"cpu": "64", "memory": "1Ti"}, {})

    def largest() -> int:
        now = offers.offered(KubernetesBackend, BOTH, config)["small"]
        assert isinstance(now, Profile)
        return now.cpus.max

    await until(config, lambda: largest() == 64)
    # Equal offers are the same object, whatever else changed.
    assert offers.offered(KubernetesBackend, BOTH, config)["gpu"] is gpu


async def test_a_profile_that_no_node_can_have_says_so(server: Server, config: Config) -> None:
    await offers.look(KubernetesBackend, config)
    huge = {
        "huge": profile(cpus=99, memory="1G"),
        "h100": profile(memory="1G", gpus={"type": "h100", "count": 1},
                        options={"gpu_products": {"h100": ["NVIDIA-H100"]}}),
        "grown": profile(cpus=99, memory="1G", options={"autoscale": True}),
        "wrong": profile(memory="1G", options={"imag": "a"}),
        "mixed": profile(memory="1G", gpus={"type": ["a100", "l4"], "count": 1}),
    }  # fmt: skip
    found = offers.offered(KubernetesBackend, huge, config)
    assert found["huge"] == "99 CPUs asked for, 8 CPUs possible now"
    assert found["h100"] == "no node of the cluster is of the kind that it asks for"
    assert found["grown"] is huge["grown"]
    assert "imag: there is no such key" in str(found["wrong"])
    assert "nothing tells GPUs of type l4" in str(found["mixed"])
    looks = offers.availability(KubernetesBackend, huge, config)
    assert [looks[name].usable for name in huge] == [False, False, True, False, False]
    assert looks["grown"].words == "starts once a node is added"
    assert looks["huge"].words == found["huge"]


async def test_without_the_right_to_see_nodes_nothing_is_claimed(
    server: Server, config: Config
) -> None:
    server.forbid("list", "nodes")
    began = time.perf_counter()
    await offers.look(KubernetesBackend, config)
    assert time.perf_counter() - began < 20
    found = told(config)["gpu"]
    assert (found.usable, found.free, found.idle) == (True, None, {})
    assert found.words == "how much is free is not known here"
    assert offers.offered(KubernetesBackend, BOTH, config) == BOTH


async def test_without_the_right_to_see_other_pods_only_limits_are_known(
    server: Server, config: Config
) -> None:
    server.forbid("list", "pods", "cluster")
    add_pod(server, "a", "n1", {GPU: "4"})
    began = time.perf_counter()
    await offers.look(KubernetesBackend, config)
    assert time.perf_counter() - began < 20
    found = told(config)["gpu"]
    assert (found.usable, found.free, found.words, found.idle) == (True, None, "", {})
    small = offers.offered(KubernetesBackend, BOTH, config)["small"]
    assert isinstance(small, Profile)
    assert small.cpus.max == 8
    waits = pod_of(add_pod(server, "me", "", {GPU: "1"}))
    assert offers.waits_for(KubernetesBackend, config, waits, None) == ("", True)


async def test_an_old_look_says_nothing_of_now(server: Server, config: Config) -> None:
    await offers.look(KubernetesBackend, config)
    await until(config, lambda: told(config)["gpu"].free == 4)
    before = told(config)["gpu"].looked
    await server.stop()
    await until(config, lambda: not told(config)["gpu"].usable)
    found = told(config)["gpu"]
    assert found.free is None
    assert found.words
    assert before is not None
    assert found.looked is not None
    assert found.looked >= before
    limits = offers.offered(KubernetesBackend, BOTH, config)["small"]
    assert isinstance(limits, Profile)
    assert limits.cpus.max == 8
    waits = pod_of(pod_body("me", "", {GPU: "9"}))
    assert offers.waits_for(KubernetesBackend, config, waits, None) == ("", True)
    await server.start()
    await until(config, lambda: told(config)["gpu"].free == 4)


async def test_what_a_hub_sets_for_all_counts_for_what_is_free(
    server: Server, config: Config
) -> None:
    config.KubeSpawner.node_selector = {"pool": "users"}
    add_node(server, "n2", {"cpu": "2", "memory": "8Gi"}, {"pool": "users"})
    await offers.look(KubernetesBackend, config)
    await until(config, lambda: told(config)["small"].free == 2)
    assert not told(config)["gpu"].usable


async def test_a_waiting_pod_is_told_what_for_in_the_words_of_its_profile(
    server: Server, config: Config
) -> None:
    add_pod(server, "a", "n1", {GPU: "4"})
    add_pod(server, "earlier", "", {GPU: "1"})
    await offers.look(KubernetesBackend, config)
    await until(config, lambda: told(config)["gpu"].free == 0)
    waits = pod_of({**pod_body("me", "", {GPU: "1"}), "metadata": {
        "name": "me", "uid": "u", "creationTimestamp": "2100-01-01T00:00:00Z"}})  # fmt: skip
    asked = launch(ONE_GPU)
    line = "Waiting for 1 × A100: 4 of 4 in use, 1 ahead of you"
    assert offers.waits_for(KubernetesBackend, config, waits, asked) == (line, True)
    too_many = pod_of(pod_body("me", "", {GPU: "9"}))
    words, possible = offers.waits_for(KubernetesBackend, config, too_many, asked)
    assert (words, possible) == ("no node of the cluster has 9 × A100: the most is 4", False)
    grows = launch(profile(memory="1G", options={"autoscale": True}))
    words, possible = offers.waits_for(KubernetesBackend, config, too_many, grows)
    assert possible
    assert "being added" in words


def menus(**parts: Any) -> Any:
    return offers.menus(
        KubernetesBackend, profile(memory="1G", options=parts), Person("paula"), Config()
    )


def test_images_are_chosen_where_there_is_a_choice() -> None:
    assert menus() == ()
    assert menus(image="quay.io/a/b") == ()
    assert menus(imag="x", image="A B") == ()
    (menu,) = menus(image=["quay.io/a/one:1", "quay.io/a/two:1@sha256:" + "a" * 64])
    assert menu.default == "quay.io/a/one:1"
    assert [option.title for option in menu.options] == ["one:1", "two:1"]
    assert not menu.offers("quay.io/a/three:1")
    (menu,) = menus(image=["quay.io/a/one:1", "ghcr.io/b/one:1"])
    assert [option.title for option in menu.options] == ["quay.io/a/one:1", "ghcr.io/b/one:1"]


def test_what_may_be_typed_is_what_the_profile_would_take() -> None:
    parts: dict[str, Any] = {"image": "quay.io/a/b", "image_patterns": ["quay\\.io/ours/[a-z]+"]}
    (menu,) = menus(**parts)
    for image in ("quay.io/a/b", "quay.io/ours/x", "quay.io/ours/x\n", "quay.io/ours/X", "x"):
        assert menu.offers(image) is options(**parts).allows_image(image), image
    (menu,) = menus(image_patterns=["quay\\.io/ours/[a-z]+"])
    assert menu.default == ""
    assert menu.offers("")
