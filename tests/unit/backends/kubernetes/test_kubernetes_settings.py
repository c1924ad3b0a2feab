"""What a launch means for KubeSpawner, and that Kubernetes' own rules hold for it."""

from __future__ import annotations

from typing import Any

import pytest
from kubespawner.objects import make_pod

from panosc_hub.backends.kubernetes.settings import settings, wrong_profile
from panosc_hub.errors import BackendError, InvalidSelection
from tests.unit.backends.kubernetes.makers import (
    A100,
    GI,
    L4,
    NASTY,
    PRODUCT,
    is_known,
    launch,
    options,
    profile,
    serializer,
)

ONE = {"type": "a100", "count": 1}
TWO_TYPES = {"type": ["a100", "l4"], "count": {"min": 0, "max": 2, "default": 1}}
PRODUCTS = {"a100": [A100], "l4": [L4]}


def made(
    parts: dict[str, Any] | None = None, configured: Any = None, **more: Any
) -> dict[str, Any]:
    found = profile(options=parts or {}, **more.pop("profile", {}))
    return settings(launch(found, **more), options(**(parts or {})), configured=configured)


def spec_of(values: dict[str, Any]) -> dict[str, Any]:
    """The pod that KubeSpawner makes of the settings."""
    pod = make_pod(name="p", cmd=["x"], port=8888, **{"image": "i", **values})
    body: dict[str, Any] = serializer().sanitize_for_serialization(pod)
    assert is_known(body, "V1Pod")
    spec: dict[str, Any] = body["spec"]
    return spec


def terms(spec: dict[str, Any]) -> list[Any]:
    affinity = spec["affinity"]["nodeAffinity"]
    found: list[Any] = affinity["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    return found


def test_a_plain_profile_asks_for_its_limits() -> None:
    found = made(profile={"cpus": 2, "memory": "8G"})
    assert "image" not in found  # c.KubeSpawner.image counts
    (container,) = spec_of(found)["containers"]
    assert container["resources"] == {
        "limits": {"cpu": 2.0, "memory": 8 * GI},
        "requests": {"cpu": 2.0, "memory": 8 * GI},
    }


def test_a_guarantee_is_requested_in_whole_thousandths_and_never_above_the_limit() -> None:
    found = made({"guarantee": {"cpus": "33%", "memory": "100G"}}, profile={"cpus": 1})
    assert found["cpu_guarantee"] == 0.33
    assert found["mem_guarantee"] == found["mem_limit"] == 4 * GI
    assert made({"guarantee": {"cpus": 0.3}}, profile={"cpus": 3})["cpu_guarantee"] == 0.3


@pytest.mark.parametrize(
    ("gpus", "parts", "resource", "count"),
    [
        (ONE, {}, "nvidia.com/gpu", "1"),
        ({"count": 2}, {"gpu_resource": "amd.com/gpu"}, "amd.com/gpu", "2"),
        (
            {"type": "1g.10gb", "count": 1},
            {"gpu_resource": {"1g.10gb": "nvidia.com/mig-1g.10gb"}},
            "nvidia.com/mig-1g.10gb",
            "1",
        ),
        ({"type": "l4", "count": 1, "kind": "shard"}, {}, "nvidia.com/gpu.shared", "1"),
    ],
)
def test_gpus_are_limited_to_what_they_request(
    gpus: dict[str, Any], parts: dict[str, Any], resource: str, count: str
) -> None:
    (container,) = spec_of(made(parts, profile={"gpus": gpus}))["containers"]
    resources = container["resources"]
    assert resources["limits"][resource] == resources["requests"][resource] == count
    assert len(resources["limits"]) == 3


def test_no_gpu_means_no_resource_and_no_nodes_of_gpus() -> None:
    parts = {"gpu_products": PRODUCTS}
    found = made(parts, profile={"gpus": TWO_TYPES}, selection={"gpus": 0})
    assert found["extra_resource_limits"] == {}
    assert found["node_affinity_required"] == []


def test_the_chosen_type_of_gpu_decides_on_which_nodes() -> None:
    parts = {"gpu_products": PRODUCTS}
    choice = {"choices": {"gpu": "l4"}}
    spec = spec_of(made(parts, profile={"gpus": TWO_TYPES}, selection=choice))
    assert terms(spec) == [
        {"matchExpressions": [{"key": PRODUCT, "operator": "In", "values": [L4]}]}
    ]


def test_conditions_of_the_profile_hold_in_every_term_of_the_administrator() -> None:
    parts = {
        "node_affinity": {"required": [{"key": "zone", "operator": "Exists"}]},
        "gpu_products": {"a100": [A100]},
    }
    terms_before = [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
        {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]},
    ]
    spec = spec_of(made(parts, {"node_affinity_required": terms_before}, profile={"gpus": ONE}))
    added = [
        {"key": "zone", "operator": "Exists"},
        {"key": PRODUCT, "operator": "In", "values": [A100]},
    ]
    assert terms(spec) == [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}, *added]},
        {"matchFields": terms_before[1]["matchFields"], "matchExpressions": added},
    ]
    assert terms_before[0] == {"matchExpressions": [{"key": "a", "operator": "Exists"}]}


