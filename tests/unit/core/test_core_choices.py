"""Menus: what is listed, and what may be typed."""

from __future__ import annotations

import pytest

from panosc_hub.core.choices import LONGEST, Menu, Option, like, read_choices, valid

DIGEST = "@sha256:" + "0a" * 32
MENU = Menu(
    "image",
    "Image",
    (Option("quay.io/ours/a:1", "A"), Option("quay.io/ours/b:1")),
    "quay.io/ours/a:1",
    (r"quay\.io/ours/[a-z]+:\d+", r"ghcr\.io/facility/.+"),
)


@pytest.mark.parametrize(
    ("value", "offered"),
    [
        ("quay.io/ours/a:1", True),
        ("quay.io/ours/typed:22", True),
        ("ghcr.io/facility/x" + DIGEST, True),
        ("quay.io/ours/typed:22\n", False),
        ("quay.io/ours/typed:22 --privileged", False),
        ("evil.example/quay.io/ours/typed:22", False),
        ("quayXio/ours/typed:22", False),
        ("quay.io/ours/typed:٣", False),
        ("", False),
        ("ghcr.io/facility/" + "x" * (LONGEST - len("ghcr.io/facility/")), True),
        ("ghcr.io/facility/" + "x" * LONGEST, False),
    ],
)
def test_a_typed_value_fits_a_pattern_as_a_whole(value: str, offered: bool) -> None:
    assert MENU.offers(value) is offered


def test_without_patterns_only_what_is_listed_is_offered() -> None:
    listed = Menu("image", "Image", MENU.options)
    assert listed.offers("quay.io/ours/b:1")
    assert not listed.offers("quay.io/ours/c:1")
    assert listed.typed == ""


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        (r"quay\.io/ours/.+", "quay.io/ours/…"),
        (r"quay.io/ours/[a-z0-9-]+:[\w.-]{1,128}", "quay.io/ours/…:…"),
        (r"x/\w+@sha256:[0-9a-f]{64}", "x/…@sha256:…"),
        (r"registry:5000/(a|b)/x", r"registry:5000/(a|b)/x"),
        (r"ab+c", r"ab+c"),
        (r"a\.?b", r"a\.?b"),
    ],
)
def test_a_simple_pattern_is_told_in_words(pattern: str, shown: str) -> None:
    assert like(pattern) == shown


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("registry.example:5000/group/na-me_x:tag-1.2" + DIGEST, True),
        ("quay.io/ours/{username}:1", False),
        ("quay.io/../x", False),
        ("https://quay.io/x", False),
        ("-x", False),
        ("a b", False),
    ],
)
def test_references_of_images_pass_the_door_and_braces_do_not(value: str, good: bool) -> None:
    assert valid(value) is good
    chosen, problems = read_choices({"image": value})
    assert chosen == ((("image", value),) if good else ())
    assert bool(problems) is not good
