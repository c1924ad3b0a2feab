"""Limits and who may use a profile."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from panosc_hub.core.identity import Person
from panosc_hub.core.profiles import Allow, Profile, Requirements, Wish, resolve, why_not_fitting
from panosc_hub.core.quantities import Gpus

GPU = Profile.model_validate(
    {
        "id": "gpu",
        "title": "GPU",
        "backend": "slurm",
        "cpus": 8,
        "memory": {"min": "8G", "max": "64G", "default": "16G"},
        "gpus": {"type": "a100", "count": {"min": 0, "max": 2, "default": 1}},
        "walltime": {"min": "30m", "max": "12h", "default": "4h"},
    }
)


def test_defaults_are_used_where_nothing_is_asked() -> None:
    resources, problems = resolve(GPU, Wish())
    assert not problems
    assert (resources.cpus, resources.memory, resources.walltime) == (8, 16 * 2**30, 14400)
    assert resources.gpus == Gpus("a100", 1)


def test_zero_gpus_is_a_choice() -> None:
    resources, problems = resolve(GPU, Wish(gpus=0))
    assert not problems
    assert resources.gpus == Gpus("", 0)


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        (Wish(memory=99999 * 2**30), "memory"),
        (Wish(memory=1), "memory"),
        (Wish(gpus=3), "gpus"),
        (Wish(cpus=4), "cpus"),
        (Wish(walltime=86400), "walltime"),
    ],
)
def test_limits_are_enforced_on_the_server(wish: Wish, field: str) -> None:
    _, problems = resolve(GPU, wish)
    assert [p.field for p in problems] == [field]
    assert "GPU" in problems[0].message


def test_a_profile_without_gpus_refuses_gpus() -> None:
    plain = Profile(id="p", title="Plain", backend="local", memory="1G")  # type: ignore[arg-type]
    _, problems = resolve(plain, Wish(gpus=1, walltime=60))
    assert {p.field for p in problems} == {"gpus", "walltime"}


@pytest.mark.parametrize(
    ("allow", "permitted"),
    [
        (Allow(), True),
        (Allow(groups=("staff",)), True),
        (Allow(groups=("other",)), False),
        (Allow(users=("ingo",)), True),
        (Allow(users=("ing",)), False),
        (Allow(admins=True), False),
    ],
)
def test_who_may_use_a_profile(allow: Allow, permitted: bool) -> None:
    assert allow.permits(Person("ingo", frozenset({"staff"}))) is permitted


def test_a_template_that_needs_more_names_the_reason() -> None:
    assert why_not_fitting(GPU, Requirements(gpus=1, memory="32G")) == ""  # type: ignore[arg-type]
    assert "4 GPU" in why_not_fitting(GPU, Requirements(gpus=4))
    assert "128G" in why_not_fitting(GPU, Requirements(memory="128G"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"id": "Not an id"}, {"memory": "lots"}, {"unknown": 1}, {"memory": {"min": 2, "max": 1}}],
)
def test_a_wrong_profile_is_refused(change: dict[str, object]) -> None:
    body = {"id": "p", "title": "P", "backend": "local", "memory": "1G", **change}
    with pytest.raises(ValidationError):
        Profile.model_validate(body)