def test_what_the_administrator_set_stays_beside_what_the_profile_says() -> None:
    parts = {
        "node_selector": {"pool": "gpu"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "node_affinity": {"preferred": [{"key": "fast", "values": ["yes"], "weight": 5}]},
        "priority_class": "beamtime",
        "scheduler": "user-scheduler",
    }
    spec = spec_of(
        made(
            parts,
            {
                "node_selector": {"pool": "cpu", "purpose": "user"},
                "tolerations": {"b": {"key": "b"}, "a": {"key": "a"}},
                "node_affinity_preferred": [
                    {"weight": 1, "preference": {"matchExpressions": []}},
                ],
                "extra_resource_limits": {"example.com/licence": "1"},
                "extra_resource_guarantees": {"example.com/licence": "1"},
            },
            profile={"gpus": ONE},
        )
    )
    assert spec["nodeSelector"] == {"pool": "gpu", "purpose": "user"}
    assert [t["key"] for t in spec["tolerations"]] == ["a", "b", "gpu"]
    preferred = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [p["weight"] for p in preferred] == [1, 5]
    assert spec["priorityClassName"] == "beamtime"
    assert spec["schedulerName"] == "user-scheduler"
    limits = spec["containers"][0]["resources"]["limits"]
    assert limits.keys() >= {"example.com/licence", "nvidia.com/gpu"}


def test_the_image_is_the_chosen_one_else_the_profiles_else_the_environments() -> None:
    own = {"image": ["quay.io/a/one", "quay.io/a/two"]}
    environment = {"image": "quay.io/env/x"}
    assert made(environment=environment)["image"] == "quay.io/env/x"
    assert made(own, environment=environment)["image"] == "quay.io/a/one"
    chosen = {"choices": {"image": "quay.io/a/two"}}
    assert made(own, environment=environment, selection=chosen)["image"] == "quay.io/a/two"


def test_a_typed_image_must_fit_a_pattern_of_the_profile() -> None:
    parts = {"image_patterns": ["quay\\.io/ours/.*"]}
    fine = {"choices": {"image": "quay.io/ours/pyfai:v1"}}
    assert made(parts, selection=fine)["image"] == "quay.io/ours/pyfai:v1"
    other = {"choices": {"image": "docker.io/evil/x"}}
    with pytest.raises(InvalidSelection, match="not an image of Small"):
        made(parts, selection=other)
    with pytest.raises(InvalidSelection):
        made(selection=fine)


@pytest.mark.parametrize("value", NASTY)
def test_no_odd_image_reaches_kubespawner(value: str) -> None:
    parts = {"image_patterns": [".*", "(?s:.*)"]}
    with pytest.raises(InvalidSelection):
        settings(launch(), options(**parts), {"image": value})
    if len(value) <= 512:  # else it does not even get into an environment
        with pytest.raises(BackendError, match="names an image that no registry can have"):
            settings(launch(environment={"image": value}), options())


def test_nothing_that_kubespawner_would_format_gets_through() -> None:
    with pytest.raises(BackendError, match="its node selector holds a brace"):
        made(configured={"node_selector": {"a": "{userid:>5000000}"}})


def test_types_of_gpu_that_nothing_tells_apart_are_named() -> None:
    two = profile(gpus=TWO_TYPES)
    (said,) = wrong_profile(two, options())
    assert said.startswith("nothing tells GPUs of type l4 from those of type a100")
    assert not list(wrong_profile(two, options(gpu_products=PRODUCTS)))
    mig = options(gpu_resource={"l4": "nvidia.com/mig-1g.10gb"})
    assert not list(wrong_profile(two, mig))
    typo = options(gpu_products={"A100": [A100]})
    (said,) = wrong_profile(profile(gpus=ONE), typo)
    assert said == "'gpu_products' does not name the GPU type a100"


def test_shared_memory_beyond_the_sessions_own_is_named() -> None:
    (said,) = wrong_profile(profile(memory="4G"), options(shm="8G"))
    assert "'shm' is more than the memory" in said
    assert not list(wrong_profile(profile(memory={"max": "16G"}), options(shm="8G")))
