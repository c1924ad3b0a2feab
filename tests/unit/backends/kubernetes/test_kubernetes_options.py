"""What a profile may say to Kubernetes, and how a mistake in it is told."""

from __future__ import annotations

import time
from typing import Any

import pytest

from panosc_hub.backends.kubernetes.options import (
    MAX_IMAGE,
    is_image,
    known_options,
    validate_options,
)
from panosc_hub.errors import SiteError
from tests.unit.backends.kubernetes.makers import GI, NASTY, options


def mistake(**parts: Any) -> str:
    with pytest.raises(SiteError) as caught:
        validate_options(parts)
    return caught.value.sentence


def test_a_profile_without_options_is_a_plain_one() -> None:
    found = options()
    assert found.image == ()
    assert found.resource_of("a100") == "nvidia.com/gpu"
    assert found.guarantee.millicpus(4000) == 4000
    assert found.guarantee.bytes(8 * GI) == 8 * GI
    assert found.shm is None
    assert not found.read_only_root


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"imag": "a"}, "imag: there is no such key; there are autoscale, gpu_label"),
        ({"guarantee": {"cpu": 1}}, "guarantee.cpu: there is no such key; there are cpus, memory"),
        (
            {"tolerations": [{"kye": "a"}]},
            "tolerations.0.kye: there is no such key; there are effect, key, operator",
        ),
        (
            {"node_affinity": {"required": [{"key": "a", "op": "In"}]}},
            "node_affinity.required.0.op: there is no such key; there are key, operator, values",
        ),
        (
            {"node_affinity": {"preferred": [{"key": "a", "values": ["b"], "wait": 1}]}},
            "node_affinity.preferred.0.wait: there is no such key; there are key",
        ),
        ({"image": []}, "image: is an empty list"),
        ({"image": [1]}, "image: is the name of an image, or a list"),
        ({"image": ["a", "a"]}, "none of them twice"),
        ({"image_patterns": ["("]}, "'(' is not a regular expression"),
        ({"image_patterns": [3]}, "3 is not a regular expression"),
        ({"image_patterns": "quay.io/.*"}, "image_patterns: "),
        ({"guarantee": {"cpus": 0}}, "guarantee.cpus: 0 is neither a number of CPUs"),
        ({"guarantee": {"cpus": True}}, "guarantee.cpus: True is neither"),
        ({"guarantee": {"cpus": "half"}}, "guarantee.cpus: 'half' is neither"),
        ({"guarantee": {"cpus": "0%"}}, "guarantee.cpus: 0% is not from 1% to 100%"),
        ({"guarantee": {"memory": "120%"}}, "guarantee.memory: 120% is not from 1% to 100%"),
        ({"guarantee": {"memory": 5}}, "guarantee.memory: 5 is neither a memory size"),
        ({"guarantee": {"memory": "0"}}, "guarantee.memory: '0' is neither a memory size"),
        ({"gpu_resource": "gpu"}, "'gpu' is not the name of a resource, such as nvidia.com/gpu"),
        ({"gpu_resource": ["a"]}, "gpu_resource: is the name of a resource, or one for each"),
        ({"gpu_products": {"a100": []}}, "gpu_products.a100: "),
        ({"node_selector": {"gpu": True}}, "node_selector.gpu: true is read as yes or no"),
        ({"node_selector": ["a"]}, "node_selector: "),
        (
            {"node_affinity": {"required": [{"key": "a", "operator": "In"}]}},
            "node_affinity.required.0: In needs 'values'",
        ),
        (
            {"node_affinity": {"required": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
            "Exists takes no 'values'",
        ),
        (
            {"node_affinity": {"required": [{"key": "a", "operator": "Gt", "values": ["many"]}]}},
            "Gt needs one whole number",
        ),
        (
            {"node_affinity": {"preferred": [{"key": "a", "values": ["b"], "weight": 101}]}},
            "node_affinity.preferred.0.weight: ",
        ),
        ({"tolerations": [{"operator": "Equal"}]}, "without a 'key' the operator must be Exists"),
        (
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            "Exists takes no 'value'",
        ),
        ({"tolerations": [{"key": "a", "seconds": 5}]}, "'seconds' is for the effect NoExecute"),
        ({"shm": "much"}, "shm: 'much' is not a memory size"),
        ({"shm": 0}, "shm: "),
        ({"read_only_root": "perhaps"}, "read_only_root: "),
    ],
)
def test_a_mistake_names_its_key_and_what_to_write(parts: dict[str, Any], said: str) -> None:
    assert said in mistake(**parts)


def test_every_mistake_is_told_and_in_no_words_of_the_library() -> None:
    text = mistake(image="A B", shm="x", guaranty={})
    assert all(key in text for key in ("image: ", "shm: ", "guaranty: "))
    assert "Extra inputs" not in text
    assert "Value error" not in text


PLACES = [
    lambda v: {"image": v},
    lambda v: {"image": ["quay.io/a/b", v]},
    lambda v: {"gpu_resource": v},
    lambda v: {"gpu_resource": {"a100": v}},
    lambda v: {"gpu_products": {"a100": [v]}},
    lambda v: {"gpu_label": v},
    lambda v: {"node_selector": {v: "a"}},
    lambda v: {"node_selector": {"a": v}},
    lambda v: {"node_affinity": {"required": [{"key": v, "values": ["a"]}]}},
    lambda v: {"node_affinity": {"required": [{"key": "a", "values": [v]}]}},
    lambda v: {"tolerations": [{"key": v}]},
    lambda v: {"tolerations": [{"key": "a", "value": v}]},
    lambda v: {"priority_class": v},
    lambda v: {"runtime_class": v},
    lambda v: {"scheduler": v},
]


