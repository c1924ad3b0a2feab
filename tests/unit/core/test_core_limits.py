"""Ranges without a limit of their own, and what a backend's limits make of a profile."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from panosc_hub.core.profiles import (
    OPEN,
    GpuOffer,
    Limits,
    Profile,
    Range,
    Wish,
    resolve,
    tighten,
)
from panosc_hub.core.quantities import Gpus

G = 2**30


def profile(**body: Any) -> Profile:
    return Profile.model_validate(
        {"id": "p", "title": "P", "backend": "slurm", "memory": "8G", **body}
    )


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        ({"cpus": {"default": 4}}, "cpus", (1, OPEN, 4)),
        ({"cpus": {"min": 2}}, "cpus", (2, OPEN, 2)),
        ({"cpus": {}}, "cpus", (1, OPEN, 1)),
        ({"cpus": {"max": 8}}, "cpus", (1, 8, 1)),
        ({"cpus": 4}, "cpus", (4, 4, 4)),
        ({"memory": {"default": "8G"}}, "memory", (G, OPEN, 8 * G)),
        ({"memory": {"default": "512M"}}, "memory", (G // 2, OPEN, G // 2)),
        ({"memory": {"max": "256M"}}, "memory", (G // 4, G // 4, G // 4)),
        ({"walltime": {"default": "4h"}}, "walltime", (900, OPEN, 14400)),
        ({"walltime": {"max": "5m"}}, "walltime", (300, 300, 300)),
    ],
)
def test_what_a_range_leaves_out_is_filled_in(
    body: dict[str, Any], name: str, expected: tuple[int, int, int]
) -> None:
    found = getattr(profile(**body), name)
    assert (found.min, found.max, found.default) == expected
    assert found.open is (expected[1] == OPEN)
    assert profile(**body).open_ranges == ((name,) if found.open else ())


@pytest.mark.parametrize(
    ("offer", "limit", "expected"),
    [
        (Range(min=1, max=8, default=4), None, (1, 8, 4)),
        (Range(min=1, max=8, default=4), 8, (1, 8, 4)),
        (Range(min=1, max=8, default=4), 99, (1, 8, 4)),
        (Range(min=1, max=8, default=4), 6, (1, 6, 4)),
        (Range(min=1, max=8, default=4), 2, (1, 2, 2)),
        (Range(min=2, max=8, default=4), 2, (2, 2, 2)),
        (Range(min=2, max=8, default=4), 1, None),
        (Range(min=1, max=OPEN, default=4), None, (1, 4, 4)),
        (Range(min=1, max=OPEN, default=4), 32, (1, 32, 4)),
        (Range(min=1, max=OPEN, default=4), 3, (1, 3, 3)),
        (Range(min=1, max=OPEN, default=4), 0, None),
    ],
)
def test_a_range_is_cut_to_what_there_is(
    offer: Range, limit: int | None, expected: tuple[int, int, int] | None
) -> None:
    cut = offer.cut(limit)
    assert (cut and (cut.min, cut.max, cut.default)) == expected


BOUNDED = profile(
    cpus={"max": 16, "default": 4},
    memory={"max": "64G", "default": "8G"},
    walltime={"max": "12h", "default": "4h"},
)


def test_limits_beyond_the_site_change_nothing() -> None:
    assert tighten(BOUNDED, Limits()) is BOUNDED
    assert tighten(BOUNDED, Limits(64, 512 * G, {"a100": 4}, 86400)) is BOUNDED


def test_the_tighter_of_site_and_backend_counts() -> None:
    found = tighten(BOUNDED, Limits(cpus=8, memory=32 * G, walltime=2 * 3600))
    assert isinstance(found, Profile)
    assert (found.cpus.max, found.memory.max) == (8, 32 * G)
    assert found.walltime == Range(min=900, max=7200, default=7200)
    assert found.title == BOUNDED.title
    assert found == tighten(BOUNDED, Limits(cpus=8, memory=32 * G, walltime=2 * 3600))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(cpus=0), "1 CPU asked for, 0 CPUs possible now"),
        (Limits(memory=G // 2), "1 GB memory asked for, 512 MB memory possible now"),
        (Limits(walltime=60), "15 min asked for, 1 min possible now"),
    ],
)
def test_a_profile_of_which_nothing_fits_says_why(limits: Limits, words: str) -> None:
    assert tighten(BOUNDED, limits) == words


def test_an_open_range_is_never_shown_open() -> None:
    offered = tighten(profile(cpus={"default": 4}, memory={"default": "8G"}), Limits(memory=64 * G))
    assert isinstance(offered, Profile)
    assert offered.open_ranges == ()
    assert (offered.cpus.max, offered.memory.max) == (4, 64 * G)


def gpus(type: Any = "", count: Any = 1, **more: Any) -> Profile:
    return profile(gpus={"type": type, "count": count, **more})


@pytest.mark.parametrize(
    ("offer", "limits", "types", "count", "most"),
    [
        (gpus("a100", {"max": 4}), {"a100": 8}, ("a100",), (1, 4), {}),
        (gpus("a100", {"max": 4}), {"a100": 2}, ("a100",), (1, 2), {}),
        (gpus("a100", {}), {"a100": 2, "h100": 8}, ("a100",), (1, 2), {}),
        (gpus("", {"max": 4}), {"a100": 1, "h100": 2}, ("",), (1, 2), {}),
        (gpus("", {"max": 4}), {"a100": 1, "h100": 2, "": 3}, ("",), (1, 3), {}),
        (gpus("1g.10gb", {}), {"1g.10gb": 7}, ("1g.10gb",), (1, 7), {}),
        (gpus(["a100", "h100"], {}), {"a100": 4, "h100": 2}, ("a100", "h100"), (1, 4), {"h100": 2}),
        (gpus(["a100", "h100"], {}), {"h100": 2}, ("h100",), (1, 2), {}),
        (gpus(["a100", "h100"], {"min": 2}), {"a100": 1, "h100": 2}, ("h100",), (2, 2), {}),
        (gpus("a100", {"min": 0, "max": 2}), {}, ("a100",), (0, 0), {}),
        (gpus("", {"max": 4}, kind="shard"), {"": 8, "shard:": 2}, ("",), (1, 2), {}),
        (gpus("a100", 2, kind="shard"), {"a100": 1, "shard:a100": 4}, ("a100",), (2, 2), {}),
        (gpus("", {"max": 4}), {"": 2, "shard:": 9}, ("",), (1, 2), {}),
        (gpus("a100", {}), None, ("a100",), (1, 1), {}),
        (
            gpus(["a100", "h100"], {"max": 4}, most={"h100": 1}),
            {"a100": 4, "h100": 4},
            ("a100", "h100"),
            (1, 4),
            {"h100": 1},
        ),
    ],
)
def test_gpus_are_cut_by_type(
    offer: Profile,
    limits: dict[str, int] | None,
    types: tuple[str, ...],
    count: tuple[int, int],
    most: dict[str, int],
) -> None:
    found = tighten(offer, Limits(gpus=limits))
    assert isinstance(found, Profile)
    assert found.gpus is not None
    assert found.gpus.types == types
    assert (found.gpus.count.min, found.gpus.count.max) == count
    assert found.gpus.most == most
    assert found == tighten(offer, Limits(gpus=limits))


@pytest.mark.parametrize(
    ("offer", "limits", "words"),
    [
        (gpus("a100"), {"h100": 2}, "no node has 1 × GPU of type a100 now"),
        (gpus(["a100", "v100"], 2), {"h100": 2}, "no node has 2 × GPU of type a100, v100 now"),
        (gpus("", 4), {"h100": 2}, "no node has 4 × GPU now"),
        (gpus("", 1, kind="shard"), {"h100": 2}, "no node has 1 × share of a GPU now"),
    ],
)
def test_gpus_that_are_nowhere_are_named(
    offer: Profile, limits: dict[str, int], words: str
) -> None:
    assert tighten(offer, Limits(gpus=limits)) == words


CHOICE = gpus(["a100", "h100"], {"min": 0, "max": 4, "default": 1}, most={"h100": 2})


@pytest.mark.parametrize(
    ("wish", "got", "fields"),
    [
        (Wish(), Gpus("a100", 1), []),
        (Wish(gpu_type="h100"), Gpus("h100", 1), []),
        (Wish(gpu_type="h100", gpus=2), Gpus("h100", 2), []),
        (Wish(gpu_type="h100", gpus=0), Gpus("", 0), []),
        (Wish(gpu_type="h100", gpus=3), Gpus("h100", 3), ["gpus"]),
        (Wish(gpu_type="v100"), Gpus("a100", 1), ["choice-gpu"]),
        (Wish(gpus=5), Gpus("a100", 1), ["gpus"]),
    ],
)
def test_the_type_is_chosen_among_those_offered(wish: Wish, got: Gpus, fields: list[str]) -> None:
    resources, problems = resolve(CHOICE, wish)
    assert resources.gpus == got
    assert [p.field for p in problems] == fields


def test_a_count_that_only_another_type_has_chooses_it() -> None:
    offer = gpus(["h100", "a100"], {"max": 4}, most={"h100": 2})
    assert resolve(offer, Wish(gpus=3))[0].gpus == Gpus("a100", 3)


@pytest.mark.parametrize(
    "body",
    [
        {"type": []},
        {"type": ["a100", "a100"]},
        {"type": ["a100", ""]},
        {"type": "a 100"},
        {"type": ["a100", "h;1"]},
        {"kind": "slice"},
        {"most": {"a100": 0}},
    ],
)
def test_a_wrong_gpu_offer_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GpuOffer.model_validate(body)