@pytest.mark.parametrize("place", PLACES, ids=lambda p: str(p("V")))
def test_no_odd_name_gets_in(place: Any) -> None:
    for value in NASTY:
        with pytest.raises(SiteError) as caught:
            validate_options(place(value))
        assert len(caught.value.sentence) < 400


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "jupyter/scipy-notebook:2026-11-01",
        "quay.io/jupyter/base-notebook",
        "registry.facility.example:5000/data_analysis/py--fai:v1.2",
        "ghcr.io/a/b@sha256:" + "a" * 64,
        "localhost/x:latest@sha256:" + "0" * 64,
    ],
)
def test_names_of_images_are_known(image: str) -> None:
    assert is_image(image)
    assert options(image=image).image == (image,)


@pytest.mark.parametrize(
    "image",
    [
        *NASTY,
        "",
        "A/B",
        "a:",
        "a@sha256:12",
        "a//b",
        "https://quay.io/a",
        "a:b:c",
        ".a",
        "a/" * 300,
    ],
)
def test_what_is_no_image_is_not_taken_for_one(image: str) -> None:
    assert not is_image(image)
    assert not options(image_patterns=[".*"]).allows_image(image)


def test_a_typed_image_fits_a_pattern_from_its_first_to_its_last_character() -> None:
    found = options(image="quay.io/ours/base", image_patterns=["quay\\.io/ours/[a-z]+:v[0-9]+"])
    assert found.allows_image("quay.io/ours/base")
    assert found.allows_image("quay.io/ours/pyfai:v3")
    for image in (
        "quay.io/ours/pyfai:v3\n",
        "quay.io/ours/pyfai:v3-evil",
        "evil.example/quay.io/ours/pyfai:v3",
        "quayXio/ours/pyfai:v3",
        "quay.io/ours/pyfai",
    ):
        assert not found.allows_image(image), image


def test_an_image_of_any_length_is_judged_at_once() -> None:
    found = options(image_patterns=["(a+/?)+"])
    began = time.perf_counter()
    assert not found.allows_image("a/" * 100_000)
    assert not is_image("a-" * 250 + "!")
    assert not is_image("a" * (MAX_IMAGE + 1))
    assert is_image("a" * MAX_IMAGE)
    assert time.perf_counter() - began < 1


def test_a_guarantee_is_a_part_or_an_amount_and_never_more_than_the_limit() -> None:
    part = options(guarantee={"cpus": "50%", "memory": "25%"}).guarantee
    assert (part.millicpus(3000), part.bytes(8 * GI)) == (1500, 2 * GI)
    amount = options(guarantee={"cpus": 0.5, "memory": "2G"}).guarantee
    assert (amount.millicpus(4000), amount.bytes(8 * GI)) == (500, 2 * GI)
    large = options(guarantee={"cpus": 16, "memory": "1T"}).guarantee
    assert (large.millicpus(4000), large.bytes(8 * GI)) == (4000, 8 * GI)
    assert options(guarantee={"cpus": "1%"}).guarantee.millicpus(10) == 1
    assert options(guarantee={"cpus": 0.0001}).guarantee.millicpus(1000) == 1


def test_gpus_are_counted_as_what_their_type_says() -> None:
    plain = options()
    assert plain.resource_of("", shared=True) == "nvidia.com/gpu.shared"
    named = options(
        gpu_resource={"1g.10gb": "nvidia.com/mig-1g.10gb", "slice": "example.com/slice"}
    )
    assert named.resource_of("1g.10gb") == "nvidia.com/mig-1g.10gb"
    assert named.resource_of("slice", shared=True) == "example.com/slice"
    assert named.resource_of("a100") == "nvidia.com/gpu"
    assert options(gpu_resource="amd.com/gpu").resource_of("mi300") == "amd.com/gpu"
    assert options(gpu_resource={"default": "amd.com/gpu"}).resource_of("x") == "amd.com/gpu"
    shared = options(gpu_resource="nvidia.com/gpu.shared")
    assert shared.resource_of("l4", shared=True) == "nvidia.com/gpu.shared"


def test_numbers_in_labels_may_be_written_without_quotes() -> None:
    found = options(
        node_selector={"rack": 7},
        node_affinity={"required": [{"key": "gpus", "operator": "Gt", "values": [3]}]},
    )
    assert found.node_selector == {"rack": "7"}
    assert found.node_affinity.required[0].to_term() == {
        "key": "gpus",
        "operator": "Gt",
        "values": ["3"],
    }


def test_tolerations_are_written_as_kubernetes_has_them() -> None:
    found = options(
        tolerations=[
            {"operator": "Exists"},
            {"key": "gpu", "value": "a100", "effect": "NoExecute", "seconds": 0},
        ]
    )
    assert [each.to_dict() for each in found.tolerations] == [
        {"operator": "Exists"},
        {
            "key": "gpu",
            "operator": "Equal",
            "value": "a100",
            "effect": "NoExecute",
            "tolerationSeconds": 0,
        },
    ]


def test_the_same_options_are_read_once() -> None:
    body = {"shm": "1G"}
    assert known_options(body) is known_options(body)
    assert known_options(dict(body)) is not known_options(body)
    with pytest.raises(SiteError):
        known_options({"nothing": 1})
